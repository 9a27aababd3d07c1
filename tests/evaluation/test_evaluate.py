"""Evaluation over tiny chips whose colour is their label, with a model that reads the colour."""

import dataclasses
import json

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from agegender.data.split import SPLITS, assign_splits
from agegender.data.table import read_dataset
from agegender.errors import ConfigError, DatasetError
from agegender.evaluation import evaluate as module
from agegender.evaluation.evaluate import BATCH_SIZE, evaluate, measure, select_rows
from agegender.export import to_json
from agegender.faces.crop import CHIP_LANDMARKS, CHIP_PAD
from agegender.faces.face import Face
from agegender.prediction import AgeEstimate, GenderEstimate

HIDDEN = 99  # blue of a chip in which the fake detector sees no face


def write_chip(folder, age, gender, name="x", *, side=200, blue=0):
    folder.mkdir(exist_ok=True, parents=True)
    pixels = np.full((side, side, 3), (age, 200 * gender, blue), np.uint8)
    path = folder / f"{age}_{gender}_0_{name}.png"
    Image.fromarray(pixels).save(path)
    return path


class ColorPredictor:
    """Says two years more than the red channel, and female where green is bright, with probability 0.9."""

    model = "color"

    def __init__(self, *, age=True, gender=True, margin=0):
        self.tasks = (age, gender)
        self.margin = margin
        self.batches = []

    def predict_chips(self, chips, *, margin=0):
        self.batches.append((*chips.shape[:3], margin))
        assert chips.dtype == np.uint8
        middle = chips.shape[1] // 2
        red, green = chips[:, middle, middle, 0].astype(float), chips[:, middle, middle, 1]
        return [
            (
                AgeEstimate(r + 2, r - 1, r + 5, 0.9) if self.tasks[0] else None,
                GenderEstimate("female" if g > 100 else "male", 0.9) if self.tasks[1] else None,
            )
            for r, g in zip(red, green, strict=True)
        ]


@pytest.fixture
def folder(tmp_path):
    for age in (1, 20, 30, 31, 60, 90):
        write_chip(tmp_path / "chips", age, age % 2)
    return tmp_path / "chips"


def test_document_keeps_the_contract(folder):
    document = evaluate(ColorPredictor(), read_dataset(folder)).document()
    assert document.pop("ms_per_face") >= 0
    ranges = document["age"].pop("ranges")
    assert ranges.pop("confusion")[0] == [1, 0, 0, 0, 0, 0, 0, 0, 0]
    assert ranges == {"own_answer": False, "accuracy": 0.8333, "within_one": 1.0}  # 60 is answered 62
    assert document["gender"].pop("reliability") == [
        {"low": 0.8667, "high": 0.9333, "n": 6, "confidence": 0.9, "accuracy": 1.0}
    ]
    whole = {name: document[name] for name in ("n", "age", "gender")}
    assert document == {
        "model": "color",
        "n": 6,
        "skipped": 0,
        "no_face": 0,
        "age": {
            "mae": 2.0,
            "cs5": 1.0,
            "bias": 2.0,
            "interval_coverage": 1.0,
            "interval_width": 6.0,
            "by_band": {
                "0-4": {"n": 1, "mae": 2.0},
                "16-25": {"n": 1, "mae": 2.0},
                "26-35": {"n": 2, "mae": 2.0},
                "46-60": {"n": 1, "mae": 2.0},
                "76+": {"n": 1, "mae": 2.0},
            },
        },
        "gender": {
            "accuracy": 1.0,
            "auc": 1.0,
            "ece": 0.1,
            "uncertain_share": 0.0,
            "accuracy_outside": 1.0,
            "by_band": {
                "0-4": {"n": 1, "accuracy": 1.0},
                "16-25": {"n": 1, "accuracy": 1.0},
                "26-35": {"n": 2, "accuracy": 1.0},
                "46-60": {"n": 1, "accuracy": 1.0},
                "76+": {"n": 1, "accuracy": 1.0},
            },
        },
        "by_source": {"chips": whole},
        "by_group": {"White": whole},
    }


@pytest.mark.parametrize(("age", "gender", "missing"), [(True, False, "gender"), (False, True, "age")])
def test_what_is_not_predicted_is_left_out(folder, age, gender, missing):
    document = evaluate(ColorPredictor(age=age, gender=gender), read_dataset(folder)).document()
    assert missing not in document
    assert {"age", "gender"} - {missing} <= document.keys()


def test_ranges_that_the_model_answers_by_itself_are_measured_and_not_its_years(folder):
    class RangePredictor(ColorPredictor):
        def predict_chips(self, chips, *, margin=0):
            ranges = np.eye(9, dtype=np.float32)[1]
            return [
                (dataclasses.replace(age, ranges=ranges), gender)
                for age, gender in super().predict_chips(chips, margin=margin)
            ]

    ranges = evaluate(RangePredictor(), read_dataset(folder)).document()["age"]["ranges"]
    assert ranges["own_answer"] is True
    assert (ranges["accuracy"], ranges["within_one"]) == (0.0, pytest.approx(1 / 6, abs=1e-4))
    assert np.array(ranges["confusion"])[:, 1].sum() == 6


def test_faces_table_holds_labels_and_predictions(folder):
    faces = evaluate(ColorPredictor(), read_dataset(folder)).faces
    row = faces[faces["file"] == "31_1_0_x.png"].iloc[0].to_dict()
    assert row == {
        **{"file": "31_1_0_x.png", "age": 31, "age_min": 31, "age_max": 31, "gender": 1},
        **{"group": "White", "source": "chips", "predicted_age": 33.0, "low": 30.0, "high": 36.0},
        **{"female": 0.9, "uncertain": False},
    }
    assert faces.loc[faces["age"] == 30, "female"].item() == pytest.approx(0.1)  # male with 0.9


def test_measure_works_on_part_of_the_table(folder):
    faces = evaluate(ColorPredictor(), read_dataset(folder)).faces
    assert measure(faces[faces["age"] > 50])["age"]["by_band"].keys() == {"46-60", "76+"}


def test_broken_and_unlabelled_files_are_skipped_and_named(folder):
    (folder / "40_0_0_broken.png").write_bytes(b"no picture at all")
    write_chip(folder, 50, 1).rename(folder / "50_1.png")
    result = evaluate(ColorPredictor(), read_dataset(folder))
    assert [file for file, _ in result.failed] == ["40_0_0_broken.png"]
    assert [file for file, _ in result.unlabelled] == ["50_1.png"]
    document = result.document()
    assert (document["n"], document["skipped"]) == (6, 2)
    assert 40 not in result.faces["age"].tolist()


def test_chips_of_mixed_sizes_keep_their_order(folder):
    write_chip(folder, 45, 1, side=64)
    faces = evaluate(ColorPredictor(), read_dataset(folder)).faces
    assert (faces["predicted_age"] == faces["age"] + 2).all()
    assert 45 in faces["age"].tolist()


def test_a_change_sees_each_readable_file_and_its_pixels_are_predicted(folder):
    (folder / "40_0_0_broken.png").write_bytes(b"no picture at all")

    def brighten(file, chip):
        assert file.startswith(f"{chip[0, 0, 0]}_")
        return chip + np.uint8(3)

    result = evaluate(ColorPredictor(), read_dataset(folder), change=brighten)
    assert (result.faces["predicted_age"] == result.faces["age"] + 5).all()
    assert (len(result.faces), len(result.failed)) == (6, 1)


def test_predicts_in_batches_and_reports_progress(tmp_path):
    folder = tmp_path / "chips"
    for index in range(BATCH_SIZE + 6):
        write_chip(folder, index % 100, 0, name=f"{index}", side=8)
    predictor, calls = ColorPredictor(), []
    result = evaluate(predictor, read_dataset(folder), progress=lambda _, *done: calls.append(done))
    assert len(result.faces) == BATCH_SIZE + 6
    assert [shape[0] for shape in predictor.batches[1:]] == [BATCH_SIZE, 6]  # the first call warms up
    assert calls == [(BATCH_SIZE, BATCH_SIZE + 6), (BATCH_SIZE + 6, BATCH_SIZE + 6)]


class FakeDetector:
    """Sees UTKFace's landmarks in what stands in the grey frame, and a small face; neither where HIDDEN."""

    def __init__(self):
        self.shapes = []

    def detect_many(self, images):
        self.shapes += [image.shape for image in images]
        return [self._faces(image) for image in images]

    def _faces(self, image):
        middle, side = image.shape[0] // 2, image.shape[0] - 2 * CHIP_PAD
        if image[middle, middle, 2] == HIDDEN:
            return []
        points = CHIP_PAD + CHIP_LANDMARKS * side / 200
        whole = Face((50.0, 50.0, 50.0 + side, 50.0 + side), 0.9, tuple(map(tuple, points.tolist())))
        return [Face((60.0, 60.0, 80.0, 80.0), 0.9, ((70.0, 70.0),) * 5), whole]


@pytest.mark.parametrize("margin", [0, 12])
def test_detection_pads_finds_the_main_face_and_crops_with_the_model_s_margin(folder, margin):
    write_chip(folder, 70, 0, blue=HIDDEN)
    detector, predictor = FakeDetector(), ColorPredictor(margin=margin)
    result = evaluate(predictor, read_dataset(folder), detector=detector)
    assert result.no_face == ["70_0_0_x.png"]
    document = result.document()
    assert (document["n"], document["no_face"], document["skipped"]) == (6, 1, 0)
    assert document["age"]["mae"] == 2.0
    assert set(detector.shapes) == {(300, 300, 3)}
    side = 200 + 2 * margin
    assert predictor.batches[1:] == [(6, side, side, margin)]


@pytest.fixture
def two_sources(folder):
    """The chips, and four photos beside them with ranges and groups, of a "dev" part."""
    photos = folder.parent / "photos"
    rows = ["file,age,gender,group"]
    for i, (years, age) in enumerate([("20-29", 24), ("20-29", 15), ("60+", 70), ("40", 40)]):
        write_chip(photos / "dev", age, 1, name=f"{i}", side=250)
        rows.append(f"dev/{age}_1_0_{i}.png,{years},female,{'Bantu' if i else 'Han'}")
    (photos / "labels.csv").write_text("\n".join(rows), encoding="utf-8")
    return [folder, photos]


def test_what_is_no_chip_is_detected_and_ranges_and_parts_have_figures(two_sources, monkeypatch):
    detector, predictor = FakeDetector(), ColorPredictor(margin=12)
    monkeypatch.setattr(module, "FaceDetector", lambda: detector)
    result = evaluate(predictor, read_dataset(two_sources))
    assert detector.shapes[1:] == [(350, 350, 3)] * 4
    assert sorted(predictor.batches[1:]) == [(4, 224, 224, 12), (6, 200, 200, 0)]
    assert (result.faces["predicted_age"] - result.faces["age"]).tolist()[:6] == [2.0] * 6

    document = result.document()
    # Answers are 26, 17, 72 and 42: of three ranges two are hit, one is missed by three years.
    photos = document["by_source"]["photos"]
    assert photos["n"] == document["by_group"]["Bantu"]["n"] + document["by_group"]["Han"]["n"] == 4
    assert photos["age"]["ranges_n"] == 3
    assert photos["age"]["in_range"] == pytest.approx(2 / 3, abs=1e-4)
    assert photos["age"]["years_outside"] == 1
    assert photos["age"]["interval_touches"] == 1.0  # those are 23 to 29, 14 to 20 and 69 to 75
    assert photos["age"]["interval_holds_middle"] == pytest.approx(1 / 3, abs=1e-4)
    chips = document["by_source"]["chips"]
    assert "in_range" not in chips["age"]
    assert (chips["n"], chips["age"]["mae"]) == (6, 2.0)
    assert (document["age"]["ranges_n"], document["age"]["in_range"]) == (3, photos["age"]["in_range"])
    assert document["by_group"]["White"]["gender"]["accuracy"] == 1.0


def test_the_dev_part_is_read_from_the_labels_alone(two_sources):
    dataset = read_dataset(two_sources)
    (two_sources[0] / "1_1_0_x.png").write_bytes(b"")
    rows = select_rows(dataset, split="dev", progress=lambda *_: pytest.fail("a picture was read"))
    assert rows["source"].tolist() == ["photos"] * 4
    assert set(select_rows(dataset, split="train")["source"]) <= {"chips"}


def test_no_face_at_all_still_gives_strict_json(folder, monkeypatch):
    monkeypatch.setattr(module, "main_face", lambda faces, shape: None)
    document = evaluate(ColorPredictor(), read_dataset(folder), detector=FakeDetector()).document()
    assert document["ms_per_face"] is None
    assert json.loads(to_json(document), parse_constant=pytest.fail)["no_face"] == 6


def test_limit_draws_the_same_spread_sample_every_time(tmp_path):
    for age in range(1, 101):
        write_chip(tmp_path / "chips", age, 0, side=8)
    dataset = read_dataset(tmp_path / "chips")
    sample = select_rows(dataset, limit=20)
    pd.testing.assert_frame_equal(sample, select_rows(dataset, limit=20))
    assert len(sample) == 20
    assert sample["file"].is_unique
    assert sample.index.is_monotonic_increasing
    assert sample["age"].min() < 30
    assert sample["age"].max() > 70
    assert not sample.equals(select_rows(dataset, limit=20, seed=1))


def test_limit_above_the_number_of_files_takes_all(folder):
    assert len(select_rows(read_dataset(folder), limit=1000)) == 6


def test_splits_are_those_of_the_split_module(tmp_path):
    rng = np.random.default_rng(0)
    folder = tmp_path / "chips"
    for age in range(1, 61):
        write_chip(folder, age, 0, side=8)
        pixels = rng.integers(0, 256, (32, 32, 3), np.uint8)
        Image.fromarray(pixels).save(folder / f"{age}_0_0_x.png")
    dataset = read_dataset(folder)
    names = assign_splits(dataset)
    parts = {split: select_rows(dataset, split=split) for split in SPLITS}
    for split, part in parts.items():
        assert part.index.tolist() == names.index[names == split].tolist()
    assert sum(map(len, parts.values())) == 60


def test_an_empty_split_is_an_error(tmp_path):
    write_chip(tmp_path / "chips", 30, 0)
    dataset = read_dataset(tmp_path / "chips")
    [other, *_] = set(SPLITS) - set(assign_splits(dataset))
    with pytest.raises(DatasetError, match=other):
        select_rows(dataset, split=other)


def test_a_limit_below_one_is_an_error(folder):
    with pytest.raises(ConfigError, match="received 0"):
        select_rows(read_dataset(folder), limit=0)
