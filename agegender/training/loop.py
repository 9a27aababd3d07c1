"""The training loop: config and dataset in, run record out."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import keras
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from agegender.data.generator import ChipGenerator
from agegender.data.landmarks import find_faces
from agegender.data.mixing import Mixing
from agegender.data.sampling import sampling_shares
from agegender.data.split import SPLIT_SALT, Partition, split_hash
from agegender.data.split import partition as find_partition
from agegender.data.table import Dataset
from agegender.errors import ConfigError, DatasetError
from agegender.faces.face import Face
from agegender.files import paths_below
from agegender.models.card import HISTORY_FILE
from agegender.models.store import load_weights
from agegender.models.system import named_outputs
from agegender.progress import Progress as FileProgress
from agegender.runs.records import (
    BEST_WEIGHTS,
    LANDMARKS_CACHE,
    LAST_WEIGHTS,
    SPLITS_CACHE,
    TEACHER_CACHE,
    read_history,
    read_json,
    write_json,
)
from agegender.training.callbacks import (
    PlateauRate,
    Progress,
    RunRecorder,
    is_exhausted,
    kept_row,
    read_checkpoint,
)
from agegender.training.config import TrainingConfig
from agegender.training.devices import (
    Machine,
    StrategyName,
    grow_gpu_memory,
    make_strategy,
    precision_policy,
)
from agegender.training.optimise import prepare
from agegender.training.start import build_network
from agegender.training.targets import balance_weights, make_targets, resolve_conflicts
from agegender.training.tracking import Tracker

_RECORDED_PACKAGES: Final = (
    "keras",
    "tensorflow",
    "numpy",
    "opencv-python-headless",
    "pandas",
    "keras-vggface",
)


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
            "sources": {
                str(name): int(size) for name, size in dataset.table["source"].value_counts().items()
            },
            "hash": split_hash(digests, splits),
            "sizes": {str(name): int(size) for name, size in splits.value_counts().items()},
        },
    }


def _version(package: str) -> str:
    try:
        return version(package)
    except ModuleNotFoundError:
        return "not installed"


def train(
    config: TrainingConfig,
    dataset: Dataset,
    folder: Path,
    *,
    resume: bool = False,
    quiet: bool = False,
    strategy: StrategyName = "none",
    tracker: Tracker | None = None,
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
        strategy: What the batches are spread over: see `make_strategy`. It changes nothing but rounding
            and the masks of dropout, so it is not part of the recipe, and a run may be resumed under another.
        tracker: Gets a copy of the record as it grows; see `open_tracker`.
        file_progress: Called while files are read for the split, faces found, and the teacher asked.

    Returns:
        What ``metrics.json`` holds: figures of the kept epoch on the validation split, and how the run
        ended: "finished", "stopped early" or "diverged".

    Raises:
        ConfigError: The recipe asks for what cannot be: a run to start from, a teacher, devices.
        DatasetError: A split is empty.
        WeightsNotFoundError: The base weights, or the teacher's, are not there.
        KeyboardInterrupt: Passed on once the record says "interrupted"; the last finished epoch, or the
            start, can be resumed from.
    """
    gpus = grow_gpu_memory()  # before TensorFlow places its first variable
    spread = make_strategy(strategy, config.batch_size)
    keras.utils.set_random_seed(config.seed)
    resume = resume and (folder / LAST_WEIGHTS).is_file()
    # A run that began on a graphics card goes on as it began: the optimiser's state is another elsewhere.
    recorded = read_json(folder / "environment.json").get("precision") if resume else None
    machine = Machine(recorded or precision_policy(config, gpus), spread)
    with machine.building():
        network, base = build_network(config, with_weights=not resume)

    landmarks, splits = folder.parent / LANDMARKS_CACHE, folder.parent / SPLITS_CACHE
    # To try something on a few chips, not all of a source's faces need be found.
    everywhere = config.limit is None and not dataset.table["aligned"].all()
    known = find_faces(dataset, cache=landmarks, progress=file_progress) if everywhere else None
    partition = find_partition(dataset, faces=known, cache=splits, progress=file_progress)
    parts = _training_rows(config, dataset, partition)
    parts, faces = _with_faces(dataset, parts, known, landmarks, file_progress)
    generators = _generators(
        config,
        dataset.folder,
        parts,
        faces,
        list(named_outputs(network)),
        teacher_cache=folder.parent / TEACHER_CACHE,
        progress=file_progress,
    )
    if not resume:
        record = environment(dataset, partition.digests, partition.names, gpus)
        record |= {"base": base, "precision": machine.policy, "strategy": strategy}
        write_json(folder / "config.json", config.to_dict())
        write_json(folder / "environment.json", record)
        np.savetxt(
            folder / "split.csv",
            np.array([partition.digests, partition.names], dtype=object).T,
            "%s",
            delimiter=",",
        )

    done = read_checkpoint(folder)[1] if resume else 0
    progress = Progress(folder, total_epochs=config.epochs, first_epoch=done, disable=quiet)
    state = "interrupted"
    try:
        if tracker is not None:
            tracker.update(folder)
        state = _fit_stages(
            config,
            network,
            generators,
            folder,
            machine,
            progress=progress,
            tracker=tracker,
            resume=resume,
        )
    finally:
        progress.close(state)
        history = read_history(folder / HISTORY_FILE)
        metrics = {**_kept_epoch(config, history), "ended": state}
        write_json(folder / "metrics.json", metrics)
        if tracker is not None:
            tracker.close(folder)
    return metrics


def _training_rows(config: TrainingConfig, dataset: Dataset, partition: Partition) -> dict[str, pd.DataFrame]:
    """The rows to train and to validate on; those to train on with conflicting labels settled."""
    usable = partition.decodable & ~partition.leaked
    parts = {name: dataset.table[(partition.names == name) & usable] for name in ("train", "validation")}
    groups = pd.Series(partition.groups, index=dataset.table.index)
    parts["train"] = resolve_conflicts(parts["train"], groups[parts["train"].index].to_numpy())
    if config.task != "age":
        parts["train"] = parts["train"].dropna(subset=["gender"])
    if config.limit is not None:
        parts = {n: p.sample(min(config.limit, len(p)), random_state=config.seed) for n, p in parts.items()}
    if any(part.empty for part in parts.values()):
        raise DatasetError(
            f"{len(dataset.table)} chips in {dataset.folder} leave an empty train or validation split; "
            "a few hundred are needed"
        )
    return parts


def _with_faces(
    dataset: Dataset,
    parts: dict[str, pd.DataFrame],
    known: Sequence[Face | None] | None,
    cache: Path,
    progress: FileProgress | None,
) -> tuple[dict[str, pd.DataFrame], dict[str, list[Face | None]]]:
    """Where the faces are in what is not a chip already; pictures without a face are left out."""
    rows = dataset.table if known is not None else pd.concat(parts.values())
    if known is None:
        known = find_faces(dataset, rows, cache=cache, progress=progress)
    where = dict(zip(rows.index, known, strict=True))
    seen = {i for i, aligned in rows["aligned"].items() if aligned or where[i] is not None}
    kept = {name: part[part.index.isin(seen)] for name, part in parts.items()}
    if any(part.empty for part in kept.values()):
        raise DatasetError(f"no face was found in the pictures of {dataset.folder} to train or validate on")
    return kept, {name: [where[i] for i in part.index] for name, part in kept.items()}


def _generators(
    config: TrainingConfig,
    folder: Path,
    parts: dict[str, pd.DataFrame],
    faces: dict[str, list[Face | None]],
    outputs: list[str],
    *,
    teacher_cache: Path,
    progress: FileProgress | None,
) -> dict[str, ChipGenerator]:
    train, validation = parts["train"], parts["validation"]
    taught = make_targets(
        config, train, outputs, folder, faces=faces["train"], teacher_cache=teacher_cache, progress=progress
    )
    mixing = Mixing(config.mixup, config.cutmix, config.erasing)

    def generate(name: str, targets: dict[str, NDArray[np.float32]], **how: Any) -> ChipGenerator:
        return ChipGenerator(
            paths_below(folder, parts[name]["file"]),
            targets,
            input_size=config.options.input_size,
            faces=faces[name],
            margin=getattr(config.options, "margin", 0),
            batch_size=config.batch_size,
            seed=config.seed,
            **how,
        )

    return {
        "train": generate(
            "train",
            taught,
            augmentation=config.augmentation,
            weights=balance_weights(config, train),
            shares=sampling_shares(config.sampling, train, config.epoch_chips),
            mixing=mixing if mixing else None,
        ),
        "validation": generate("validation", make_targets(config, validation, outputs)),
    }


def _fit_stages(
    config: TrainingConfig,
    network: keras.Model,
    generators: dict[str, ChipGenerator],
    folder: Path,
    machine: Machine,
    *,
    progress: Progress,
    tracker: Tracker | None,
    resume: bool,
) -> str:
    """Trains stage after stage from where the run is; returns how it ended."""
    reached, done = read_checkpoint(folder) if resume else ("", 0)
    if resume and reached not in {stage.name for stage in config.stages}:
        raise ConfigError(f"{folder / LAST_WEIGHTS} is of stage {reached!r}, which the recipe does not have")
    history = read_history(folder / HISTORY_FILE)
    if 0 < done < config.epochs and is_exhausted(config, history[history["epoch"] <= done]):
        return "stopped early"
    first = 0
    for stage in config.stages:
        start, end = max(done, first), first + stage.epochs
        first = end
        if not stage.epochs or (done >= end and stage.name != reached):
            continue
        with machine.building():
            model = prepare(network, config, stage, len(generators["train"]))
        recorder = RunRecorder(folder, config, network, stage.name)
        recorder.set_model(model)
        if stage.name == reached:
            load_weights(model, folder / LAST_WEIGHTS)
            if done >= end and config.ema_momentum:
                # Keras leaves the moving average in the network when a stage ends.
                model.optimizer.finalize_variable_values(model.trainable_variables)
        if done >= end:
            continue
        if start == 0 and not resume:
            # Whatever happens in the first epoch, there is something to go on from and something to use.
            recorder.save_last(0)
            network.save_weights(folder / BEST_WEIGHTS)
        model.fit(
            generators["train"],
            validation_data=generators["validation"],
            initial_epoch=start,
            epochs=end,
            shuffle=False,  # the generator does, in an order that a resumed run can repeat
            verbose=0,
            callbacks=[
                keras.callbacks.LambdaCallback(
                    on_epoch_begin=lambda epoch, _: generators["train"].start_epoch(epoch)
                ),
                *([keras.callbacks.SwapEMAWeights()] if config.ema_momentum else []),
                *([PlateauRate(folder, config, stage)] if config.schedule == "plateau" else []),
                recorder,
                *([_after_each_epoch(tracker, folder)] if tracker is not None else []),
                progress,
                keras.callbacks.TerminateOnNaN(),
            ],
        )
        if recorder.ended:
            return recorder.ended
    return "finished"


def _after_each_epoch(tracker: Tracker, folder: Path) -> keras.callbacks.Callback:
    """Hands the record on; to stand behind the recorder, which writes it."""
    return keras.callbacks.LambdaCallback(on_epoch_end=lambda *_: tracker.update(folder))


def _kept_epoch(config: TrainingConfig, history: pd.DataFrame) -> dict[str, Any]:
    row = kept_row(config, history)
    if row is None:
        return {"split": "validation", "epochs": len(history)}
    figures = history.to_dict("records")[row]
    names = [n for n in ("mae", "accuracy", "range_accuracy") if np.isfinite(figures[f"val_{n}"])]
    return {
        "split": "validation",
        "epochs": len(history),
        "best_epoch": int(figures["epoch"]),
        **{name: round(float(figures[f"val_{name}"]), 4) for name in names},
        "seconds": round(float(history["seconds"].sum()), 1),
    }


def describe_stage_plan(config: TrainingConfig) -> str:
    """One line for people: network, stages, epochs, learning rates."""
    stages = [
        f"{s.name}: {s.epochs} epochs, learning rate {s.learning_rate:g}" for s in config.stages if s.epochs
    ]
    height, width = config.options.input_size
    on = f" on {config.options.backbone}" if config.options.backbone else ""
    return f"{config.system}, {config.task}{on} at {width}x{height} — " + "; ".join(stages)
