"""The network of a recipe, filled with the weights its training begins with."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import keras

from agegender.data.split import SPLIT_SALT
from agegender.errors import ConfigError
from agegender.labels import NetworkTask
from agegender.models.backbones import load_base_weights
from agegender.models.card import find_model, read_card, trained_models
from agegender.models.registry import get_system
from agegender.models.store import load_weights
from agegender.models.trained import TrainedModel
from agegender.runs.records import BEST_WEIGHTS, read_json
from agegender.training.config import TrainingConfig
from agegender.training.optimise import backbone_of


def build_network(config: TrainingConfig, *, with_weights: bool = True) -> tuple[keras.Model, str]:
    """Builds the network of a recipe with the weights it begins with.

    Args:
        config: The recipe.
        with_weights: ``False`` leaves them random, for a run whose checkpoint will fill them in.

    Returns:
        The network and where its weights came from.

    Raises:
        ConfigError: The run or model to start from is not one, or was trained on another split.
        ModelError: The files of the model to start from are damaged.
        WeightsNotFoundError: The base weights are not there.
    """
    network = get_system(config.system).build(config.task, config.options)
    backbone = backbone_of(network, config)
    if not with_weights:
        return network, "random"
    if config.start in trained_models():
        return network, _take_over_model(network, config, config.start)
    if config.start is not None:
        return network, _take_over_run(network, config, Path(config.start))
    if backbone is None:
        return network, "random"
    return network, load_base_weights(backbone, config.options.backbone, config.base_weights)


def network_to_start_from(tasks: Iterable[NetworkTask], wanted: NetworkTask) -> NetworkTask:
    """Which network of a published model another one goes on from.

    Args:
        tasks: What its networks answer: "both" alone, or one each.
        wanted: What the new network is to answer.

    Returns:
        Its own counterpart where there is one. For a network of both tasks that of gender, whose features
        serve age too: that of age knows nothing of gender.
    """
    there = list(tasks)
    order: tuple[NetworkTask, ...] = (wanted, "both", "gender", *there)
    return next(task for task in order if task in there)


def _take_over_model(network: keras.Model, config: TrainingConfig, name: str) -> str:
    """Copies weights from a published model."""
    card = read_card(name)
    _check_split(card.get("split", {}), find_model(name))
    networks = TrainedModel(name).networks
    task = network_to_start_from(networks, config.task)
    given = _layers_with_weights(networks[task])
    if config.task == "both" and task != "both":
        # Each head comes from the network of its own, over the features of one of them.
        for one, single in networks.items():
            for layer, weights in _layers_with_weights(single).items():
                given[f"{one}_{layer}"] = weights
                given.setdefault(layer, weights)
    taken = _copy_matching(given, network, config.task, of=f"model {name}")
    return f"{card.get('base', 'unknown')}, then run of model {name} for {task} ({', '.join(taken)})"


def _take_over_run(network: keras.Model, config: TrainingConfig, folder: Path) -> str:
    """Copies weights from another run."""
    source_config = TrainingConfig.read(folder / "config.json")
    environment = read_json(folder / "environment.json")
    _check_split(environment.get("split", {}), folder)
    source = get_system(source_config.system).build(source_config.task, source_config.options)
    load_weights(source, folder / BEST_WEIGHTS)
    taken = _copy_matching(_layers_with_weights(source), network, config.task, of=str(folder))
    return f"{environment.get('base', 'unknown')}, then run {folder.resolve().name} ({', '.join(taken)})"


def _check_split(split: Mapping[str, Any], folder: Path) -> None:
    salt = split.get("salt")
    if salt != SPLIT_SALT:
        raise ConfigError(
            f"{folder} was trained on another split ({salt}, not {SPLIT_SALT}): "
            "it has seen photos that are now validated on"
        )


def _copy_matching(
    given: Mapping[str, keras.layers.Layer], network: keras.Model, task: str, *, of: str
) -> list[str]:
    """Copies weights wherever a layer has the same name and shapes; returns the layers' names.

    A head's layers carry their task as a prefix in a network of both: "age_dense_1" fills "dense_1".
    """
    taken = []
    for name, layer in _layers_with_weights(network).items():
        match = given.get(name) or given.get(f"{task}_{name}")
        if match is not None and [w.shape for w in match.weights] == [w.shape for w in layer.weights]:
            layer.set_weights(match.get_weights())
            taken.append(name)
    if not taken:
        raise ConfigError(f"{of} has no layer in common with {network.name}")
    return taken


def _layers_with_weights(network: keras.Model) -> dict[str, keras.layers.Layer]:
    return {layer.name: layer for layer in network.layers if layer.weights}
