"""Networks: backbones, systems, the registry, weight files and model cards."""
