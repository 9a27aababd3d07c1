"""The training loop: config and dataset in, run record out."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import keras
import numpy as np
import pandas as pd
import tensorflow as tf

from agegender.data.duplicates import Progress as FileProgress
from agegender.data.duplicates import fingerprint
from agegender.data.generator import ChipGenerator
from agegender.data.split import SPLIT_SALT, assign_splits, split_hash
from agegender.data.table import Dataset
from agegender.errors import ConfigError, DatasetError
from agegender.labels import MAX_AGE
from agegender.models import vggface
from agegender.models.backbones import get_backbone, load_base_weights
from agegender.models.card import HISTORY_FILE
from agegender.training.callbacks import Progress, RunRecorder, kept_row, read_checkpoint
from agegender.training.config import TrainingConfig
from agegender.training.runs import BEST_WEIGHTS, LAST_WEIGHTS, read_history, write_json

_RECORDED_PACKAGES: Final = (
    "keras",
    "tensorflow",
    "numpy",
    "opencv-python-headless",
    "pandas",
    "keras-vggface",
)


@dataclass(frozen=True)
class Stage:
    """A stretch of epochs with one set of trainable layers and one learning-rate curve.

    Attributes:
        name: "head" or "finetune".
        first_epoch: 0-based, counted through the run.
        epochs: How many.
        learning_rate: Its peak.
        train_backbone: Whether the backbone learns too.
    """

    name: str
    first_epoch: int
    epochs: int
    learning_rate: float
    train_backbone: bool

    @property
    def end(self) -> int:
        """The epoch after the stage's last."""
        return self.first_epoch + self.epochs


def stages(config: TrainingConfig) -> list[Stage]:
    """The stages of a recipe, without empty ones."""
    head = Stage("head", 0, config.head_epochs, config.head_learning_rate, train_backbone=False)
    fine = Stage("finetune", config.head_epochs, config.epochs, config.learning_rate, train_backbone=True)
    return [stage for stage in (head, fine) if stage.epochs]


def age_distribution_targets(ages: np.ndarray[Any, Any], sigma: float) -> np.ndarray[Any, Any]:
    """Label distributions: a discrete Gaussian around each labelled age.

    Gao et al., "Deep Label Distribution Learning with Label Ambiguity" (2017), equation 3.

    Args:
        ages: Whole years, shape (n,).
        sigma: Standard deviation in years.

    Returns:
        float32 of shape (n, MAX_AGE + 1), rows summing to 1.
    """
    distance = np.arange(MAX_AGE + 1)[None, :] - np.asarray(ages, dtype=np.float64)[:, None]
    weights = np.exp(-0.5 * (distance / sigma) ** 2)
    return (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)


def _targets(config: TrainingConfig, table: pd.DataFrame) -> list[np.ndarray[Any, Any]]:
    if config.task == "gender":
        return [table["gender"].to_numpy(np.float32)[:, None]]
    ages = table["age"].to_numpy(np.float32)
    if config.options.age_head == "linear":
        return [ages[:, None]]
    return [age_distribution_targets(ages, config.age_sigma), ages[:, None]]


def _compile(network: keras.Sequential, config: TrainingConfig, stage: Stage, steps: int) -> keras.Model:
    """Wraps the Sequential for training: the same layers, with the age distribution as a second output."""
    _freeze(network.layers[0], config, stage)
    loss: list[Any]
    if config.task == "gender":
        outputs, weights = network.outputs, None
        loss = [keras.losses.BinaryCrossentropy(label_smoothing=config.label_smoothing)]
        metrics: list[Any] = ["accuracy"]
    elif config.options.age_head == "linear":
        outputs, weights = network.outputs, None
        loss, metrics = ["mean_squared_error"], ["mae"]
    else:
        outputs = [network.get_layer("age_distribution").output, *network.outputs]
        weights = [1.0, config.l1_weight]
        loss, metrics = ["categorical_crossentropy", "mean_absolute_error"], [[], ["mae"]]
    schedule = keras.optimizers.schedules.CosineDecay(
        initial_learning_rate=stage.learning_rate * 0.01,
        decay_steps=max(1, int(steps * stage.epochs - steps * config.warmup_epochs)),
        alpha=0.01,
        warmup_target=stage.learning_rate,
        warmup_steps=int(steps * config.warmup_epochs),
    )
    optimizer = keras.optimizers.AdamW(
        schedule,
        weight_decay=config.weight_decay,
        global_clipnorm=config.clip_norm,
        use_ema=True,
        ema_momentum=config.ema_momentum,
    )
    optimizer.exclude_from_weight_decay(var_names=["bias"])
    model = keras.Model(network.inputs, outputs, name=f"training_{config.task}")
    model.compile(optimizer, loss=loss, loss_weights=weights, metrics=metrics)
    optimizer.build(model.trainable_variables)
    return model


def _freeze(backbone: keras.Model, config: TrainingConfig, stage: Stage) -> None:
    blocks = get_backbone(config.options.backbone).blocks
    backbone.trainable = stage.train_backbone
    if not stage.train_backbone:
        return
    frozen = config.frozen_blocks > 0
    for layer in backbone.layers:
        frozen = frozen and layer.name != blocks[config.frozen_blocks]
        layer.trainable = not frozen


def grow_gpu_memory() -> int:
    """Lets each GPU's memory grow with need instead of taking it whole.

    Returns:
        The number of GPUs.
    """
    gpus = tf.config.list_physical_devices("GPU")
    for gpu in gpus:
        tf.config.experimental.set_memory_growth(gpu, True)
    return len(gpus)


def environment(dataset: Dataset, digests: list[str], splits: pd.Series, gpus: int) -> dict[str, Any]:
    """Versions, machine and split, as a run records them."""
    return {
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in _RECORDED_PACKAGES},
        "machine": f"{platform.machine()}, {os.cpu_count()} CPU cores, {gpus} GPUs",
        "dataset": {"files": len(dataset.table), "skipped": len(dataset.skipped)},
        "split": {
            "salt": SPLIT_SALT,
            "hash": split_hash(digests, splits),
            "sizes": {str(name): int(size) for name, size in splits.value_counts().items()},
        },
    }


def _version(package: str) -> str:
    try:
        return version(package)
    except ModuleNotFoundError:
        return "not installed"


def build_network(config: TrainingConfig) -> tuple[keras.Sequential, str]:
    """Builds the network of a recipe with its base weights.

    Returns:
        The Sequential and where its base weights came from.

    Raises:
        ConfigError: The system is not known.
        WeightsNotFoundError: The base weights are not there.
    """
    if config.system != "vggface":
        raise ConfigError(f"unknown system {config.system!r}; there is vggface")
    network = vggface.build(config.task, config.options)
    if config.base_weights == "none":
        return network, "random"
    path = None if config.base_weights == "default" else Path(config.base_weights)
    return network, load_base_weights(network.layers[0], config.options.backbone, path)


def train(
    config: TrainingConfig,
    dataset: Dataset,
    folder: Path,
    *,
    resume: bool = False,
    quiet: bool = False,
    file_progress: FileProgress | None = None,
) -> dict[str, Any]:
    """Trains one network and writes its run record.

    Args:
        config: The recipe. When resuming, the one the run was started with.
        dataset: Chips; the train split is trained on, the validation split picks the best epoch, the
            test split is not looked at.
        folder: The run's, which exists.
        resume: Goes on from the last finished epoch in ``folder``.
        quiet: Shows no progress bar.
        file_progress: Called while the dataset is read for the split.

    Returns:
        What ``metrics.json`` holds: figures of the kept epoch on the validation split.

    Raises:
        DatasetError: A split is empty.
        WeightsNotFoundError: The base weights are not there.
        KeyboardInterrupt: Passed on once the record says "interrupted"; the last finished epoch, or the
            start, can be resumed from.
    """
    gpus = grow_gpu_memory()  # before TensorFlow places its first variable
    keras.utils.set_random_seed(config.seed)
    network, base = build_network(config)
    prints = fingerprint(dataset, progress=file_progress)
    splits = assign_splits(dataset, prints=prints)
    parts = {name: dataset.table[(splits == name) & prints.decodable] for name in ("train", "validation")}
    if config.limit is not None:
        parts = {n: p.sample(min(config.limit, len(p)), random_state=config.seed) for n, p in parts.items()}
    if any(part.empty for part in parts.values()):
        raise DatasetError(
            f"{len(dataset.table)} chips in {dataset.folder} leave an empty train or validation split; "
            "a few hundred are needed"
        )
    resume = resume and (folder / LAST_WEIGHTS).is_file()
    if not resume:
        record = {**environment(dataset, prints.digests, splits, gpus), "base": base}
        write_json(folder / "config.json", config.to_dict())
        write_json(folder / "environment.json", record)
        np.savetxt(
            folder / "split.csv", np.array([prints.digests, splits], dtype=object).T, "%s", delimiter=","
        )

    input_size = config.options.input_size
    assert input_size is not None
    generators = {
        name: ChipGenerator(
            [dataset.folder / file for file in part["file"]],
            _targets(config, part),
            input_size=input_size,
            batch_size=config.batch_size,
            augmentation=config.augmentation if name == "train" else None,
            seed=config.seed,
        )
        for name, part in parts.items()
    }
    done = read_checkpoint(folder)[1] if resume else 0
    total = config.head_epochs + config.epochs
    progress = Progress(folder, total_epochs=total, first_epoch=done, disable=quiet)
    state = "interrupted"
    try:
        _fit_stages(config, network, generators, folder, done=done, progress=progress, resume=resume)
        state = "finished"
    finally:
        progress.close(state)
        history = read_history(folder / HISTORY_FILE)
        metrics = _kept_epoch(config, history)
        write_json(folder / "metrics.json", metrics)
    return metrics


def _fit_stages(
    config: TrainingConfig,
    network: keras.Sequential,
    generators: dict[str, ChipGenerator],
    folder: Path,
    *,
    done: int,
    progress: Progress,
    resume: bool,
) -> None:
    for stage in stages(config):
        model = _compile(network, config, stage, len(generators["train"]))
        recorder = RunRecorder(folder, config, network, stage.name)
        recorder.set_model(model)
        if resume and read_checkpoint(folder)[0] == stage.name and stage.first_epoch <= done:
            model.load_weights(folder / LAST_WEIGHTS)
            if done >= stage.end:
                # Keras leaves the moving average in the network when a stage ends.
                model.optimizer.finalize_variable_values(model.trainable_variables)
        if done >= stage.end:
            continue
        start = max(done, stage.first_epoch)
        if start == stage.first_epoch == 0 and not resume:
            # Whatever happens in the first epoch, there is something to go on from and something to use.
            recorder.save_last(0)
            network.save_weights(folder / BEST_WEIGHTS)
        mode = "min" if config.task == "age" else "max"
        model.fit(
            generators["train"],
            validation_data=generators["validation"],
            initial_epoch=start,
            epochs=stage.end,
            shuffle=False,  # the generator does, in an order that a resumed run can repeat
            verbose=0,
            callbacks=[
                keras.callbacks.LambdaCallback(
                    on_epoch_begin=lambda epoch, _: generators["train"].start_epoch(epoch)
                ),
                keras.callbacks.SwapEMAWeights(),
                recorder,
                progress,
                keras.callbacks.EarlyStopping(config.monitor_in_keras, patience=config.patience, mode=mode),
                keras.callbacks.TerminateOnNaN(),
            ],
        )


def _kept_epoch(config: TrainingConfig, history: pd.DataFrame) -> dict[str, Any]:
    row = kept_row(config, history)
    if row is None:
        return {"split": "validation", "epochs": len(history)}
    figures = history.to_dict("records")[row]
    return {
        "split": "validation",
        "epochs": len(history),
        "best_epoch": int(figures["epoch"]),
        config.monitor.removeprefix("val_"): round(float(figures[config.monitor]), 4),
        "seconds": round(float(history["seconds"].sum()), 1),
    }


def describe_stage_plan(config: TrainingConfig) -> str:
    """One line a stage, for people: name, epochs, learning rate."""
    lines = [f"{s.name}: {s.epochs} epochs, learning rate {s.learning_rate:g}" for s in stages(config)]
    backbone = get_backbone(config.options.backbone)
    size = config.options.input_size or backbone.input_size
    return f"{config.task} on {backbone.name} at {size[0]}x{size[1]} — " + "; ".join(lines)
