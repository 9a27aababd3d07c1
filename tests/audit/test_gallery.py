from __future__ import annotations

import io

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from agegender.audit.audit import audit
from agegender.audit.conditions import measure_conditions
from agegender.audit.gallery import FLAGS, Selection, flagged_faces, in_order, thumbnail
from agegender.audit.suspects import Predictions
from agegender.data.table import read_dataset
from tests.conftest import label_table, make_chip, write_chip


@pytest.fixture
def faces() -> pd.DataFrame:
    return label_table(
        [1, 20, 40, 60, 116],
        gender=[0, 1, 0, 1, 0],
        ethnicity=[0, 0, 3, 4, -1],
        age_max=[1, 20, 49, 60, 116],
        source=["chips", "chips", "faces", "chips", "faces"],
        split=["train", "test", "train", "validation", "test"],
        duplicate=[True, False, False, True, False],
        suspicion=[0.0, 2.0, 0.0, 3.0, 0.0],
    )


@pytest.mark.parametrize(
    ("selection", "rows"),
    [
        (Selection(), [0, 1, 2, 3, 4]),
        (Selection(ages=(20, 60)), [1, 2, 3]),
        (Selection(gender=0), [0, 2, 4]),
        (Selection(gender=1, ethnicity="Others"), [3]),
        (Selection(ethnicity="not given"), [4]),
        (Selection(source="faces"), [2, 4]),
        (Selection(ages=(49, 59)), [2]),  # a range of 40 to 49
        (Selection(split="test"), [1, 4]),
        (Selection(flag="duplicate"), [0, 3]),
        (Selection(flag="duplicate", gender=0, ages=(2, 116)), []),
        (Selection(flag="suspicious label"), []),  # nobody looked for these
    ],
)
def test_a_selection_finds_its_faces(faces, selection, rows):
    assert np.flatnonzero(selection.rows(faces)).tolist() == rows


def test_a_selection_does_not_change_the_table(faces):
    before = faces.copy()
    Selection(ages=(20, 60), gender=1).rows(faces)
    pd.testing.assert_frame_equal(faces, before)


def test_wishes_can_be_taken_back():
    selection = Selection(ages=(20, 60), gender=1, split="test")
    assert selection.without("gender") == Selection(ages=(20, 60), split="test")
    assert selection.without("ages", "gender", "split") == Selection()


def test_orders(faces):
    everyone = np.ones(len(faces), dtype=bool)
    assert in_order(faces, everyone, "youngest first").tolist() == [0, 1, 2, 3, 4]
    assert in_order(faces, everyone, "oldest first").tolist() == [4, 3, 2, 1, 0]
    assert in_order(faces, everyone, "most suspicious first").tolist()[:2] == [3, 1]


def test_a_mixed_order_keeps_its_order_when_faces_are_left_out():
    faces = pd.DataFrame({"age": np.arange(100)})
    mixed = in_order(faces, np.ones(100, dtype=bool), "mixed")
    assert sorted(mixed) == list(range(100))
    assert mixed.tolist() != list(range(100))
    even = in_order(faces, faces["age"].to_numpy() % 2 == 0, "mixed")
    assert even.tolist() == [row for row in mixed if row % 2 == 0]


def test_flags_say_what_was_found(tmp_path):
    rng = np.random.default_rng(5)
    twice, conflicting = make_chip(rng), make_chip(rng)
    chips = {
        "20_0_0_20170116000000001": twice,
        "22_0_0_20170116000000002": twice,
        "30_0_0_20170116000000003": conflicting,
        "30_1_0_20170116000000004": conflicting,
        "40_0_0_20170116000000005": np.full((200, 200, 3), 200, dtype=np.uint8),
    }
    for name, chip in chips.items():
        write_chip(tmp_path / f"{name}.jpg.chip.jpg", chip)
    (tmp_path / "50_0_0_20170116000000006.jpg.chip.jpg").write_bytes(b"broken")
    dataset = read_dataset(tmp_path)
    found, conditions = audit(dataset), measure_conditions(dataset)
    faces = flagged_faces(found, conditions)
    assert "suspicious label" not in faces
    assert faces["duplicate"].tolist() == [True, True, True, True, False, False]
    assert faces["conflicting labels"].tolist() == [False, False, True, True, False, False]
    assert faces["unusable"].tolist() == [False] * 4 + [True, True]

    ages = dataset.table["age"].to_numpy(np.float64)
    far_off = np.where(ages == 50, 5.0, ages)
    predictions = Predictions(far_off, far_off - 3, far_off + 3, np.full(len(ages), 0.5))
    doubted = flagged_faces(audit(dataset, predictions=predictions), conditions)
    assert set(FLAGS) <= set(doubted)
    assert doubted["suspicious label"].tolist() == [False] * 5 + [True]
    assert doubted["suspicion"].iloc[5] > 0
    assert "labelled 50, looks 5" in doubted["reasons"].iloc[5]
    assert doubted["reasons"].iloc[0] == ""


def test_thumbnails_are_small_and_keep_their_colours(tmp_path):
    chip = np.zeros((200, 200, 3), dtype=np.uint8)
    chip[..., 0] = 220
    write_chip(tmp_path / "red.jpg", chip)
    data = thumbnail(tmp_path / "red.jpg", 64)
    assert data is not None
    picture = np.asarray(Image.open(io.BytesIO(data)))
    assert picture.shape == (64, 64, 3)
    assert picture[32, 32, 0] > 200
    assert picture[32, 32, 2] < 20


def test_what_cannot_be_read_has_no_thumbnail(tmp_path):
    (tmp_path / "broken.jpg").write_bytes(b"broken")
    (tmp_path / "empty.jpg").write_bytes(b"")
    assert [thumbnail(tmp_path / f"{name}.jpg") for name in ("broken", "empty", "gone")] == [None] * 3
