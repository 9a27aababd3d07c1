"""The table of labels that ships with the project."""

from __future__ import annotations

import pandas as pd
import pytest

from agegender.assets import LABEL_TABLE
from agegender.audit.label_table import COLUMNS, read_label_table, write_label_table
from agegender.data.table import read_dataset
from agegender.errors import DatasetError


@pytest.fixture
def files():
    return pd.DataFrame(
        {
            "file": ["b.jpg", "a.jpg", "c.jpg"],
            "age": [30, 4, 30],
            "gender": [1, 0, 0],
            "ethnicity": [2, 0, 4],
            "captured": pd.to_datetime(["2017-01-09 13:17:58", None, "2016-12-19 00:00:01"]),
            "split": ["train", "test", "validation"],
            "copies": [2, 1, 1],
        }
    )


def test_labels_come_back_without_names_and_hours(files, tmp_path):
    write_label_table(files, tmp_path / "t.csv.gz")
    table = read_label_table(tmp_path / "t.csv.gz")
    assert list(table.columns)[: len(COLUMNS)] == list(COLUMNS)
    assert table[["age_min", "age_max", "group", "source"]].to_numpy().tolist()[0] == [
        4,
        4,
        "White",
        "UTKFace",
    ]
    assert table["age"].tolist() == [4, 30, 30]
    assert table["split"].tolist() == ["test", "validation", "train"]
    assert pd.isna(table["captured"][0])
    assert table["captured"][2] == pd.Timestamp("2017-01-09")
    assert (table[["age", "gender", "ethnicity", "copies"]].dtypes == "int64").all()
    assert b"jpg" not in pd.read_csv(tmp_path / "t.csv.gz").to_csv().encode()


def test_order_and_time_of_writing_leave_no_trace(files, tmp_path, monkeypatch):
    write_label_table(files, tmp_path / "one.csv.gz")
    monkeypatch.setattr("time.time", lambda: 2_000_000_000.0)
    write_label_table(files.iloc[::-1], tmp_path / "two.csv.gz")
    assert (tmp_path / "one.csv.gz").read_bytes() == (tmp_path / "two.csv.gz").read_bytes()


@pytest.mark.parametrize(
    "content",
    [None, b"no gzip", "age,gender\n1,0\n", "age,gender,ethnicity,captured,split,copies\n1,0,0,,x,1\n"],
)
def test_what_is_no_such_table_is_refused(tmp_path, content):
    path = tmp_path / "t.csv"
    if content is not None:
        path = path if isinstance(content, str) else tmp_path / "t.csv.gz"
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(DatasetError, match="not a table of labels"):
        read_label_table(path)


def test_the_shipped_table_is_small_and_whole():
    table = read_label_table()
    assert LABEL_TABLE.stat().st_size < 300_000
    assert table["split"].value_counts().to_dict() == {"train": 17059, "validation": 2141, "test": 2141}
    assert table["age"].between(0, 116).all()
    assert set(table["gender"]) == {0, 1}
    assert set(table["ethnicity"]) == {0, 1, 2, 3, 4}
    assert (table["copies"] > 1).sum() == 1790


@pytest.mark.dataset
def test_the_shipped_table_has_the_datasets_labels(dataset_dir):
    labels = ["age", "gender", "ethnicity", "captured"]
    real = read_dataset(dataset_dir).table[labels]
    real["captured"] = real["captured"].dt.normalize()
    shipped = read_label_table()[labels]
    pd.testing.assert_frame_equal(
        real.sort_values(labels, ignore_index=True),
        shipped.sort_values(labels, ignore_index=True),
        check_dtype=False,
    )
