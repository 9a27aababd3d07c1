from __future__ import annotations

import numpy as np
import pytest

from agegender.audit.label_table import read_label_table
from agegender.audit.split_report import SHARES, expected_leak, split_balance, straddling_photos
from tests.conftest import label_table


def test_the_expected_leak_is_what_random_splits_do():
    sizes = np.array([1] * 600 + [2] * 120 + [3] * 40 + [5] * 4)
    groups = np.repeat(np.arange(len(sizes)), sizes)
    copies = np.repeat(sizes, sizes)
    rng = np.random.default_rng(11)
    torn, leaked = [], []
    for _ in range(400):
        splits = rng.choice(3, size=len(groups), p=SHARES)
        torn.append(straddling_photos(groups, splits))
        trained = np.isin(groups, groups[splits == 0])
        leaked.append(int(((splits == 2) & trained).sum()))
    leak = expected_leak(copies)
    assert (leak.photos, leak.files) == (164, 380)
    assert leak.torn == pytest.approx(np.mean(torn), rel=0.03)
    assert leak.leaked == pytest.approx(np.mean(leaked), rel=0.05)
    assert leak.share == pytest.approx(leak.leaked / (0.1 * len(groups)))


def test_without_copies_nothing_leaks():
    leak = expected_leak(np.ones(50, dtype=int))
    assert (leak.photos, leak.files, leak.torn, leak.leaked, leak.share) == (0, 0, 0, 0, 0)


def test_straddling_photos_are_counted():
    assert straddling_photos([0, 0, 1, 1, 2], ["train", "train", "train", "test", "test"]) == 1
    assert straddling_photos([0, 1], ["train", "test"]) == 0


def test_balance_counts_every_face_once_and_shares_add_up():
    faces = label_table(
        [1, 30, 30, 80, 30, 1],
        gender=[0, 1, 1, 0, 1, 0],
        ethnicity=[0, 1, 2, 3, 4, 0],
        split=["train", "train", "train", "validation", "test", "test"],
    )
    counted = split_balance(faces, "age")
    assert counted["files"].sum() == len(faces)
    assert counted.groupby("split")["share"].sum().tolist() == pytest.approx([1, 1, 1])
    row = counted[(counted["value"] == "26-35") & (counted["split"] == "train")].iloc[0]
    assert (row["files"], row["share"]) == (2, pytest.approx(2 / 3))
    assert split_balance(faces, "gender")["value"].unique().tolist() == ["male", "female"]
    assert split_balance(faces, "ethnicity")["files"].sum() == len(faces)
    others = faces.assign(group=["Han", "", "Sami", "Han", "Han", ""], split=["train"] * 3 + ["dev"] * 3)
    counted = split_balance(others, "ethnicity").set_index(["value", "split"])["files"]
    assert counted.index.unique("value").tolist() == ["Han", "Sami", "not given"]
    assert counted.index.unique("split").tolist() == ["train", "validation", "test", "dev"]
    assert counted[[("Han", "dev"), ("not given", "dev"), ("not given", "train")]].tolist() == [2, 1, 1]


def test_chance_spans_what_random_parts_do():
    rng = np.random.default_rng(2)
    n = 4000
    faces = label_table([30] * n, gender=rng.integers(0, 2, n))
    inside = []
    for _ in range(200):
        split = np.array(["train"] * 3200 + ["validation"] * 400 + ["test"] * 400)
        counted = split_balance(faces.assign(split=rng.permutation(split)), "gender")
        test = counted[(counted["split"] == "test") & (counted["value"] == "female")].iloc[0]
        inside.append(test["low"] <= test["share"] <= test["high"])
    assert 0.9 < np.mean(inside) < 0.99


def test_the_shipped_split_is_alike_in_its_parts():
    labels = read_label_table()
    for quality in ("age", "gender", "ethnicity"):
        shares = split_balance(labels, quality).groupby("value")["share"]
        assert (shares.max() - shares.min()).max() < 0.03
    assert expected_leak(labels["copies"]).photos == 853
