"""Everything of the package that reads a file, with good files to begin with."""

from __future__ import annotations

import gzip
import json
import os
from functools import cache, partial
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import Final

from agegender.assets import RIVALS
from agegender.errors import AgeGenderError
from agegender.models.card import read_card
from tools.fuzz import programs, seeds
from tools.fuzz.mutations import mutate, mutate_json, mutate_text
from tools.fuzz.target import Target, temporary_folder

ROOT: Final = Path(__file__).parents[2]
MAX_PIXELS: Final = 12_000_000
"""What a picture may state in the fuzzer, so that a bound on time and memory can be stated."""

MAX_BYTES: Final = 1_000_000


@cache
def targets() -> tuple[Target, ...]:
    """All readers that need no TensorFlow."""
    pictures = tuple((seeds.pictures() | seeds.features()).values())
    card = json.dumps(read_card("vggface"))
    history = (ROOT / "weights" / "vggface" / "history.csv").read_text("utf-8")
    recipes = [path.read_text("utf-8") for path in sorted((ROOT / "recipes").glob("*.toml"))]
    split = (ROOT / "weights" / "vggface" / "split.txt").read_text("ascii")
    text = "\n".join(split.splitlines()[:30])
    return (
        Target(
            "pictures", lambda random: mutate(random, random.choice(pictures), pictures), _read_picture, 0.9
        ),
        Target("cards", partial(mutate_json, text=card), _read_card, 0.015),
        Target("run records", partial(_damaged_run, history=history), _read_run, 0.015),
        Target("recipes", lambda random: mutate_text(random, random.choice(recipes)), _read_recipe, 0.03),
        Target("labels", lambda random: mutate_text(random, random.choice(_LABELS)), _read_labels, 0.02),
        Target("records of a split", partial(mutate_text, text=text), _read_split, 0.01),
        Target("label tables", _damaged_label_table, _read_label_table, 0.005),
        Target(
            "records of rivals", partial(mutate_json, text=RIVALS.read_text("utf-8")), _read_rivals, 0.005
        ),
        *programs.targets(),
    )


def _read_picture(data: bytes) -> None:
    from agegender.images import read_image

    image = read_image(data, max_pixels=MAX_PIXELS, max_bytes=MAX_BYTES)
    assert image.ndim == 3 and image.shape[2] == 3 and image.dtype == "uint8" and image.size


def _read_card(data: bytes) -> None:
    from agegender.models.card import read_card
    from agegender.models.registry import list_models, model_spec
    from agegender.reports.card import card_markdown
    from agegender.reports.comparison import compare_models

    with temporary_folder() as folder:
        (folder / "vggface").mkdir()
        (folder / "vggface" / "card.json").write_bytes(data)
        refused = 0
        for read in (
            lambda: list_models(folder),
            lambda: model_spec("vggface", folder),
            lambda: card_markdown(read_card("vggface", folder)),
            lambda: compare_models(folder),
            lambda: _predict(folder),
        ):
            try:
                read()
            except AgeGenderError as error:
                refused, last = refused + 1, error
        if refused:
            raise last


def _predict(folder: Path) -> None:
    """Answers as a predictor does, without its networks."""
    import numpy as np

    from agegender.models.engine import RawAnswers
    from agegender.predictor import Predictor

    predictor = Predictor("vggface", weights_dir=folder)
    chips = np.zeros((2, 8, 8, 3), np.uint8)
    ages, female = np.array([30, 5], np.float32), np.array([0.3, 0.9], np.float32)
    raw = RawAnswers(ages, np.full((2, 117), 1 / 117, np.float32), female)
    engine = SimpleNamespace(card=predictor.card, margin=0, answer=lambda _: raw)
    predictor.load = lambda: engine  # type: ignore[method-assign, assignment, return-value]
    predictor.predict_chips(chips)


def _damaged_run(random: Random, history: str) -> bytes:
    """One of the files of a run's folder, with its name in the first line."""
    recipe = {
        "task": "age",
        "system": "vggface",
        "stages": [{"epochs": 3}],
        "options": {"input_size": [160, 160]},
    }
    status = {
        "state": "running",
        "epoch": 2,
        "epochs": 3,
        "step": 5,
        "steps": 9,
        "seconds_left": 3.5,
        "updated": 2e9,
    }
    files = {
        "config.json": recipe,
        "status.json": status,
        "metrics.json": {"best_epoch": 2, "val_mae": 4.5, "ended": "finished"},
        "environment.json": {"split": {"sizes": {"validation": 2000}, "hash": "abc"}, "precision": "float32"},
    }
    name = random.choice(("history.csv", *files))
    text = history if name == "history.csv" else json.dumps(files[name])
    make = mutate_text if name == "history.csv" else mutate_json
    return name.encode() + b"\n" + make(random, text)


def _read_run(data: bytes) -> None:
    from agegender.runs.comparison import compare_configs
    from agegender.runs.progress import read_progress, say_progress
    from agegender.runs.reading import best_epoch, read_curve, say_reading
    from agegender.runs.records import list_runs

    name, _, content = data.partition(b"\n")
    whole = Random(1)
    with temporary_folder() as folder:
        run = folder / "runs" / "one"
        run.mkdir(parents=True)
        text = (ROOT / "weights" / "vggface" / "history.csv").read_text("utf-8")
        for file in ("config.json", "status.json"):
            while not (made := _damaged_run(whole, text)).startswith(file.encode()):
                pass
            (run / file).write_bytes(made.partition(b"\n")[2])
        (run / name.decode()).write_bytes(content)
        for record in list_runs(folder / "weights", folder / "runs"):
            say_progress(read_progress(record))
            compare_configs({"one": record.config, "two": {"task": "age"}})
            for task in ("age", "gender"):
                history = record.history_of(task)
                record.config_of(task)
                record.kept_epoch(task)
                for quantity in ("loss", "mae", "accuracy"):
                    best_epoch(history, quantity)
                    say_reading(read_curve(history, quantity), quantity, running=record.running)


def _read_recipe(data: bytes) -> None:
    from agegender.training.recipes import read_recipe

    with temporary_folder() as folder:
        (folder / "recipe.toml").write_bytes(data)
        for run in read_recipe(str(folder / "recipe.toml")):
            run.config.to_dict()


_LABELS: Final = (
    "labels.csv\nfile,age,gender,race,split\ntrain/a.jpg,31,male,Asian,train\nb.jpg,20-29,female,,dev\nc.jpg,70+,1,x,\n",
    "labels.csv\nfile,age_min,age_max,gender,group\na.jpg,3,5,0,one\nb.jpg,70,,1,\n",
    "fairface_label_train.csv\nfile,age,gender,race,service_test\ntrain/1.jpg,50-59,Male,East Asian,True\n",
)


def _read_labels(data: bytes) -> None:
    from agegender.data.table import read_dataset
    from agegender.export import to_csv, to_json
    from agegender.files import paths_below

    name, _, content = data.partition(b"\n")
    names = ("labels.csv", "fairface_label_train.csv")
    with temporary_folder() as folder:
        (folder / "train").mkdir()
        for picture in ("train/a.jpg", "train/1.jpg", "a.jpg", "b.jpg", "c.jpg", os.fsdecode(b"caf\xe9.jpg")):
            (folder / picture).touch()
        (folder / (name.decode("latin-1") if name.decode("latin-1") in names else "labels.csv")).write_bytes(
            content
        )
        dataset = read_dataset(folder)
        to_csv(dataset.table)
        to_json(dataset.skipped.to_dict("records"))
        paths_below(dataset.folder, dataset.table["file"])


def _read_split(data: bytes) -> None:
    import pandas as pd

    from agegender.data.split_file import check_split

    with temporary_folder() as folder:
        (folder / "split.txt").write_bytes(data)
        check_split(folder / "split.txt", ["ab" * 32], pd.Series(["train"])).in_words()


def _damaged_label_table(random: Random) -> bytes:
    from agegender.assets import LABEL_TABLE

    packed = LABEL_TABLE.read_bytes()
    if random.random() < 0.3:
        return mutate(random, packed, [packed])
    lines = gzip.decompress(packed).decode("ascii").splitlines()[:20]
    return gzip.compress(mutate_text(random, "\n".join(lines)))


def _read_label_table(data: bytes) -> None:
    from agegender.audit.label_table import read_label_table

    with temporary_folder() as folder:
        (folder / "labels.csv.gz").write_bytes(data)
        read_label_table(folder / "labels.csv.gz")


def _read_rivals(data: bytes) -> None:
    from agegender.reports.others import read_rivals

    with temporary_folder() as folder:
        (folder / "rivals.json").write_bytes(data)
        read_rivals(folder / "rivals.json")


@cache
def weights() -> Target:
    """The reader of weight files; apart from the others, because it needs TensorFlow."""
    import keras

    from agegender.models.store import load_weights, save_float16

    keras.utils.set_random_seed(1)

    def build() -> keras.Model:
        layers = [keras.layers.Input((4,)), keras.layers.Dense(3, name="a"), keras.layers.Dense(1, name="b")]
        return keras.Sequential(layers)

    model, other = build(), build()
    with temporary_folder() as folder:
        save_float16(model, folder / "seed.weights.h5")
        save_float16(other, folder / "pair.weights.json", share_with=folder / "seed.weights.h5")
        good = {path.name: path.read_bytes() for path in folder.iterdir()}

    def make(random: Random) -> bytes:
        if random.random() < 0.3:
            name = "pair.weights.json"
            return name.encode() + b"\n" + mutate_json(random, good[name].decode())
        name = random.choice(("seed.weights.h5", "pair_00000.weights.h5"))
        return name.encode() + b"\n" + mutate(random, good[name], list(good.values()))

    def read(data: bytes) -> None:
        name, _, content = data.partition(b"\n")
        with temporary_folder() as folder:
            for path, whole in (good | {name.decode(): content}).items():
                (folder / path).write_bytes(whole)
            load_weights(model, folder / "seed.weights.h5")
            load_weights(other, folder / "pair.weights.json")

    return Target("weights", make, read, 0.0)
