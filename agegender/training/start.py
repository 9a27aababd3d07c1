"""The network of a recipe, filled with the weights its training begins with."""

from __future__ import annotations

from pathlib import Path

import keras

from agegender.data.split import SPLIT_SALT
from agegender.errors import ConfigError
from agegender.models.backbones import load_base_weights
from agegender.models.store import load_weights
from agegender.models.systems import get_system
from agegender.training.config import TrainingConfig
from agegender.training.optimise import backbone_of
from agegender.training.runs import BEST_WEIGHTS, read_json


def build_network(config: TrainingConfig, *, with_weights: bool = True) -> tuple[keras.Model, str]:
    """Builds the network of a recipe with the weights it begins with.

    Args:
        config: The recipe.
        with_weights: ``False`` leaves them random, for a run whose checkpoint will fill them in.

    Returns:
        The network and where its weights came from.

    Raises:
        ConfigError: The run to start from is not one, or was trained on another split.
        WeightsNotFoundError: The base weights are not there.
    """
    network = get_system(config.system).build(config.task, config.options)
    backbone = backbone_of(network, config)
    if not with_weights:
        return network, "random"
    if config.start is not None:
        return network, _take_over(network, config, Path(config.start))
    if backbone is None:
        return network, "random"
    return network, load_base_weights(backbone, config.options.backbone, config.base_weights)


def _take_over(network: keras.Model, config: TrainingConfig, folder: Path) -> str:
    """Copies weights from another run wherever a layer has the same name and shapes.

    A head's layers carry their task as a prefix in a network of both: "age_dense_1" fills "dense_1".
    """
    source_config = TrainingConfig.read(folder / "config.json")
    environment = read_json(folder / "environment.json")
    salt = environment.get("split", {}).get("salt")
    if salt != SPLIT_SALT:
        raise ConfigError(
            f"{folder} was trained on another split ({salt}, not {SPLIT_SALT}): "
            "it has seen photos that are now validated on"
        )
    source = get_system(source_config.system).build(source_config.task, source_config.options)
    load_weights(source, folder / BEST_WEIGHTS)
    given = {layer.name: layer for layer in source.layers if layer.weights}
    taken = []
    for layer in network.layers:
        match = given.get(layer.name) or given.get(f"{config.task}_{layer.name}")
        if match is None or not layer.weights:
            continue
        if [w.shape for w in match.weights] == [w.shape for w in layer.weights]:
            layer.set_weights(match.get_weights())
            taken.append(layer.name)
    if not taken:
        raise ConfigError(f"{folder} has no layer in common with {network.name}")
    return f"{environment.get('base', 'unknown')}, then run {folder.resolve().name} ({', '.join(taken)})"
