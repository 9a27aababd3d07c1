"""Each published form of labels, joined into one table; what makes no sense is named and skipped."""

from __future__ import annotations

import csv
import os
from pathlib import Path

import pandas as pd
import pytest

from agegender.data.sources import LABELS_FILE, parse_age, parse_gender, read_source
from agegender.data.table import Dataset, read_dataset
from agegender.errors import DatasetError
from agegender.files import paths_below
from agegender.labels import GENDERS, MAX_AGE
from tests.conftest import ROOT

CHIP = "25_0_2_20170116174525125.jpg.chip.jpg"


def touch(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"not read")
    return folder


def labels(folder: Path, text: str, *, name: str = LABELS_FILE, pictures: bool = True) -> Path:
    """Writes a CSV, and an empty picture for each file it names in its first column."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(text.encode("utf-8", "surrogateescape"))
    if pictures:
        touch(folder, *(line.partition(",")[0] for line in text.splitlines()[1:]))
    return folder


def rows(dataset: Dataset) -> list[tuple]:
    columns = ["file", "age_min", "age_max", "gender", "group", "given_split"]
    return list(dataset.table[columns].itertuples(index=False, name=None))


def skipped(dataset: Dataset) -> dict[str, str]:
    return dict(dataset.skipped.itertuples(index=False, name=None))


# --- words ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "years"),
    [
        ("0", (0, 0)),
        (" 31 ", (31, 31)),
        ("31.0", (31, 31)),
        ("2.9", (2, 2)),
        ("20-29", (20, 29)),
        ("20 – 29", (20, 29)),
        ("3.0-9.0", (3, 9)),
        ("70+", (70, MAX_AGE)),
        ("more than 70", (70, MAX_AGE)),
        ("116", (116, 116)),
    ],
)
def test_an_age_is_a_year_or_a_range(text, years):
    assert parse_age(text) == years


@pytest.mark.parametrize("text", ["", "-", "-3", "29-20", "117", "20-117", "young", "20-", "+", "nan", "٢٥"])
def test_what_is_no_age_is_refused(text):
    with pytest.raises(ValueError, match="age"):
        parse_age(text)


@pytest.mark.parametrize(("text", "code"), [("male", 0), ("Female ", 1), ("0", 0), ("1", 1), ("1.0", 1)])
def test_a_gender_is_a_word_or_a_code(text, code):
    assert parse_gender(text) == code


@pytest.mark.parametrize("text", ["", "f", "2", "unknown", "10"])
def test_what_is_no_gender_is_refused(text):
    with pytest.raises(ValueError, match="neither male nor female"):
        parse_gender(text)


# --- published forms --------------------------------------------------------------------------------------


def test_fairface_as_published(tmp_path):
    head = "file,age,gender,race,service_test\n"
    train = "train/1.jpg,50-59,Male,East Asian,True\ntrain/2.jpg,0-2,Female,Latino_Hispanic,False\n"
    labels(tmp_path, head + train, name="fairface_label_train.csv")
    labels(tmp_path, head + "val/1.jpg,more than 70,Female,Black,True\n", name="fairface_label_val.csv")
    source = read_source(tmp_path)
    assert (source.form, source.name) == ("FairFace", tmp_path.name)
    dataset = read_dataset(tmp_path)
    assert rows(dataset) == [
        ("train/1.jpg", 50, 59, 0, "East Asian", "train"),
        ("train/2.jpg", 0, 2, 1, "Latino_Hispanic", "train"),
        ("val/1.jpg", 70, MAX_AGE, 1, "Black", "dev"),
    ]
    assert dataset.table["age"].tolist() == [
        54,
        1,
        75,
    ]  # the middle, or five years above an open range's start
    assert not dataset.table["aligned"].any()
    assert (dataset.table["ethnicity"] == -1).all()
    assert dataset.table["captured"].isna().all()
    assert pd.api.types.is_datetime64_any_dtype(dataset.table["captured"])


def test_appa_real_as_published(tmp_path):
    for part, name in (("train", "000000.jpg"), ("valid", "004113.jpg"), ("test", "005613.jpg")):
        ages = f"file_name,num_ratings,apparent_age_avg,apparent_age_std,real_age\n{name},36,5.05,1.09,4\n"
        labels(tmp_path, ages, name=f"gt_avg_{part}.csv", pictures=False)
        people = f"file,gender,race,happiness,makeup\n{name}, male, caucasian,happy,nomakeup\n"
        labels(tmp_path, people, name=f"allcategories_{part}.csv", pictures=False)
        touch(tmp_path, f"{part}/{name}", f"{part}/{name}_face.jpg")
    dataset = read_dataset(tmp_path)
    assert rows(dataset) == [
        ("test/005613.jpg_face.jpg", 4, 4, 0, "caucasian", "dev"),
        ("train/000000.jpg_face.jpg", 4, 4, 0, "caucasian", "train"),
        ("valid/004113.jpg_face.jpg", 4, 4, 0, "caucasian", "dev"),
    ]
    (tmp_path / "allcategories_train.csv").write_text("file,gender,race\n")
    assert "gender '' is neither" in skipped(read_dataset(tmp_path))["train/000000.jpg_face.jpg"]
    (tmp_path / "allcategories_valid.csv").unlink()
    with pytest.raises(DatasetError, match=r"allcategories_valid\.csv: No such file"):
        read_dataset(tmp_path)


def test_all_age_faces_as_published(tmp_path):
    touch(tmp_path, "00000A02.jpg", "07380A80.jpg", "07381A80.jpg", "13321A100.jpg", "readme.jpg")
    dataset = read_dataset(tmp_path)
    assert read_source(tmp_path).form == "All-Age-Faces"
    assert rows(dataset) == [
        ("00000A02.jpg", 2, 2, 1, "", ""),
        ("07380A80.jpg", 80, 80, 1, "", ""),
        ("07381A80.jpg", 80, 80, 0, "", ""),
        ("13321A100.jpg", 100, 100, 0, "", ""),
    ]
    assert "number" in skipped(dataset)["readme.jpg"]


@pytest.mark.dataset
def test_the_numbers_of_all_age_faces_tell_the_gender():
    folder = ROOT.parent / "shared" / "faces" / "all-age-faces"
    if not folder.is_dir():
        pytest.skip("no All-Age-Faces beside the checkout")
    with (folder / LABELS_FILE).open() as file:
        told = {Path(row["file"]).name: row for row in csv.DictReader(file)}
    found = read_source(folder / "train")
    assert found.form == "All-Age-Faces"
    assert (len(found.rows), found.skipped) == (len(told), [])
    for row in found.rows:
        label = told[row["file"]]
        assert (str(row["age_min"]), GENDERS[row["gender"]]) == (label["age_min"], label["gender"]), row


# --- anybody's own ----------------------------------------------------------------------------------------


def test_the_plain_form_with_two_columns_of_years(tmp_path):
    labels(
        tmp_path,
        "file,age_min,age_max,gender,race\n"
        "train/a.webp,50,59,male,East Asian\ndev/b.webp,70,,female,\nc.webp,31.0,31.0,FEMALE,Han\n",
    )
    assert rows(read_dataset(tmp_path)) == [
        ("c.webp", 31, 31, 1, "Han", ""),
        ("dev/b.webp", 70, MAX_AGE, 1, "", "dev"),
        ("train/a.webp", 50, 59, 0, "East Asian", "train"),
    ]


def test_the_plain_form_with_one_column_of_years_in_any_order_of_columns(tmp_path):
    labels(
        tmp_path,
        "file, split, group, gender, age\nx/a.jpg,,Sami,0,20-29\nx/b.jpg,VAL,,1,70+\nc.jpg,train,,1,4\n",
    )
    assert rows(read_dataset(tmp_path)) == [
        ("c.jpg", 4, 4, 1, "", "train"),
        ("x/a.jpg", 20, 29, 0, "Sami", ""),
        ("x/b.jpg", 70, MAX_AGE, 1, "", "dev"),
    ]


@pytest.mark.parametrize(
    ("folder", "split"),
    [("train", "train"), ("Val", "dev"), ("validation", "dev"), ("test", "dev"), ("holiday", "")],
)
def test_the_first_folder_says_the_split_and_a_test_part_is_not_trained_on(tmp_path, folder, split):
    labels(tmp_path, f"file,age,gender\n{folder}/deep/a.jpg,30,male\n")
    assert read_dataset(tmp_path).table["given_split"].tolist() == [split]


def test_bad_rows_are_named_and_skipped(tmp_path):
    labels(
        tmp_path,
        "file,age,gender,split\n"
        "good.jpg,30,male,\nold.jpg,130,male,\nwho.jpg,30,?,\nshort.jpg\ngood.jpg,31,male,\nheld.jpg,30,male,holdout\n",
    )
    with (tmp_path / LABELS_FILE).open("a") as file:
        file.write(
            "gone.jpg,30,male,\n../out.jpg,30,male,\n/etc/a.jpg,30,male,\n,30,male,\n"
            f"{'x' * 300}.jpg,3,male,\n"
        )
    touch(tmp_path.parent, "out.jpg")
    dataset = read_dataset(tmp_path)
    assert rows(dataset) == [("good.jpg", 30, 30, 0, "", "")]
    assert skipped(dataset) == {
        "old.jpg": "ages 130 to 130 are not a range within 0 to 116",
        "who.jpg": "gender '?' is neither male nor female",
        "short.jpg": "'' is no age and no range of ages",
        "good.jpg": "the file has a label already",
        "held.jpg": "split 'holdout' is none of train, dev, val, valid, validation, test",
        "gone.jpg": "there is no such file",
        "../out.jpg": "not a path below the folder",
        "/etc/a.jpg": "not a path below the folder",
        "": "not a path below the folder",
        f"{'x' * 300}.jpg": "there is no such file",
    }


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("file,age\na.jpg,30\n", r"age, file; it needs age_max, age_min, file, gender or age, file, gender"),
        ("file,age_min,gender\na.jpg,30,male\n", "age_min, file, gender; it needs"),
        ("file;age;gender\na.jpg;30;male\n", "file;age;gender"),
        ("", "columns nothing"),
    ],
)
def test_a_missing_column_is_an_error_that_says_what_is_needed(tmp_path, text, words):
    with pytest.raises(DatasetError, match=words) as caught:
        read_dataset(labels(tmp_path, text, pictures=False))
    assert str(tmp_path / LABELS_FILE) in str(caught.value)


def test_labels_that_are_no_text_file_are_an_error(tmp_path):
    (tmp_path / LABELS_FILE).write_bytes(b"file,age,gender\n" + b'"' + b"x" * 200_000)
    with pytest.raises(DatasetError, match=r"cannot read the labels .*labels\.csv: field larger"):
        read_dataset(tmp_path)
    (tmp_path / LABELS_FILE).unlink()
    (tmp_path / LABELS_FILE).mkdir()
    with pytest.raises(DatasetError, match=r"cannot read the labels .*: Is a directory"):
        read_dataset(tmp_path)


def test_labels_none_of_which_can_be_used_say_why(tmp_path):
    labels(tmp_path, "file,age,gender\na.jpg,thirty,male\n")
    with pytest.raises(
        DatasetError, match=r"no label of labels\.csv in .*1 skipped; of a\.jpg: 'thirty' is no age"
    ):
        read_dataset(tmp_path)


def test_a_byte_order_mark_and_line_ends_of_windows_are_no_part_of_a_name(tmp_path):
    labels(tmp_path, "\ufefffile,age,gender\r\na.jpg,30,male\r\n")
    assert rows(read_dataset(tmp_path)) == [("a.jpg", 30, 30, 0, "", "")]


@pytest.mark.skipif(os.name != "posix", reason="only POSIX names files in bytes")
def test_names_that_are_no_utf_8_are_found(tmp_path):
    name = os.fsdecode(b"caf\xe9.jpg")
    labels(tmp_path, f"file,age,gender\n{name},30,male\n")
    dataset = read_dataset(tmp_path)
    assert dataset.table["file"].tolist() == [r"caf\xe9.jpg"]
    assert paths_below(tmp_path, dataset.table["file"])[0].read_bytes() == b"not read"
    whole = labels(tmp_path / os.fsdecode(b"\xff"), "file,age,gender\na.jpg,30,male\n")
    several = read_dataset([whole, touch(tmp_path / "chips", CHIP)])
    assert several.table["file"].tolist() == [r"\xff/a.jpg", f"chips/{CHIP}"]
    assert several.table["source"].tolist() == [r"\xff", "chips"]
    assert all(path.is_file() for path in paths_below(several.folder, several.table["file"]))


# --- many of them -----------------------------------------------------------------------------------------


def test_sources_are_joined_below_the_folder_that_holds_them(tmp_path):
    chips = touch(tmp_path / "chips", CHIP, "39_1_20170116174525125.jpg.chip.jpg")
    faces = labels(tmp_path / "more" / "faces", "file,age,gender\ntrain/a.jpg,20-29,female\nb.jpg,?,male\n")
    dataset = read_dataset([faces, chips])
    assert dataset.folder == tmp_path
    table = dataset.table
    assert table.index.equals(pd.RangeIndex(2))
    assert table[["file", "source", "age", "group", "given_split", "aligned"]].to_numpy().tolist() == [
        [f"chips/{CHIP}", "chips", 25, "Asian", "", True],
        ["more/faces/train/a.jpg", "faces", 24, "", "train", False],
    ]
    assert table["captured"].notna().tolist() == [True, False]
    assert set(skipped(dataset)) == {"chips/39_1_20170116174525125.jpg.chip.jpg", "more/faces/b.jpg"}
    assert all(path.is_file() for path in paths_below(dataset.folder, table["file"]))
    alone = read_dataset(chips).table.drop(columns="file")
    joined = table[table["source"] == "chips"].drop(columns="file").reset_index(drop=True)
    pd.testing.assert_frame_equal(joined, alone, check_dtype=True)


def test_folders_of_one_name_are_told_apart(tmp_path):
    folders = [touch(tmp_path / name / "chips", CHIP) for name in ("a", "b")]
    assert read_dataset(folders).table["source"].tolist() == ["a/chips", "b/chips"]


def test_a_file_counts_once_however_often_its_folder_is_named(tmp_path):
    touch(tmp_path / "chips", CHIP, "sub/26_0_2_20170116174525125.jpg.chip.jpg", "sub/x.jpg")
    chips = tmp_path / "chips"
    dataset = read_dataset([chips, chips, chips / "sub"])
    assert dataset.folder == chips
    assert dataset.table["file"].tolist() == [CHIP, "sub/26_0_2_20170116174525125.jpg.chip.jpg"]
    assert set(dataset.table["source"]) == {"chips"}


def test_a_folder_of_sources_asks_for_each(tmp_path):
    labels(tmp_path / "mine", "file,age,gender\na.jpg,30,male\n")
    labels(tmp_path / "fairface", "file,age,gender,race\n", name="fairface_label_val.csv")
    with pytest.raises(DatasetError, match="several sources, to be named each: fairface, mine"):
        read_dataset(tmp_path)
    touch(tmp_path / "all-age-faces", "00000A02.jpg")  # which has no file but its pictures
    assert set(skipped(read_dataset(tmp_path))) == {"fairface", "mine"}


def test_a_source_within_another_is_not_read_by_names(tmp_path):
    touch(tmp_path, CHIP)
    inner = labels(tmp_path / "more", "file,age,gender\n30_0_0_a.jpg,40,female\n")
    assert skipped(read_dataset(tmp_path)) == {"more": "a source of its own, to be named too"}
    dataset = read_dataset([tmp_path, inner])
    assert dataset.table[["file", "age", "source"]].to_numpy().tolist() == [
        [CHIP, 25, tmp_path.name],
        ["more/30_0_0_a.jpg", 40, "more"],
    ]
    assert dataset.skipped.empty


def test_one_missing_folder_of_several_is_an_error(tmp_path):
    with pytest.raises(DatasetError, match="nowhere is not a folder"):
        read_dataset([touch(tmp_path / "chips", CHIP), tmp_path / "nowhere"])
