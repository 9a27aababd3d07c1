"""The published model on real pictures, through the package and through the command line."""

from __future__ import annotations

import json
import math
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image

import agegender
from agegender.__main__ import main
from agegender.assets import EXAMPLE
from agegender.models.card import read_card
from agegender.models.registry import DEFAULT_MODEL


@pytest.fixture(scope="module")
def predictor():
    return agegender.Predictor()


def test_the_astronaut_is_one_woman_of_middle_age(predictor, astronaut):
    (prediction,) = predictor.predict(astronaut)
    x1, y1, x2, y2 = prediction.face.box
    # Her face spans about x 175 to 275 and y 60 to 200 of the 512 px picture.
    assert 150 < x1 < 210
    assert 250 < x2 < 300
    assert 40 < y1 < 100
    assert 160 < y2 < 220
    assert 22 <= prediction.age.years <= 55
    assert prediction.age.low <= prediction.age.years <= prediction.age.high
    assert prediction.age.low <= 36 <= prediction.age.high
    assert prediction.age.distribution.sum() == pytest.approx(1, abs=1e-4)
    assert (prediction.gender.label, prediction.gender.uncertain) == ("female", False)
    assert prediction.chip.shape == (224, 224, 3)  # with the margin that the default pair sees


def test_the_example_holds_seven_people_and_old_looks_older(predictor):
    predictions = predictor.predict(EXAMPLE)
    assert len(predictions) == 7
    genders = [prediction.gender.label for prediction in predictions]
    assert 3 <= genders.count("female") <= 5
    hopper = max(predictions, key=lambda p: p.face.box[0] + p.face.box[1])  # the lower right portrait
    collins = min(
        (p for p in predictions if p is not hopper),
        key=lambda p: abs(p.face.box[0] - hopper.face.box[0]),
    )
    assert hopper.age.years > collins.age.years + 10


def test_many_threads_get_the_answers_of_one(predictor, astronaut):
    alone = predictor.predict(astronaut)[0]
    with ThreadPoolExecutor(6) as pool:
        together = [found[0] for found in pool.map(predictor.predict, [astronaut] * 6)]
    for prediction in together:
        assert prediction.age.years == pytest.approx(alone.age.years, abs=0.01)
        assert prediction.gender.probability == pytest.approx(alone.gender.probability, abs=1e-3)


def test_a_picture_without_a_face_is_an_empty_list(predictor):
    gradient = np.tile(np.linspace(0, 255, 640, dtype=np.uint8)[None, :, None], (480, 1, 3))
    assert predictor.predict(gradient) == []


def test_predict_keeps_the_contract_and_survives_a_broken_file(tmp_path, capsys):
    good, broken, empty = tmp_path / "a.jpg", tmp_path / "b.jpg", tmp_path / "c.png"
    good.write_bytes(EXAMPLE.read_bytes())
    broken.write_bytes(EXAMPLE.read_bytes()[:5000])
    Image.new("RGB", (300, 200), "teal").save(empty)
    out = tmp_path / "out"
    arguments = [
        "--json",
        str(out / "f.json"),
        "--csv",
        str(out / "f.csv"),
        "--annotate",
        str(out / "pictures"),
    ]
    code = main(["predict", str(tmp_path / "*.*g"), *arguments])
    assert code == 1
    assert "b.jpg" in capsys.readouterr().err
    document = json.loads((out / "f.json").read_text(encoding="utf-8"))
    assert document["model"] == DEFAULT_MODEL
    first, second, third = document["images"]
    assert (first["error"], len(first["faces"])) == (None, 7)
    assert second["error"] and second["faces"] == []
    assert (third["error"], third["faces"], third["width"], third["height"]) == (None, [], 300, 200)
    for face in first["faces"]:
        assert set(face) == {
            *("box", "confidence", "age", "age_interval"),
            *("gender", "gender_probability", "warnings"),
        }
        low, high = face["age_interval"]
        assert low <= face["age"] <= high
        assert 0.5 <= face["gender_probability"] <= 1
        assert all(math.isfinite(value) for value in face["box"])
    assert len((out / "f.csv").read_text(encoding="utf-8").splitlines()) >= 8
    assert (out / "pictures" / "a.jpg").is_file()


@pytest.mark.dataset
@pytest.mark.slow
def test_evaluate_reproduces_the_card_on_part_of_the_test_split(dataset_dir, tmp_path):
    target = tmp_path / "e.json"
    arguments = ["evaluate", "--data", str(dataset_dir), "--split", "test", "--json", str(target)]
    assert main([*arguments, "--limit", "600"]) == 0
    found, stated = json.loads(target.read_text(encoding="utf-8")), read_card(DEFAULT_MODEL)["metrics"]
    # Three standard errors of a sample of 600.
    assert found["age"]["mae"] == pytest.approx(stated["age"]["mae"], abs=0.55)
    assert found["gender"]["accuracy"] == pytest.approx(stated["gender"]["accuracy"], abs=0.035)
    assert found["age"]["interval_coverage"] == pytest.approx(0.9, abs=0.045)


@pytest.mark.dataset
@pytest.mark.slow
def test_detection_does_not_spoil_the_numbers(dataset_dir, tmp_path):
    reports = []
    for extra in ([], ["--detect"]):
        target = tmp_path / f"e{len(extra)}.json"
        arguments = ["evaluate", "--data", str(dataset_dir), "--split", "test", "--json", str(target)]
        assert main([*arguments, "--limit", "250", *extra]) == 0
        reports.append(json.loads(target.read_text(encoding="utf-8")))
    chips, detected = reports
    assert detected["no_face"] <= 0.03 * chips["n"]
    assert detected["age"]["mae"] == pytest.approx(chips["age"]["mae"], abs=0.4)
    # One point of accuracy is 2.5 of 250 faces.
    assert detected["gender"]["accuracy"] == pytest.approx(chips["gender"]["accuracy"], abs=0.02)
