"""`python -m agegender audit`: outputs, exit codes, and what it costs to ask."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from agegender.__main__ import main
from tests.conftest import PhotoDetector, make_chip, photo_around, write_chip, write_source

ROOT = Path(__file__).parents[1]
CHIPS = 520


@pytest.fixture(scope="module")
def chips(tmp_path_factory):
    """Enough chips to doubt labels, one label far off, one photo with two labels, one damaged name."""
    folder = tmp_path_factory.mktemp("chips")
    rng = np.random.default_rng(3)
    for i in range(CHIPS):
        labels = f"{20 + i % 50}_{i % 2}_{i % 5}"
        if i == 100:
            labels = "110_0_0"
        write_chip(folder / f"{labels}_20170116{i:09d}.jpg.chip.jpg", make_chip(rng, side=64))
    photo = make_chip(rng, side=64)
    write_chip(folder / "30_0_0_20170117000000001.jpg.chip.jpg", photo)
    write_chip(folder / "38_1_0_20170117000000002.jpg.chip.jpg", photo, quality=80)
    write_chip(folder / "39_1_20170116174525125.jpg.chip.jpg", photo)
    return folder


@pytest.fixture
def features_that_know(monkeypatch):
    """Instead of the base: features that say what the labels should have been."""
    from agegender.audit import frozen_features

    def know(files, *, faces=None, progress=None):
        rng = np.random.default_rng(0)
        rows = []
        for file in files:
            age, gender = (int(part) for part in file.name.split("_")[:2])
            years = np.sqrt((30 if age == 110 else age) + 1.0)
            rows.append([years, gender, *rng.normal(size=4)])
        progress("Looking at faces", len(files), len(files))
        return np.array(rows) + rng.normal(0, 0.2, (len(rows), 6))

    monkeypatch.setattr(frozen_features, "frozen_features", know)


def read_strict(text):
    return json.loads(text, parse_constant=pytest.fail)


def test_json_to_standard_output_is_nothing_but_json(chips, features_that_know, capsys):
    assert main(["audit", "--data", str(chips), "--json", "-"]) == 0
    figures = read_strict(capsys.readouterr().out)
    assert (figures["files"], figures["labelled"]) == (CHIPS + 3, CHIPS + 2)
    assert figures["duplicates"]["photos"] == 1
    assert figures["conflicts"]["photos_gender_differs"] == 1
    assert figures["suspects"]["age"] == 1
    assert figures["suspects"]["model"]["age_mae"] < 5
    assert {"seconds", "cpu_seconds"} <= set(figures["run"])


def test_findings_as_csv_and_words_for_people(chips, features_that_know, tmp_path, capsys):
    csv = tmp_path / "out" / "findings.csv"
    assert main(["audit", "--data", str(chips), "--csv", str(csv)]) == 0
    table = pd.read_csv(csv)
    assert table["rank"].tolist() == list(range(1, len(table) + 1))
    assert table["kind"].value_counts().to_dict() == {
        "damaged name": 1,
        "suspicious label": 1,
        "conflicting labels": 2,
    }
    assert table.loc[1, "file"].startswith("110_0_0_")
    out = capsys.readouterr().out
    assert "523, of which 522" in out
    assert "1 photos in 2 files" in out
    assert "39_1_20170116174525125.jpg.chip.jpg: one label is missing" in out
    assert max(map(len, out.splitlines())) <= 110


def test_without_the_model_no_label_is_doubted(chips, capsys):
    assert main(["audit", "--data", str(chips), "--no-model", "--json", "-"]) == 0
    figures = read_strict(capsys.readouterr().out)
    assert figures["suspects"] is None
    assert figures["duplicates"]["photos"] == 1


def test_a_small_folder_is_audited_without_doubting_labels(fake_utkface, capsys):
    assert main(["audit", "--data", str(fake_utkface), "--json", "-"]) == 0
    captured = capsys.readouterr()
    assert read_strict(captured.out)["suspects"] is None
    assert "fewer than 500" in captured.err


def test_a_file_that_cannot_be_read_is_named_and_told(tmp_path, capsys):
    rng = np.random.default_rng(0)
    for i in range(3):
        write_chip(tmp_path / f"3{i}_0_0_x{i}.jpg", make_chip(rng))
    (tmp_path / "40_1_0_broken.jpg").write_bytes(b"broken")
    assert main(["audit", "--data", str(tmp_path), "--no-model", "--json", "-"]) == 1
    captured = capsys.readouterr()
    assert "40_1_0_broken.jpg" in captured.err
    assert read_strict(captured.out)["unreadable"][0]["file"] == "40_1_0_broken.jpg"


def test_contact_sheets(chips, features_that_know, tmp_path):
    arguments = ["audit", "--data", str(chips), "--json", str(tmp_path / "a.json")]
    assert main([*arguments, "--pictures", str(tmp_path / "sheets")]) == 0
    sheets = sorted(path.name for path in (tmp_path / "sheets").iterdir())
    assert "pairs-00-08-bits.png" in sheets
    assert sheets[-1] == "suspects-01.png"
    with Image.open(tmp_path / "sheets" / "pairs-00-08-bits.png") as sheet:
        assert sheet.size[0] > 900


def test_sheets_are_kept_out_of_the_dataset(fake_utkface, capsys):
    before = sorted(fake_utkface.iterdir())
    assert main(["audit", "--data", str(fake_utkface), "--pictures", str(fake_utkface / "sheets")]) == 2
    assert "inside the dataset" in capsys.readouterr().err
    assert sorted(fake_utkface.iterdir()) == before


@pytest.mark.parametrize("option", ["--json", "--csv", "--pictures"])
def test_an_output_that_cannot_be_written_is_told_before_the_work(fake_utkface, tmp_path, capsys, option):
    (tmp_path / "file").write_text("")
    assert main(["audit", "--data", str(fake_utkface), option, str(tmp_path / "file" / "deep" / "o")]) == 2
    captured = capsys.readouterr()
    assert "cannot write" in captured.err
    assert captured.out == ""


@pytest.mark.parametrize("folder", ["missing", "empty"])
def test_without_a_dataset_the_exit_code_is_2(tmp_path, capsys, folder):
    (tmp_path / "empty").mkdir()
    assert main(["audit", "--data", str(tmp_path / folder)]) == 2
    assert "UTKFace" in capsys.readouterr().err


@pytest.fixture
def two_sources(tmp_path, monkeypatch):
    """20 chips, and 12 photos with ranges: one dark, two of one chip, one of them "dev"; a row too many."""
    monkeypatch.setattr("agegender.commands.audit.RUNS_DIR", tmp_path / "runs")
    monkeypatch.setattr("agegender.data.landmarks.FaceDetector", PhotoDetector)
    rng = np.random.default_rng(1)
    chips = [make_chip(rng) for _ in range(20)]
    (tmp_path / "chips").mkdir()
    for i, chip in enumerate(chips):
        write_chip(tmp_path / "chips" / f"{20 + i}_{i % 2}_0_20170116{i:09d}.jpg.chip.jpg", chip)
    photos = {f"train/{i}.jpg": make_chip(rng, 300) for i in range(8)}
    photos |= {f"dev/{i}.jpg": make_chip(rng, 300) for i in range(2)}
    photos["train/dark.jpg"] = np.zeros((300, 300, 3), np.uint8)
    photos["train/copy.jpg"] = photos["dev/1.jpg"] = photo_around(chips[3], rng)
    write_source(tmp_path / "photos", photos)
    with (tmp_path / "photos" / "labels.csv").open("a") as file:
        file.write("\ntrain/gone.jpg,20-29,male,")
    return ["--data", str(tmp_path / "chips"), str(tmp_path / "photos")]


def test_several_sources_are_audited_together(two_sources, tmp_path, capsys):
    csv = tmp_path / "findings.csv"
    assert main(["audit", *two_sources, "--no-model", "--json", "-", "--csv", str(csv)]) == 0
    figures = read_strict(capsys.readouterr().out)
    assert (figures["files"], figures["labelled"]) == (33, 32)
    assert figures["no_label"] == [{"file": "photos/train/gone.jpg", "reason": "there is no such file"}]
    photos, chips = figures["sources"]["photos"], figures["sources"]["chips"]
    assert (photos["files"], photos["ranges"], photos["no_face"]) == (12, 12, 1)
    assert (chips["files"], chips["ranges"], chips["no_face"], chips["leaked"]) == (20, 0, 0, 1)
    assert photos["leaked"] == 1  # of three that show one photo, the one in dev stays
    assert photos["split"]["dev"] == figures["split"]["dev"] == 2
    assert (figures["photos_in_several_sources"], figures["leaked"], figures["no_face"]) == (1, 2, 1)
    assert figures["duplicates"]["photos"] == 1
    assert figures["duplicates"]["photos_by_copies"] == {"3": 1}
    assert figures["conflicts"]["range_pairs"] == 3
    assert figures["conflicts"]["identical_range_differs"] == 0
    assert figures["label_noise"] is None
    assert sum(figures["balance"]["ethnicity"].values()) == 32
    found = pd.read_csv(csv)
    assert found.loc[found["kind"] == "no face", "file"].tolist() == ["photos/train/dark.jpg"]
    copies = found[found["group"].notna()]
    assert copies["detail"].unique().tolist() == [
        "3 versions of one photo, labelled 23 female White | 30–39 female | 30–39 female Sami"
    ]
    assert copies["source"].tolist() == ["chips", "photos", "photos"]
    assert (tmp_path / "runs" / ".landmarks.npz").is_file()

    assert main(["audit", *two_sources, "--no-model"]) == 0
    words = " ".join(capsys.readouterr().out.split())
    assert (
        "source photos 12 faces, 12 labelled with a range of years, no face found in 1, 1 left out" in words
    )
    assert re.search(r"split train \d+, validation \d+, test \d+, dev 2", words)
    assert "train/gone.jpg: there is no such file" in words
