"""The training loop: config and dataset in, run record out."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Mapping, Sequence
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
from agegender.data.split import SPLIT_SALT, Partition, check_labels
from agegender.data.split import partition as find_partition
from agegender.data.table import Dataset
from agegender.errors import ConfigError, DatasetError
from agegender.export import write_atomically
from agegender.faces.face import Face
from agegender.files import paths_below
from agegender.models.card import HISTORY_FILE
from agegender.models.store import load_weights
from agegender.models.system import named_outputs
from agegender.progress import Progress as FileProgress
from agegender.runs.records import (
    LANDMARKS_CACHE,
    LAST_WEIGHTS,
    SPLITS_CACHE,
    TEACHER_CACHE,
    lock_folder,
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
from agegender.training.teacher import fingerprint_of_model
from agegender.training.tracking import Tracker

_RECORDED_PACKAGES: Final = (
    "keras",
    "tensorflow",
    "numpy",
    "opencv-python-headless",
    "pandas",
    "keras-vggface",
)

_NAMED: Final = 3


def environment(config: TrainingConfig, partition: Partition, gpus: int) -> dict[str, Any]:
    """Versions, machine, data, split and teacher, as a run records them."""
    dataset, teacher = partition.dataset, config.teacher
    return {
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in _RECORDED_PACKAGES},
        "machine": f"{platform.machine()}, {os.cpu_count()} CPU cores, {gpus} GPUs",
        "dataset": {
            "files": len(dataset.table),
            "skipped": len(dataset.skipped),
            "undecodable": len(partition.undecodable),
            "labels": partition.labels_hash,
        },
        "split": {
            "salt": SPLIT_SALT,
            "sources": {
                str(name): int(size) for name, size in dataset.table["source"].value_counts().items()
            },
            "hash": partition.hash,
            "sizes": partition.sizes(),
            **({"leaked": leaked} if (leaked := int(partition.leaked.sum())) else {}),
        },
        **({"teacher": {"name": teacher, "weights": fingerprint_of_model(teacher)}} if teacher else {}),
    }


def check_same_data(folder: Path, config: TrainingConfig, partition: Partition) -> None:
    """Refuses to take up a run with other data than it was trained on, or with a teacher that learnt anew.

    Args:
        folder: The run's.
        config: What it was started with.
        partition: The data that is there now.

    Raises:
        ConfigError: Files are others; or labels or teacher, where these are recorded.
    """
    recorded = read_json(folder / "environment.json")
    now = environment(config, partition, gpus=0)
    for part, key, what in (
        ("split", "hash", f"files of {partition.dataset.folder}"),
        ("dataset", "labels", f"labels in {partition.dataset.folder}"),
        ("teacher", "weights", f"weights of its teacher {config.teacher}"),
    ):
        before, here = (record.get(part) or {} for record in (recorded, now))
        known = isinstance(before, dict) and before.get(key)
        if known != here.get(key) and (known or part == "split"):
            raise ConfigError(
                f"{folder} was trained on other {what} than there are now: it cannot go on with these"
            )


def _version(package: str) -> str:
    try:
        return version(package)
    except ModuleNotFoundError:
        return "not installed"


def take_apart(
    dataset: Dataset, runs: Path, *, limit: int | None = None, progress: FileProgress | None = None
) -> Partition:
    """Splits a dataset for training, with its faces and what is kept of both beside the runs.

    Args:
        dataset: The files.
        runs: Folder of the runs.
        limit: Of chips to train on. With one, no face is looked for here: to try something on a few chips,
            not all of a source's faces need be found, nor its copies in other sources.
        progress: Called as faces are found, and files read and compared.
    """
    faces = None
    if limit is None and not dataset.table["aligned"].all():
        faces = find_faces(dataset, cache=runs / LANDMARKS_CACHE, progress=progress)
    return find_partition(dataset, faces=faces, cache=runs / SPLITS_CACHE, progress=progress)


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
    partition: Partition | None = None,
    recipe: Mapping[str, str] | None = None,
    say: Callable[[str], None] | None = None,
) -> dict[str, Any]:
    """Trains one network and writes its run record.

    Args:
        config: Everything that decides the run. When resuming, what it was started with.
        dataset: Faces; the train split is trained on, the selection half of validation picks the best epoch;
            the other half and the test split are not looked at.
        folder: The run's, which exists.
        resume: Goes on from the last finished epoch in ``folder``.
        quiet: Shows no progress bar.
        strategy: What the batches are spread over: see `make_strategy`. It changes nothing but rounding
            and the masks of dropout, so it is not part of the recipe, and a run may be resumed under another.
        tracker: Gets a copy of the record as it grows; see `open_tracker`.
        file_progress: Called while files are read for the split, faces found, and the teacher asked.
        partition: Of that dataset, where it is already known.
        recipe: For the record, which recipe the run belongs to: "name" and "run".
        say: Called with a line for each kind of file that is left out.

    Returns:
        What ``metrics.json`` holds: figures of the kept epoch on the selection half of validation, and how
        the run ended: "finished", "stopped early" or "diverged".

    Raises:
        ConfigError: The config asks for what cannot be: a run to start from, a teacher, devices. Or the run
            is resumed with other data than it was started with, or being trained by another process.
        DatasetError: A split is empty, or there is only one label to learn.
        WeightsNotFoundError: The base weights, or the teacher's, are not there.
        KeyboardInterrupt: Passed on once the record says "interrupted"; the last finished epoch, or the
            start, can be resumed from.
    """
    with lock_folder(folder, "trained"):
        if partition is None:
            partition = take_apart(dataset, folder.parent, limit=config.limit, progress=file_progress)
        return _train(
            config,
            partition,
            folder,
            resume=resume,
            quiet=quiet,
            strategy=strategy,
            tracker=tracker,
            file_progress=file_progress,
            recipe=recipe,
            say=say or (lambda _line: None),
        )


def _train(
    config: TrainingConfig,
    partition: Partition,
    folder: Path,
    *,
    resume: bool,
    quiet: bool,
    strategy: StrategyName,
    tracker: Tracker | None,
    file_progress: FileProgress | None,
    recipe: Mapping[str, str] | None,
    say: Callable[[str], None],
) -> dict[str, Any]:
    dataset = partition.dataset
    gpus = grow_gpu_memory()  # before TensorFlow places its first variable
    spread = make_strategy(strategy, config.batch_size)
    keras.utils.set_random_seed(config.seed)
    resume = resume and (folder / LAST_WEIGHTS).is_file()
    if resume:
        check_same_data(folder, config, partition)
    # A run that began on a graphics card goes on as it began: the optimiser's state is another elsewhere.
    recorded = read_json(folder / "environment.json").get("precision") if resume else None
    machine = Machine(recorded or precision_policy(config, gpus), spread)
    with machine.building():
        network, base = build_network(config, with_weights=not resume)

    say_left_out(say, dataset.skipped["file"].tolist(), "have no label that can be read")
    say_left_out(say, partition.undecodable, "cannot be decoded")
    leaked = dataset.table["file"][partition.leaked].tolist()
    say_left_out(say, leaked, "show a photo that chooses, calibrates or measures under another name")
    say_left_out(say, dataset.table["file"][partition.faceless].tolist(), "show no face")
    parts = _training_rows(config, partition)
    if partition.faces is None and not dataset.table["aligned"].all():
        parts, faces = _with_faces(dataset, parts, folder.parent / LANDMARKS_CACHE, file_progress)
    else:
        faces = {name: partition.faces_in(part) for name, part in parts.items()}
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
        record = environment(config, partition, gpus)
        record |= {"base": base, "precision": machine.policy, "strategy": strategy}
        record |= {} if recipe is None else {"recipe": dict(recipe)}
        write_json(folder / "config.json", config.to_dict())
        write_json(folder / "environment.json", record)
        files = zip(partition.digests, partition.names, strict=True)
        write_atomically(folder / "split.csv", "".join(f"{digest},{name}\n" for digest, name in files))

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


def say_left_out(say: Callable[[str], None], files: Sequence[str], why: str) -> None:
    """Says how many files are left out, and which the first of them are."""
    if files:
        named = ", ".join(files[:_NAMED]) + (", …" if len(files) > _NAMED else "")
        say(f"left out: {len(files):,} files that {why}: {named}")


def _training_rows(config: TrainingConfig, partition: Partition) -> dict[str, pd.DataFrame]:
    """The rows to train on, whose conflicting labels are resolved, and those to select the best epoch on."""
    parts = {
        "train": partition.rows("train", sources=config.sources),
        "validation": partition.rows("selection", sources=config.sources),
    }
    groups = pd.Series(partition.groups, index=partition.dataset.table.index)
    parts["train"] = resolve_conflicts(parts["train"], groups[parts["train"].index].to_numpy())
    if config.task != "age":
        parts["train"] = parts["train"].dropna(subset=["gender"])
    check_labels(parts["train"], config.task, f"to train on in {partition.dataset.folder}")
    ranged = int((parts["train"]["age_min"] < parts["train"]["age_max"]).sum())
    if ranged and config.task != "gender" and (config.mixup or config.cutmix):
        raise ConfigError(
            f"{ranged} pictures to train on are labelled with a range of ages, which MixUp and CutMix cannot "
            "mix: train without these, or on exact ages only"
        )
    if config.limit is not None:
        parts = {n: p.sample(min(config.limit, len(p)), random_state=config.seed) for n, p in parts.items()}
    return parts


def _with_faces(
    dataset: Dataset, parts: dict[str, pd.DataFrame], cache: Path, progress: FileProgress | None
) -> tuple[dict[str, pd.DataFrame], dict[str, list[Face | None]]]:
    """Finds the faces of a trial on few pictures, and leaves out those that show none."""
    kept, faces = {}, {}
    for name, part in parts.items():
        found = find_faces(dataset, part, cache=cache, progress=progress)
        seen = part["aligned"].to_numpy(bool) | np.array([face is not None for face in found])
        if not seen.any():
            raise DatasetError(f"no face was found in {len(part)} pictures of {dataset.folder}")
        kept[name] = part[seen]
        faces[name] = [face for face, shown in zip(found, seen, strict=True) if shown]
    return kept, faces


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
            recorder.save_untrained()
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
        return {"split": "selection", "epochs": len(history)}
    figures = history.to_dict("records")[row]
    names = [n for n in ("mae", "accuracy", "range_accuracy") if np.isfinite(figures[f"val_{n}"])]
    return {
        "split": "selection",
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
