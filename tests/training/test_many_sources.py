"""Training on chips with exact ages and photos with ranges, side by side."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from agegender.data import landmarks
from agegender.data.generator import ChipGenerator
from agegender.data.landmarks import find_faces
from agegender.data.sampling import SamplingRule
from agegender.data.split import assign_splits, partition
from agegender.data.table import Dataset, read_dataset
from agegender.errors import DatasetError
from agegender.publishing.publish import publish
from agegender.reports.card import card_markdown
from agegender.runs.records import LANDMARKS_CACHE, read_history, read_json
from agegender.training import loop
from tests.conftest import PhotoDetector, make_chip, photo_around, write_source

DARK = (0, 1, 3, 4, 5)
AGES_OF_TEENAGERS = {"age": 14, "age_min": 10, "age_max": 19}

pytestmark = pytest.mark.usefixtures("eager")


@pytest.fixture(scope="module")
def folders(tmp_path_factory, fake_utkface):
    """UTKFace, and 60 photos: five in the dark, one with a chip that UTKFace's test split holds."""
    rng = np.random.default_rng(4)
    photos = {f"train/{i:02}.jpg": make_chip(rng, 300) for i in range(50)}
    photos |= {f"dev/{i:02}.jpg": make_chip(rng, 300) for i in range(10)}
    photos |= {f"train/0{i}.jpg": np.full((300, 300, 3), i, np.uint8) for i in DARK}
    alone = read_dataset(fake_utkface)
    held_out = alone.table["file"][assign_splits(alone) == "test"].iloc[0]
    from agegender.data.pictures import read_chip

    photos["train/02.jpg"] = photo_around(read_chip(fake_utkface / held_out), rng)
    return [fake_utkface, write_source(tmp_path_factory.mktemp("more") / "photos", photos)]


@pytest.fixture
def served(monkeypatch) -> list[pd.DataFrame]:
    """What the generators of a run are made of: training first, then validation."""
    made = []

    def make(paths, targets, **how):
        made.append({"files": [path.name for path in paths], "targets": targets, **how})
        return ChipGenerator(paths, targets, **how)

    monkeypatch.setattr(loop, "ChipGenerator", make)
    return made


def test_a_run_learns_from_all_sources_and_from_nothing_that_is_measured(
    tmp_path, tiny, folders, served, monkeypatch
):
    dataset = read_dataset(folders)
    find_faces(dataset, detector=PhotoDetector(), cache=tmp_path / LANDMARKS_CACHE)
    monkeypatch.setattr(landmarks, "FaceDetector", lambda: pytest.fail("faces are looked for again"))
    config = tiny(
        "both",
        sampling=(SamplingRule(3.0, source="photos"), SamplingRule(0.5, gender="male")),
        epoch_chips=64,
        options={"margin": 12},
    )
    folder = tmp_path / "run"
    folder.mkdir()
    said = []
    metrics = loop.train(config, dataset, folder, quiet=True, say=said.append)
    assert metrics["ended"] == "finished"
    assert np.isfinite(read_history(folder / "history.csv")[["loss", "val_loss", "val_mae"]].to_numpy()).all()
    record = read_json(folder / "environment.json")
    assert record["split"]["sources"] == {folders[0].name: 120, "photos": 60}
    assert record["split"]["sizes"]["dev"] == 10
    assert record["split"]["leaked"] == 1
    assert any("1 files that show a photo" in line and "train/02.jpg" in line for line in said)
    assert any(re.search(r"[1-5] files that show no face: .*train/0[01345]\.jpg", line) for line in said)

    train, validation = served
    names = partition(dataset).uses
    photo = (dataset.table["source"] == "photos").to_numpy()
    dark = dataset.table["file"].str.endswith(tuple(f"train/0{i}.jpg" for i in DARK))
    leaked = dataset.table["file"].str.endswith("train/02.jpg")
    for part, name in ((train, "train"), (validation, "selection")):
        wanted = dataset.table[(names == name) & ~dark & ~leaked]
        assert sorted(part["files"]) == sorted(file.rpartition("/")[2] for file in wanted["file"])
        assert part["margin"] == 12
        assert sum(face is not None for face in part["faces"]) == photo[wanted.index].sum()
        ends = part["targets"]["age"]
        assert (ends[[face is not None for face in part["faces"]]] == [30, 39]).all()
    assert train["shares"].sum() == pytest.approx(64)
    female = train["targets"]["female"][:, 0] == 1
    from_photos = np.array([face is not None for face in train["faces"]])
    share = train["shares"][female & ~from_photos][0]
    assert train["shares"] == pytest.approx(share * np.where(from_photos, 3, 1) * np.where(female, 1, 0.5))
    assert validation.get("shares") is None


def test_a_model_of_many_sources_is_calibrated_on_all_and_its_ages_on_exact_ones(
    tmp_path, tiny, folders, monkeypatch
):
    dataset = read_dataset(folders)
    find_faces(dataset, detector=PhotoDetector(), cache=tmp_path / LANDMARKS_CACHE)
    monkeypatch.setattr(landmarks, "FaceDetector", lambda: pytest.fail("faces are looked for again"))
    folder = tmp_path / "run"
    folder.mkdir()
    loop.train(tiny("both", options={"margin": 12}), dataset, folder, quiet=True)
    how = {"title": "Two", "corruptions": True, "light": False, "weights_dir": tmp_path / "weights"}
    card = publish({"both": folder}, "two", dataset, **how)
    splits = loop.take_apart(dataset, tmp_path)
    rows = splits.rows("calibration")
    assert 0 < (rows["source"] == "photos").sum() < len(rows)
    assert card["calibration"]["gender"]["n"] == len(rows)
    assert card["calibration"]["age"]["n"] == (rows["age_min"] == rows["age_max"]).sum()
    assert card["metrics"]["n"] == len(splits.rows("test"))
    assert card["split"]["hash"] == splits.hash
    assert not any("another state" in note for note in card["notes"])
    assert card["corruptions"]["by_kind"].keys() >= {"blur", "patch"}


def test_a_model_of_one_source_learns_and_calibrates_on_it_alone_and_the_others_measure(
    tmp_path, tiny, folders, served, monkeypatch
):
    read = read_dataset(folders)
    find_faces(read, detector=PhotoDetector(), cache=tmp_path / LANDMARKS_CACHE)
    monkeypatch.setattr(landmarks, "FaceDetector", lambda: pytest.fail("faces are looked for again"))
    # So few photos have each of two genders and ages in every split only where these take turns.
    turn = read.table.groupby([read.table["source"], partition(read).uses]).cumcount() % 2
    teenager = (read.table["source"] == "photos") & (turn == 1)
    ages = {name: read.table[name].mask(teenager, age) for name, age in AGES_OF_TEENAGERS.items()}
    dataset = replace(read, table=read.table.assign(gender=turn, **ages))
    folder = tmp_path / "run"
    folder.mkdir()
    loop.train(tiny("both", options={"margin": 12}, sources=("photos",)), dataset, folder, quiet=True)
    splits = loop.take_apart(dataset, tmp_path)
    for part, use in zip(served, ("train", "selection"), strict=True):
        rows = splits.rows(use, sources=["photos"])
        assert 0 < len(rows) < len(splits.rows(use))
        assert sorted(part["files"]) == sorted(file.rpartition("/")[2] for file in rows["file"])
    assert "02.jpg" not in served[0]["files"]  # UTKFace measures with the same photo

    how = {"title": "One", "corruptions": False, "light": False, "weights_dir": tmp_path / "weights"}
    card = publish({"both": folder}, "one", dataset, **how)
    used = {use: len(splits.rows(use, sources=["photos"])) for use in ("train", "selection", "calibration")}
    assert (card["data"]["name"], card["data"]["used"]) == ("photos", used)
    assert "UTKFace" not in card["licence"]["weights"]
    for task in ("age", "gender"):
        assert card["calibration"][task]["n"] == used["calibration"]
    assert card["calibration"]["age"]["ranges_n"] == used["calibration"]
    assert card["metrics"]["n"] == len(splits.rows("test"))
    assert card["groups"]["baseline"]["age"] == splits.rows("train", sources=["photos"])["age"].median()
    text = card_markdown(card)
    assert f"Learnt from photos alone: {used['train']} train" in text
    assert "of which every year counts alike" in text


def test_a_source_that_is_not_there_is_named(tmp_path, tiny, folders):
    folder = tmp_path / "run"
    folder.mkdir()
    with pytest.raises(DatasetError, match=r"none of FairFace is in the train split"):
        loop.train(tiny("both", sources=("FairFace",), limit=20), read_dataset(folders), folder, quiet=True)


def test_a_trial_on_few_chips_looks_for_few_faces(tmp_path, tiny, folders, served, monkeypatch):
    seen = []

    class Counting(PhotoDetector):
        def detect_many(self, images):
            seen.extend(images)
            return super().detect_many(images)

    monkeypatch.setattr(landmarks, "FaceDetector", Counting)
    folder = tmp_path / "run"
    folder.mkdir()
    loop.train(tiny("age", limit=20), read_dataset(folders), folder, quiet=True)
    assert 0 < len(seen) <= 40
    assert len(served[0]["files"]) <= 20


def test_photos_without_any_face_are_refused(tmp_path, tiny, monkeypatch):
    rng = np.random.default_rng(1)
    noise = {f"train/{i}.jpg": rng.integers(0, 25, (300, 300, 3), dtype=np.uint8) for i in range(150)}
    dataset: Dataset = read_dataset(write_source(tmp_path / "photos", noise))
    monkeypatch.setattr(landmarks, "FaceDetector", PhotoDetector)
    folder = tmp_path / "run"
    folder.mkdir()
    with pytest.raises(DatasetError, match="150 pictures show no face"):
        loop.train(tiny("gender"), dataset, folder, quiet=True)
