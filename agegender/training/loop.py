"""The training loop: config and dataset in, run record out."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import keras
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from tqdm import tqdm

from agegender.data.generator import ChipGenerator
from agegender.data.mixing import Mixing
from agegender.data.split import SPLIT_SALT, Splits, check_labels
from agegender.data.table import Dataset
from agegender.errors import ConfigError
from agegender.models.card import HISTORY_FILE
from agegender.models.store import load_weights
from agegender.models.systems import named_outputs
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
from agegender.training.runs import (
    BEST_WEIGHTS,
    LAST_WEIGHTS,
    TEACHER_CACHE,
    lock_run,
    read_history,
    read_json,
    write_json,
)
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


def environment(config: TrainingConfig, splits: Splits, gpus: int) -> dict[str, Any]:
    """Versions, machine, data, split and teacher, as a run records them."""
    dataset, teacher = splits.dataset, config.teacher
    return {
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in _RECORDED_PACKAGES},
        "machine": f"{platform.machine()}, {os.cpu_count()} CPU cores, {gpus} GPUs",
        "dataset": {
            "files": len(dataset.table),
            "skipped": len(dataset.skipped),
            "undecodable": len(splits.undecodable),
            "labels": splits.labels_hash,
        },
        "split": {"salt": SPLIT_SALT, "hash": splits.hash, "sizes": splits.sizes()},
        **({"teacher": {"name": teacher, "weights": fingerprint_of_model(teacher)}} if teacher else {}),
    }


def check_same_data(folder: Path, config: TrainingConfig, splits: Splits) -> None:
    """Refuses to take up a run with other data than it was trained on, or with a teacher that learnt anew.

    Args:
        folder: The run's.
        config: What it was started with.
        splits: The data that is there now.

    Raises:
        ConfigError: Files, labels or teacher are others.
    """
    recorded = read_json(folder / "environment.json")
    now = environment(config, splits, gpus=0)
    for part, key, what in (
        ("split", "hash", f"files of {splits.dataset.folder}"),
        ("dataset", "labels", f"labels in {splits.dataset.folder}"),
        ("teacher", "weights", f"weights of its teacher {config.teacher}"),
    ):
        before, here = (record.get(part) or {} for record in (recorded, now))
        if not isinstance(before, dict) or before.get(key) != here.get(key):
            raise ConfigError(
                f"{folder} was trained on other {what} than there are now: it cannot go on with these"
            )


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
    splits: Splits | None = None,
    recipe: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Trains one network and writes its run record.

    Args:
        config: Everything that decides the run. When resuming, what it was started with.
        dataset: Chips; the train split is trained on, the selection half of validation picks the best epoch;
            the other half and the test split are not looked at.
        folder: The run's, which exists.
        resume: Goes on from the last finished epoch in ``folder``.
        quiet: Shows no progress bar.
        strategy: What the batches are spread over: see `make_strategy`. It changes nothing but rounding
            and the masks of dropout, so it is not part of the recipe, and a run may be resumed under another.
        tracker: Gets a copy of the record as it grows; see `open_tracker`.
        splits: Of that dataset, where they are already known.
        recipe: For the record, which recipe the run belongs to: "name" and "run".

    Returns:
        What ``metrics.json`` holds: figures of the kept epoch on the selection half of validation, and how
        the run ended: "finished", "stopped early" or "diverged".

    Raises:
        ConfigError: The config asks for what cannot be: a run to start from, a teacher, devices. Or the run
            is resumed with other data than it was started with, or being trained by another process.
        DatasetError: A split is empty, or has one label only.
        WeightsNotFoundError: The base weights, or the teacher's, are not there.
        KeyboardInterrupt: Passed on once the record says "interrupted"; the last finished epoch, or the
            start, can be resumed from.
    """
    with lock_run(folder):
        return _train(
            config,
            splits or Splits.of(dataset),
            folder,
            resume=resume,
            quiet=quiet,
            strategy=strategy,
            tracker=tracker,
            recipe=recipe,
        )


def _train(
    config: TrainingConfig,
    splits: Splits,
    folder: Path,
    *,
    resume: bool,
    quiet: bool,
    strategy: StrategyName,
    tracker: Tracker | None,
    recipe: Mapping[str, str] | None,
) -> dict[str, Any]:
    gpus = grow_gpu_memory()  # before TensorFlow places its first variable
    spread = make_strategy(strategy, config.batch_size)
    keras.utils.set_random_seed(config.seed)
    resume = resume and (folder / LAST_WEIGHTS).is_file()
    if resume:
        check_same_data(folder, config, splits)
    # A run that began on a graphics card goes on as it began: the optimiser's state is another elsewhere.
    recorded = read_json(folder / "environment.json").get("precision") if resume else None
    machine = Machine(recorded or precision_policy(config, gpus), spread)
    with machine.building():
        network, base = build_network(config, with_weights=not resume)

    parts = _training_rows(config, splits)
    generators = _generators(
        config,
        splits.dataset.folder,
        parts,
        list(named_outputs(network)),
        teacher_cache=folder.parent / TEACHER_CACHE,
        quiet=quiet,
    )
    if not resume:
        record = environment(config, splits, gpus)
        record |= {"base": base, "precision": machine.policy, "strategy": strategy}
        record |= {} if recipe is None else {"recipe": dict(recipe)}
        write_json(folder / "config.json", config.to_dict())
        write_json(folder / "environment.json", record)
        table = np.array([splits.digests, splits.names], dtype=object).T
        np.savetxt(folder / "split.csv", table, "%s", delimiter=",")

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


def _training_rows(config: TrainingConfig, splits: Splits) -> dict[str, pd.DataFrame]:
    """The rows to train on, whose conflicting labels are resolved, and those to select the best epoch on."""
    parts = {"train": splits.rows("train"), "validation": splits.rows("selection")}
    parts["train"] = resolve_conflicts(parts["train"], splits.photos[parts["train"].index].to_numpy())
    if config.task != "age":
        parts["train"] = parts["train"].dropna(subset=["gender"])
    check_labels(parts["train"], config.task, f"to train on in {splits.dataset.folder}")
    if config.limit is not None:
        parts = {n: p.sample(min(config.limit, len(p)), random_state=config.seed) for n, p in parts.items()}
    return parts


def _generators(
    config: TrainingConfig,
    folder: Path,
    parts: dict[str, pd.DataFrame],
    outputs: list[str],
    *,
    teacher_cache: Path,
    quiet: bool,
) -> dict[str, ChipGenerator]:
    with tqdm(
        desc="asking the teacher", unit="chip", leave=False, disable=quiet or config.teacher is None
    ) as bar:

        def advance(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        train, validation = parts["train"], parts["validation"]
        taught = make_targets(config, train, outputs, folder, teacher_cache=teacher_cache, progress=advance)
    mixing = Mixing(config.mixup, config.cutmix, config.erasing)

    def generate(part: pd.DataFrame, targets: dict[str, NDArray[np.float32]], **how: Any) -> ChipGenerator:
        return ChipGenerator(
            [folder / file for file in part["file"]],
            targets,
            input_size=config.options.input_size,
            batch_size=config.batch_size,
            seed=config.seed,
            **how,
        )

    return {
        "train": generate(
            train,
            taught,
            augmentation=config.augmentation,
            weights=balance_weights(config, train),
            mixing=mixing if mixing else None,
        ),
        "validation": generate(validation, make_targets(config, validation, outputs)),
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
