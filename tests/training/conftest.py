"""Tiny runs that several tests look at."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from agegender.data.table import Dataset, read_dataset
from agegender.models.systems.vggface import VGGFaceOptions
from agegender.training.config import Stage, TrainingConfig


@pytest.fixture(scope="session")
def dataset(fake_utkface) -> Dataset:
    return read_dataset(fake_utkface)


@pytest.fixture(scope="session")
def make_config() -> Callable[..., TrainingConfig]:
    """Makes a recipe that trains in seconds: MobileNet from scratch at 32 pixels, one step a stage.

    ``epochs`` are those of the stages "head" and "finetune"; ``rates`` their learning rates.
    """

    def make(
        task: str = "age",
        *,
        epochs: tuple[int, int] = (1, 1),
        rates: tuple[float, float] = (1e-3, 2e-4),
        frozen_blocks: int = 0,
        **changes,
    ) -> TrainingConfig:
        options = {"backbone": "mobilenet", "input_size": (32, 32), "hidden": (8,)}
        options |= changes.pop("options", {})
        stages = (
            Stage("head", epochs[0], rates[0], "all"),
            Stage("finetune", epochs[1], rates[1], frozen_blocks),
        )
        values = {"stages": stages, "batch_size": 128, "base_weights": "none", **changes}
        return TrainingConfig(task, options=VGGFaceOptions(**options), **values)

    return make


def build_tiny(input_size: tuple[int, int]):
    """A backbone that learns something in seconds."""
    import keras

    inputs = keras.Input((*input_size, 3), name="rgb")
    x = keras.layers.Rescaling(1 / 64, offset=-2)(inputs)
    x = keras.layers.Conv2D(6, 5, strides=4, activation="relu", name="conv1")(x)
    x = keras.layers.Conv2D(8, 3, strides=2, activation="relu", name="conv2")(x)
    return keras.Model(inputs, keras.layers.GlobalAveragePooling2D()(x), name="tiny")


@pytest.fixture(scope="package")
def tiny(make_config) -> Iterator[Callable[..., TrainingConfig]]:
    """Makes recipes on a backbone of two layers, in steps of 32 chips."""
    from agegender.models import backbones

    def make(task: str = "age", **changes) -> TrainingConfig:
        options = {"backbone": "tiny", **changes.pop("options", {})}
        return make_config(task, options=options, **{"batch_size": 32, **changes})

    backbone = backbones.Backbone("tiny", build_tiny, (32, 32), ("conv1", "conv2"), {})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(backbones, "BACKBONES", {**backbones.BACKBONES, "tiny": backbone})
        yield make


@contextlib.contextmanager
def eagerly() -> Iterator[None]:
    """Runs Keras without graphs: tracing one takes far longer than the few steps of a test."""
    import tensorflow as tf

    tf.config.run_functions_eagerly(True)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*run_functions_eagerly")
            yield
    finally:
        tf.config.run_functions_eagerly(False)


@pytest.fixture(scope="module")
def eager() -> Iterator[None]:
    """For modules that train more often than long."""
    with eagerly():
        yield


def trained(folder: Path, config: TrainingConfig, dataset: Dataset) -> Path:
    from agegender.training.loop import train

    folder.mkdir()
    with eagerly():
        train(config, dataset, folder, quiet=True)
    return folder


@pytest.fixture(scope="package")
def age_run(tmp_path_factory, tiny, dataset) -> Path:
    """The record of an age network with the distribution head."""
    return trained(tmp_path_factory.mktemp("runs") / "age", tiny("age"), dataset)


@pytest.fixture(scope="package")
def gender_run(tmp_path_factory, tiny, dataset) -> Path:
    """The record of a gender network."""
    return trained(tmp_path_factory.mktemp("runs") / "gender", tiny("gender"), dataset)
