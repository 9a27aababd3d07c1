"""File names in, labels out."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from agegender.data.table import (
    DATA_ENVIRONMENT_VARIABLE,
    default_data_folders,
    named_folders,
    parse_name,
    read_dataset,
)
from agegender.errors import DatasetError
from agegender.labels import ETHNICITIES

COLUMNS = [
    *("file", "age", "gender", "ethnicity", "captured"),
    *("age_min", "age_max", "group", "source", "given_split", "aligned"),
]

CHIP = "25_0_2_20170116174525125.jpg.chip.jpg"


def touch(folder: Path, *names: str) -> Path:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"not read")
    return folder


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (CHIP, (25, 0, 2, "20170116174525125")),
        ("116_1_4_20170120134921760.jpg.chip.jpg", (116, 1, 4, "20170120134921760")),
        ("0_1_0_20170109191209617.jpg.chip.jpg", (0, 1, 0, "20170109191209617")),
        ("31_1_0_anna.jpg", (31, 1, 0, "anna")),
        ("31_1_0_anna_at_sea.JPEG", (31, 1, 0, "anna_at_sea")),
        ("7_0_3_x.png", (7, 0, 3, "x")),
    ],
)
def test_labels_are_read_from_names(name, expected):
    assert parse_name(name) == expected


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("39_1_20170116174525125.jpg.chip.jpg", "age"),  # UTKFace: ethnicity missing
        ("55_0_0_20170116232725357jpg.chip.jpg", "17-digit"),  # UTKFace: a dot missing
        ("24_0_1_20170116220224657 .jpg.chip.jpg", "17-digit"),  # UTKFace: a space
        ("44_1_4_20170116235150272.pg.chip.jpg", "17-digit"),
        ("25_0_2_2017011617452512.jpg.chip.jpg", "17-digit"),  # a digit too few
        ("25_0_2_201701161745251255.jpg.chip.jpg", "17-digit"),  # a digit too many
        ("117_0_2_20170116174525125.jpg.chip.jpg", "117"),
        ("25_2_2_20170116174525125.jpg.chip.jpg", "gender"),
        ("25_0_5_20170116174525125.jpg.chip.jpg", "ethnicity"),
        ("-5_0_2_20170116174525125.jpg.chip.jpg", "age"),
        ("٢٥_0_2_20170116174525125.jpg.chip.jpg", "age"),  # digits, but not the ones that were meant
        ("holiday.jpg", "age"),
        ("", "age"),
    ],
)
def test_damaged_names_are_refused_with_the_reason(name, reason):
    with pytest.raises(ValueError, match=reason):
        parse_name(name)


def test_the_fake_folder_reads_as_a_table(fake_utkface):
    dataset = read_dataset(fake_utkface)
    table = dataset.table
    assert dataset.folder == fake_utkface
    assert list(table.columns) == COLUMNS
    assert len(table) == 120
    assert table.index.equals(pd.RangeIndex(120))
    assert table["file"].is_monotonic_increasing
    numbers = table[["age", "age_min", "age_max", "gender", "ethnicity"]]
    assert (numbers.dtypes == np.int64).all()
    assert table["aligned"].dtype == bool
    assert (table["age"] == table["age_min"]).all()
    assert (table["age"] == table["age_max"]).all()
    assert table["group"].tolist() == [ETHNICITIES[code] for code in table["ethnicity"]]
    assert set(table["source"]) == {fake_utkface.name}
    assert set(table["given_split"]) == {""}
    assert table["gender"].value_counts().to_dict() == {0: 60, 1: 60}
    assert pd.api.types.is_datetime64_any_dtype(table["captured"])
    assert table["captured"].dropna().dt.year.eq(2017).all()


def test_rows_carry_the_labels_of_their_own_names(fake_utkface):
    for row in read_dataset(fake_utkface).table.itertuples():
        assert row.file.startswith(f"{row.age}_{row.gender}_{row.ethnicity}_")


def test_unreadable_names_are_listed_and_strays_are_not(fake_utkface):
    skipped = read_dataset(fake_utkface).skipped
    assert list(skipped.columns) == ["file", "reason"]
    assert skipped["file"].tolist() == [
        "39_1_20170116174525125.jpg.chip.jpg",
        "55_0_0_20170116232725357jpg.chip.jpg",
    ]
    assert skipped["reason"].str.len().gt(10).all()


def test_a_folder_without_damaged_names_still_has_the_columns(tmp_path):
    skipped = read_dataset(touch(tmp_path, CHIP)).skipped
    assert skipped.empty
    assert list(skipped.columns) == ["file", "reason"]


def test_subfolders_are_read_and_named(tmp_path):
    touch(tmp_path, f"part1/{CHIP}", "part2/3_1_0_20170116174525126.jpg.chip.jpg")
    assert read_dataset(tmp_path).table["file"].tolist() == [
        f"part1/{CHIP}",
        "part2/3_1_0_20170116174525126.jpg.chip.jpg",
    ]


def test_the_date_of_capture_is_read_where_there_is_one(tmp_path):
    touch(tmp_path, CHIP, "31_1_0_anna.jpg", "32_1_0_20179916174525125.jpg.chip.jpg")
    captured = read_dataset(tmp_path).table.set_index("age")["captured"]
    assert captured[25] == pd.Timestamp("2017-01-16 17:45:25")
    assert captured[[31, 32]].isna().all()


def test_a_folder_named_like_a_chip_is_not_one(tmp_path):
    touch(tmp_path, CHIP)
    (tmp_path / "26_0_2_20170116174525125.jpg.chip.jpg").mkdir()
    assert len(read_dataset(tmp_path).table) == 1


def test_a_missing_folder_says_how_to_get_the_dataset(tmp_path):
    with pytest.raises(DatasetError, match=r"nowhere is not a folder.*susanqq.*--data"):
        read_dataset(tmp_path / "nowhere")


def test_a_file_is_not_a_folder(tmp_path):
    with pytest.raises(DatasetError, match="not a folder"):
        read_dataset(touch(tmp_path, CHIP) / CHIP)


def test_a_folder_of_other_pictures_says_what_was_expected(tmp_path):
    touch(tmp_path, "holiday.jpg", "notes.txt")
    with pytest.raises(DatasetError, match=r"no images named like .*1 other image.*susanqq"):
        read_dataset(tmp_path)


def test_the_environment_names_the_default_folder(tmp_path, monkeypatch):
    touch(tmp_path, CHIP)
    monkeypatch.setenv(DATA_ENVIRONMENT_VARIABLE, str(tmp_path))
    assert default_data_folders() == [tmp_path]
    assert len(read_dataset().table) == 1
    touch(tmp_path / "more", "26_0_2_20170116174525125.jpg.chip.jpg")
    monkeypatch.setenv(DATA_ENVIRONMENT_VARIABLE, f"{tmp_path / 'more'} {os.pathsep}{tmp_path}{os.pathsep}")
    assert default_data_folders() == [tmp_path / "more", tmp_path]
    assert read_dataset().table["age"].tolist() == [25, 26]


@pytest.mark.parametrize("value", ["", "  "])
def test_an_empty_variable_names_no_folder(value, monkeypatch):
    monkeypatch.setenv(DATA_ENVIRONMENT_VARIABLE, value)
    assert default_data_folders() == []
    with pytest.raises(DatasetError, match="no dataset folder was named"):
        read_dataset()


@pytest.mark.skipif(os.pathsep == ";", reason="no colon in names")
def test_a_folder_with_the_separator_in_its_name_is_one_folder(tmp_path):
    touch(tmp_path / "a:b", CHIP)
    assert named_folders(f" {tmp_path / 'a:b'} ") == [tmp_path / "a:b"]
    assert named_folders(f"{tmp_path}:b") == [tmp_path, Path("b")]
    with pytest.raises(DatasetError, match="no dataset folder was named"):
        read_dataset([])


@pytest.mark.dataset
def test_utkface_has_seven_names_that_are_no_labels(dataset_dir):
    dataset = read_dataset(dataset_dir)
    # The project's copy; the complete set has 23,707 files and eight such names.
    assert len(dataset.skipped) in {7, 8}
    assert len(dataset.table) > 20_000
    assert dataset.table["age"].between(0, 116).all()
    assert dataset.table["age"].between(21, 30).mean() == pytest.approx(1 / 3, abs=0.05)
    assert set(dataset.table["gender"]) == {0, 1}
    assert set(dataset.table["ethnicity"]) == {0, 1, 2, 3, 4}
    assert dataset.table["file"].is_unique
