"""Networks: backbones, systems, the registry, weight files and card reading."""
