"""Records, tables and JSON."""

import io
import json
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from agegender.export import (
    FACES_TABLE_COLUMNS,
    NO_FACE,
    _face_rows,
    faces_csv,
    predictions_document,
    to_csv,
    to_json,
    write_atomically,
)
from agegender.faces.face import Face
from agegender.prediction import AgeEstimate, GenderEstimate, ImageResult, Prediction


def make_prediction(*, age=True, gender=True, years=31.234, warnings=("small face",)):
    # numpy scalars on purpose: that is what a model hands out
    face = Face(tuple(np.float32([10.04, 20, 110.5, 140])), np.float32(0.98767), ((0.0, 0.0),) * 5)
    return Prediction(
        face,
        np.zeros((200, 200, 3), np.uint8),
        AgeEstimate(np.float32(years), np.float32(26), np.float64(37.119), 0.9) if age else None,
        GenderEstimate("female", np.float32(0.97004)) if gender else None,
        warnings,
    )


def test_an_image_result_keeps_the_contract_to_the_letter():
    record = ImageResult("a.jpg", (640, 480), [make_prediction()]).to_dict()
    assert json.loads(to_json(record)) == {
        "path": "a.jpg",
        "width": 640,
        "height": 480,
        "error": None,
        "faces": [
            {
                "box": [10.0, 20.0, 110.5, 140.0],
                "confidence": 0.9877,
                "age": 31.23,
                "age_interval": [26.0, 37.12],
                "gender": "female",
                "gender_probability": 0.97,
                "warnings": ["small face"],
            }
        ],
    }


def test_record_of_a_failed_picture():
    assert ImageResult("b.jpg", None, [], "b.jpg: empty").to_dict() == {
        "path": "b.jpg",
        "width": None,
        "height": None,
        "error": "b.jpg: empty",
        "faces": [],
    }


def test_what_a_model_does_not_predict_is_null():
    age_only = ImageResult("a.jpg", (9, 9), [make_prediction(gender=False)]).to_dict()["faces"][0]
    gender_only = ImageResult("a.jpg", (9, 9), [make_prediction(age=False)]).to_dict()["faces"][0]
    assert (age_only["gender"], age_only["gender_probability"]) == (None, None)
    assert (gender_only["age"], gender_only["age_interval"]) == (None, None)
    assert gender_only["gender"] == "female"


def test_what_is_not_finite_is_null():
    face = ImageResult("a.jpg", (9, 9), [make_prediction(years=float("nan"))]).to_dict()["faces"][0]
    assert face["age"] is None


def test_predictions_document():
    record = ImageResult("a.jpg", (9, 9), []).to_dict()
    assert predictions_document("vggface", (record,)) == {"model": "vggface", "images": [record]}


def read_csv(text: str) -> pd.DataFrame:
    return pd.read_csv(io.StringIO(text), dtype={"face": "Int64"})


def test_the_csv_has_a_row_for_every_face_and_every_faceless_input():
    results = [
        ImageResult("two.jpg", (640, 480), [make_prediction(warnings=("small face", "tilted"))] * 2),
        ImageResult("none.jpg", (640, 480), []),
        ImageResult("ä, b.jpg", None, [], "empty"),
    ]
    table = read_csv(faces_csv([result.to_dict() for result in results]))
    assert tuple(table.columns) == FACES_TABLE_COLUMNS
    assert table["path"].tolist() == ["two.jpg", "two.jpg", "none.jpg", "ä, b.jpg"]
    assert table["face"].tolist() == [1, 2, pd.NA, pd.NA]
    assert table.loc[0, "warnings"] == "small face; tilted"
    assert table.loc[2, "warnings"] == NO_FACE
    assert pd.isna(table.loc[2, "error"])
    assert table.loc[3, "error"] == "empty"
    assert pd.isna(table.loc[3, "warnings"])
    assert table.loc[1, ["x1", "age", "age_low", "age_high"]].tolist() == [10.0, 31.23, 26.0, 37.12]
    assert table["age"].dtype == "float64"


def test_the_csv_of_nothing_keeps_its_columns():
    assert faces_csv([]) == ",".join(FACES_TABLE_COLUMNS) + "\n"


def test_the_csv_is_written_as_every_other_table():
    result = ImageResult('=a "b"\n.jpg', (9, 9), [make_prediction(), make_prediction(age=False)]).to_dict()
    table = pd.DataFrame(_face_rows(result), columns=list(FACES_TABLE_COLUMNS))
    assert faces_csv([result]) == to_csv(table)


def test_to_json_is_strict_json():
    text = to_json(
        {
            "nan": float("nan"),
            "inf": [np.float32("inf"), 1.5],
            "array": np.array([1.0, np.nan]),
            "count": np.int64(3),
            "flag": np.bool_(True),
            "pair": (1, 2),
            "path": Path("a") / "b",
            "name": "Zoë",
        }
    )
    assert json.loads(text, parse_constant=pytest.fail) == {
        "nan": None,
        "inf": [None, 1.5],
        "array": [1.0, None],
        "count": 3,
        "flag": True,
        "pair": [1, 2],
        "path": str(Path("a") / "b"),
        "name": "Zoë",
    }
    assert text.endswith("}\n")
    assert "Zoë" in text


def test_to_json_refuses_what_has_no_json_form():
    with pytest.raises(TypeError):
        to_json({"thing": object()})


def test_write_atomically_makes_folders_and_leaves_only_the_file(tmp_path):
    target = tmp_path / "new" / "deep" / "a.json"
    write_atomically(target, "ä\n")
    write_atomically(target, b"second")
    assert target.read_bytes() == b"second"
    assert list(target.parent.iterdir()) == [target]


def test_write_atomically_keeps_the_old_file_when_the_rename_fails(tmp_path, monkeypatch):
    target = tmp_path / "a.json"
    target.write_text("old")

    def refuse(self, other):
        raise OSError("disk full")

    monkeypatch.setattr(Path, "replace", refuse)
    with pytest.raises(OSError, match="disk full"):
        write_atomically(target, "new")
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.skipif(os.name != "posix", reason="devices and links as POSIX has them")
def test_write_atomically_replaces_neither_devices_nor_links(tmp_path):
    write_atomically("/dev/null", "gone")
    assert not Path("/dev/null").is_file()
    target, link = tmp_path / "a.json", tmp_path / "link.json"
    target.write_text("old")
    link.symlink_to(target)
    write_atomically(link, "new")
    assert link.is_symlink()
    assert target.read_text() == "new"


@pytest.mark.skipif(os.name != "posix", reason="modes as POSIX has them")
def test_write_atomically_gives_the_usual_permissions(tmp_path):
    written, usual = tmp_path / "a", tmp_path / "b"
    write_atomically(written, "x")
    usual.write_text("x")
    assert written.stat().st_mode == usual.stat().st_mode
