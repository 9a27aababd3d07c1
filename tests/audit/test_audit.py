"""What an audit finds in a folder that has one of each fault, and how it sums that up."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest

from agegender.assets import AUDIT
from agegender.audit.audit import Audit, audit, explain_name
from agegender.audit.findings import COLUMNS, KINDS, balance, document, findings
from agegender.audit.suspects import Predictions
from agegender.data.duplicates import duplicate_groups, fingerprint
from agegender.data.split import assign_splits, split_hash
from agegender.data.table import read_dataset
from agegender.export import to_json
from tests.conftest import label_table

STAMPS = iter(range(10**8))


def picture(seed: int, side: int = 200) -> np.ndarray:
    coarse = np.random.default_rng(seed).integers(0, 256, (7, 7, 3), dtype=np.uint8)
    return cv2.resize(coarse, (side, side), interpolation=cv2.INTER_CUBIC)


def write(folder: Path, labels: str, pixels: np.ndarray, quality: int = 95, day: str = "20170109") -> str:
    name = f"{labels}_{day}{next(STAMPS):09}.jpg.chip.jpg"
    encoded = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    (folder / name).write_bytes(encoded.tobytes())
    return name


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> dict[str, str | Path]:
    """40 chips nobody would object to, and one of each fault; the names of the faulty by fault."""
    path = tmp_path_factory.mktemp("chips")
    for seed in range(40):
        write(path, f"{seed + 5}_{seed % 2}_{seed % 5}", picture(seed), day=f"2016121{seed % 3}")
    cut = write(path, "20_0_0", picture(200))
    (path / cut).write_bytes((path / cut).read_bytes()[:3000])
    flat = np.full((200, 200, 3), 180, np.uint8)
    names = {
        "cut": cut,
        "flat": write(path, "90_0_0", flat),
        "small": write(path, "30_0_0", picture(201, side=120)),
        "man": write(path, "40_0_1", picture(300)),
        "woman": write(path, "31_1_1", picture(300)),
        "old": write(path, "60_0_0", picture(301)),
        "young": write(path, "48_0_0", np.ascontiguousarray(picture(301)[:, ::-1]), quality=60),
        "agreed": write(path, "10_1_0", picture(302)),
        "agreed too": write(path, "11_1_0", picture(302), quality=70),
        "three": "39_1_20170116174525125.jpg.chip.jpg",
    }
    (path / names["three"]).write_bytes((path / names["young"]).read_bytes())
    (path / "stray.txt").write_text("a stray file")
    return {"folder": path, **names}


@pytest.fixture(scope="module")
def plain(folder) -> Audit:
    return audit(read_dataset(folder["folder"]))


@pytest.fixture(scope="module")
def doubting(folder) -> Audit:
    """With predictions that are right, but for one file."""
    dataset = read_dataset(folder["folder"])
    age = dataset.table["age"].to_numpy(np.float64)
    female = np.where(dataset.table["gender"] == 1, 0.95, 0.05)
    row = dataset.table.index[dataset.table["file"] == folder["old"]][0]
    age[row], female[row] = 20, 0.99
    return audit(dataset, predictions=Predictions(age, age - 9, age + 9, female))


def test_files_carry_split_group_and_measures(plain, folder):
    files = plain.files.set_index("file")
    assert len(files) == 49
    dataset = read_dataset(folder["folder"])
    prints = fingerprint(dataset)
    assert files["split"].tolist() == assign_splits(dataset, prints=prints).tolist()
    assert plain.split_hash == split_hash(prints.digests, plain.files["split"])
    assert files["photo"].tolist() == duplicate_groups(prints).tolist()
    assert files.loc[[folder["man"], folder["cut"]], "copies"].tolist() == [2, 1]
    row = files.loc[folder["small"]]
    assert (row["width"], row["height"], row["mode"]) == (120, 120, "RGB")
    assert row["bytes"] == (folder["folder"] / folder["small"]).stat().st_size


def test_each_fault_is_found_once(plain, folder):
    assert plain.damaged_names["file"].tolist() == [folder["three"]]
    assert "one label is missing" in plain.damaged_names["reason"][0]
    assert plain.unreadable["file"].tolist() == [folder["cut"]]
    assert "JPEG" in plain.unreadable["reason"][0]
    assert plain.no_picture["file"].tolist() == [folder["flat"]]
    assert plain.odd_sizes["file"].tolist() == [folder["small"]]
    assert "120×120" in plain.odd_sizes["reason"][0]


def test_duplicated_photos_with_their_conflicts(plain, folder):
    photos = plain.photos
    group_of = plain.files.set_index("file")["photo"]
    assert len(photos) == 3
    identical = photos.loc[group_of[folder["man"]]]
    assert identical[["copies", "same_bytes", "age_gap", "gender_differs", "ethnicity_differs"]].tolist() == [
        *(2, True, 9, True, False)
    ]
    mirrored = photos.loc[group_of[folder["old"]]]
    assert mirrored[["same_bytes", "age_gap", "gender_differs"]].tolist() == [False, 12, False]
    assert (photos["splits"] == 1).all()
    assert plain.noise is not None
    assert plain.noise.pairs == 3
    assert plain.noise.age_gap.value == pytest.approx((9 + 12 + 1) / 3)


def test_near_pairs_reach_beyond_the_threshold_and_know_identical_files(plain, folder):
    files = plain.files["file"]
    near = {
        (files[first], files[second]): (bits, same)
        for first, second, bits, same in plain.near.itertuples(index=False)
    }
    assert near[tuple(sorted((folder["man"], folder["woman"])))] == (0, True)
    bits, same = near[tuple(sorted((folder["old"], folder["young"])))]
    assert bits <= 24
    assert not same


def test_without_predictions_no_label_is_doubted(plain):
    assert plain.suspects is None
    assert document(plain)["suspects"] is None
    assert "suspicious label" not in set(findings(plain)["kind"])


def test_findings_are_ranked_and_complete(doubting, folder):
    found = findings(doubting)
    assert list(found.columns) == list(COLUMNS)
    assert found["rank"].tolist() == list(range(1, len(found) + 1))
    assert found["severity"].is_monotonic_decreasing
    assert (found["severity"] == found["kind"].map(KINDS)).all()
    names = {name: fault for fault, name in folder.items() if fault != "folder"}
    assert [(kind, names[file]) for kind, file in zip(found["kind"], found["file"], strict=True)] == [
        ("unreadable file", "cut"),
        ("damaged name", "three"),
        ("no picture", "flat"),
        ("suspicious label", "old"),
        ("conflicting labels", "woman"),
        ("conflicting labels", "man"),
        ("conflicting labels", "young"),
        ("conflicting labels", "old"),
        ("duplicate", "agreed"),
        ("duplicate", "agreed too"),
        ("odd size", "small"),
    ]


def test_a_finding_says_what_is_known_of_its_file(doubting, folder):
    found = findings(doubting).set_index("kind")
    suspect = found.loc["suspicious label"]
    assert suspect["detail"] == (
        "labelled 60, looks 20 (11–29): 4.4 times as far off as usual; labelled male, looks female (99.0 %)"
    )
    assert suspect[["age", "gender", "ethnicity", "predicted_age"]].tolist() == [60, 0, 0, 20.0]
    assert suspect["predicted_female"] == 0.99
    woman = found.loc["conflicting labels"].iloc[0]
    assert woman["detail"] == "2 identical files, labelled 31 female Black | 40 male Black"
    assert woman["group"] == found.loc["conflicting labels"].iloc[1]["group"]
    assert pd.isna(found.loc["damaged name", "age"])
    assert pd.isna(found.loc["odd size", "group"])


def test_the_document_sums_up_in_plain_json(doubting, folder):
    figures = json.loads(to_json(document(doubting)))
    assert (figures["files"], figures["labelled"]) == (50, 49)
    assert [entry["file"] for entry in figures["damaged_names"]] == [folder["three"]]
    assert figures["sizes"]["pixels"] == {"200x200": 48, "120x120": 1}
    assert figures["sizes"]["odd"] == 1
    assert sum(figures["split"][name] for name in ("train", "validation", "test")) == 49
    assert figures["split"]["straddling_groups"] == 0
    duplicates = figures["duplicates"]
    assert (duplicates["photos"], duplicates["files"], duplicates["redundant"]) == (3, 6, 3)
    assert (duplicates["identical_pairs"], duplicates["near_pairs"]) == (1, 2)
    assert duplicates["photos_by_copies"] == {"2": 3}
    assert duplicates["pairs_by_bits"]["0"] >= 1
    assert len(duplicates["pairs_by_bits"]) == 41
    assert sum(duplicates["pairs_across_splits_by_bits"][str(bits)] for bits in range(25)) == 0
    conflicts = figures["conflicts"]
    assert conflicts["photos_over_5_years"] == 2
    assert conflicts["photos_over_10_years"] == 1
    assert conflicts["photos_gender_differs"] == 1
    assert conflicts["by_distance"]["identical"] == {"pairs": 1, "age_gap": 9.0, "gender_differs": 1.0}
    assert figures["dates"]["by_day"]["2016-12-10"] == 14
    assert figures["balance"]["gender"]["male"] + figures["balance"]["gender"]["female"] == 49
    suspects = figures["suspects"]
    assert (suspects["files"], suspects["age"], suspects["gender"], suspects["both"]) == (1, 1, 1, 1)
    assert suspects["with_copies"] == 1
    assert suspects["conflicting_photos_found"] == {"gender": 0, "over_10_years": 1}
    assert suspects["model"]["age_mae"] == pytest.approx(40 / 49, abs=1e-4)


def test_the_document_names_only_files_that_cannot_be_used(doubting, folder):
    text = to_json(document(doubting))
    for fault in ("man", "woman", "old", "young", "agreed", "small"):
        assert folder[fault] not in text


def test_a_folder_without_any_fault(tmp_path):
    for seed in range(3):
        write(tmp_path, f"{30 + seed}_0_0", picture(seed))
    result = audit(read_dataset(tmp_path))
    assert result.noise is None
    assert findings(result).empty
    figures = json.loads(to_json(document(result)))
    assert figures["label_noise"] is None
    assert figures["duplicates"]["photos"] == 0


def test_photos_of_ones_own_have_no_usual_size_and_no_date(tmp_path):
    for seed in range(4):
        cv2.imwrite(str(tmp_path / f"{30 + seed}_0_0_anna{seed}.png"), picture(seed, side=100 + seed))
    result = audit(read_dataset(tmp_path))
    assert result.odd_sizes.empty
    assert document(result)["dates"] == {"undated": 4, "by_day": {}}


def test_balance_counts_every_cell():
    table = label_table([2, 2, 30, 99], gender=[0, 0, 1, 1], ethnicity=[4, 4, 0, 2])
    counted = balance(table)
    assert len(counted) == 9 * 2 * 5
    found = counted[counted["files"] > 0].to_numpy().tolist()
    assert found == [
        ["0-4", "male", "Others", 2],
        ["26-35", "female", "White", 1],
        ["76+", "female", "Asian", 1],
    ]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("39_1_20170116174525125.jpg.chip.jpg", "one label is missing"),
        ("14_0_0_2017011022340900.jpg.chip.jpg", "the date has 16 digits, not 17"),
        ("28_1_2_201701161846515488.jpg.chip.jpg", "the date has 18 digits, not 17"),
        ("55_0_0_20170116232725357jpg.chip.jpg", "'jpg.chip.jpg' follows the date"),
        ("24_0_1_20170116220224657 .jpg.chip.jpg", "' .jpg.chip.jpg' follows the date"),
        ("30_9_0_20170116220224657.jpg.chip.jpg", "what was known"),
        ("holiday.jpg", "what was known"),
    ],
)
def test_damaged_names_are_explained(name, words):
    assert words in explain_name(name, "what was known")


@pytest.mark.slow
@pytest.mark.dataset
def test_the_real_folder_is_as_reported(dataset_dir):
    reported = json.loads(AUDIT.read_text(encoding="utf-8"))
    figures = json.loads(to_json(document(audit(read_dataset(dataset_dir)))))
    for part in figures.keys() - {"suspects"}:
        assert figures[part] == reported[part], part
