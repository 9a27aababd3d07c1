"""Measures whether reading and augmenting chips keeps up with training on them.

    python -m tools.bench_training --data DIR [--recipe NAME] [--json FILE]

Chips a second of (a) the bare training step on a batch that lies in memory, (b) the generator alone, with the
workers it has in training, and (c) the whole loop, in which both share the processor; and the ratio c/a: one,
if the input pipeline costs nothing. The three take turns for some rounds, and the median of each counts, so
that a machine that slows down slows all of them. Nothing is kept: the weights are random. The figures of the
default recipe are in docs/measurements/training-throughput.json.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import platform
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import numpy as np
from tqdm import tqdm

from agegender.data.table import Dataset, read_dataset
from agegender.errors import AgeGenderError
from agegender.files import paths_below
from agegender.runtime import prepare_tensorflow

if TYPE_CHECKING:
    import keras

    from agegender.data.generator import ChipGenerator
    from agegender.training.config import TrainingConfig

KINDS = ("step", "generator", "loop")


def main(arguments: list[str] | None = None) -> int:
    """Runs the command line; returns the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--data", metavar="DIR", help="UTKFace folder; default $UTKFACE_DIR")
    parser.add_argument("--recipe", metavar="NAME", help="measure its last run; default train.py's for age")
    parser.add_argument("--steps", type=_positive, default=30, metavar="N", help="measured a round")
    parser.add_argument("--warmup", type=_positive, default=12, metavar="N", help="steps before them")
    parser.add_argument("--rounds", type=_positive, default=3, metavar="N")
    parser.add_argument("--json", type=Path, metavar="FILE", help="where to write the figures")
    options = parser.parse_args(arguments)
    prepare_tensorflow(training=True)
    # TensorFlow reads its settings when it is imported.
    from agegender.training.config import TrainingConfig
    from agegender.training.recipes import read_recipe

    try:
        recipe = options.recipe
        config = TrainingConfig("age") if recipe is None else read_recipe(recipe)[-1].config
        dataset = read_dataset(options.data)
    except AgeGenderError as error:
        print(error, file=sys.stderr)
        return 2
    report = measure(config, dataset, steps=options.steps, warmup=options.warmup, rounds=options.rounds)
    report["recipe"] = recipe or "default"
    print_report(report)
    if options.json is not None:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
        print(f"written to {options.json}")
    return 0


def measure(
    config: TrainingConfig, dataset: Dataset, *, steps: int, warmup: int, rounds: int
) -> dict[str, Any]:
    """Measures a recipe's last stage.

    Args:
        config: The recipe. Its teacher is not asked and its base weights are not read.
        dataset: Where the chips are; a seeded draw of as many as are needed.
        steps: Measured a round.
        warmup: Steps before them; more than the queue of batches holds, which is 8.
        rounds: How often each kind takes its turn.

    Returns:
        What is written to JSON: ``chips_per_second`` of each of `KINDS`, ``loop_to_step``, and how it was
        measured.
    """
    import tensorflow as tf

    from agegender.models.system import named_outputs
    from agegender.training.devices import Machine, grow_gpu_memory, precision_policy
    from agegender.training.optimise import prepare
    from agegender.training.start import build_network

    config = dataclasses.replace(config, teacher=None)
    machine = Machine(precision_policy(config, grow_gpu_memory()), None)
    with machine.building():
        network, _ = build_network(config, with_weights=False)
        model = prepare(network, config, [s for s in config.stages if s.epochs][-1], steps)
    generator = make_generator(config, dataset, list(named_outputs(network)), warmup + steps)
    rates: dict[str, list[float]] = {kind: [] for kind in KINDS}
    for turn in tqdm(range(rounds), desc="rounds", file=sys.stderr, disable=None):
        generator.start_epoch(turn)
        memory = tf.data.Dataset.from_tensors(generator[0]).repeat(warmup + steps)
        chips = steps * config.batch_size
        rates["step"].append(chips / fit_seconds(model, memory, warmup))
        rates["generator"].append(chips / read_seconds(generator, warmup))
        rates["loop"].append(chips / fit_seconds(model, generator, warmup))
    medians = {kind: median(values) for kind, values in rates.items()}
    return {
        "system": config.system,
        "task": config.task,
        "backbone": config.options.backbone,
        "input_size": list(config.options.input_size),
        "batch_size": config.batch_size,
        "precision": machine.policy,
        "workers": generator.workers,
        "steps": steps,
        "rounds": rounds,
        "chips_per_second": {kind: round(value, 1) for kind, value in medians.items()},
        "loop_to_step": round(medians["loop"] / medians["step"], 3),
        "machine": f"{platform.machine()}, {os.cpu_count()} CPU cores",
        "packages": {name: version(name) for name in ("tensorflow", "keras", "opencv-python-headless")},
    }


def make_generator(
    config: TrainingConfig, dataset: Dataset, outputs: list[str], batches: int
) -> ChipGenerator:
    """The training generator of a recipe over as many chips as fill so many batches."""
    from agegender.data.generator import ChipGenerator
    from agegender.data.mixing import Mixing
    from agegender.training.targets import balance_weights, make_targets

    rows = dataset.table.sample(batches * config.batch_size, replace=True, random_state=config.seed)
    mixing = Mixing(config.mixup, config.cutmix, config.erasing)
    return ChipGenerator(
        paths_below(dataset.folder, rows["file"]),
        make_targets(config, rows, outputs),
        input_size=config.options.input_size,
        batch_size=config.batch_size,
        augmentation=config.augmentation,
        weights=balance_weights(config, rows.reset_index(drop=True)),
        mixing=mixing if mixing else None,
        seed=config.seed,
    )


def fit_seconds(model: keras.Model, batches: Any, warmup: int) -> float:
    """How long ``fit`` takes after the warm-up, which traces the graph and empties the queue that filled."""
    import keras

    ends: list[float] = []
    clock = keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: ends.append(time.perf_counter())
    )
    model.fit(batches, epochs=1, shuffle=False, verbose=0, callbacks=[clock])
    return ends[-1] - ends[warmup - 1]


def read_seconds(generator: ChipGenerator, warmup: int) -> float:
    """How long the generator takes for the batches after the warm-up, with its workers and nothing else."""
    with ThreadPoolExecutor(generator.workers) as pool:
        list(pool.map(generator.__getitem__, range(warmup)))
        began = time.perf_counter()
        for batch in pool.map(generator.__getitem__, range(warmup, len(generator))):
            np.asarray(batch[0])
        return time.perf_counter() - began


def print_report(report: dict[str, Any]) -> None:
    """Prints the figures for people."""
    rates = report["chips_per_second"]
    print(f"bare training step  {rates['step']:8.1f} chips a second")
    print(f"generator alone     {rates['generator']:8.1f}")
    print(f"whole loop          {rates['loop']:8.1f}, {report['loop_to_step']:.0%} of the bare step")


def _positive(text: str) -> int:
    if (number := int(text)) < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, not {text}")
    return number


if __name__ == "__main__":
    sys.exit(main())
