"""From labels to targets: conflicts settled, distributions, a teacher's share, weights."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from agegender.errors import ConfigError, UnknownModelError
from agegender.labels import AGE_BANDS, MAX_AGE
from agegender.training import teacher as module
from agegender.training.config import TrainingConfig
from agegender.training.targets import (
    age_distribution_targets,
    age_ends,
    age_range_targets,
    balance_weights,
    make_targets,
    resolve_conflicts,
)
from agegender.training.teacher import teacher_answers
from tests.conftest import FACE_IN_PHOTO, label_table

OUTPUTS = ["age_distribution", "age_range", "age", "female"]


def table(ages: list[float], genders: list[float], files: list[str] | None = None) -> pd.DataFrame:
    named = {"file": files} if files else {}
    return label_table(ages, gender=genders, **named).set_axis(range(10, 10 + len(ages)))


# --- conflicts ------------------------------------------------------------------------------------------


def test_copies_of_a_photo_take_the_mean_age_and_the_gender_of_most():
    rows = table([20, 26, 23, 40, 50, 60, 7], [0, 1, 1, 1, 0, 1, 0])
    groups = np.array([5, 5, 5, 2, 2, 9, 1])
    resolved = resolve_conflicts(rows, groups)
    assert resolved["age"].tolist() == [23, 23, 23, 45, 45, 60, 7]
    assert resolved["gender"].fillna(-1).tolist() == [1, 1, 1, -1, -1, 1, 0]
    assert resolved.index.tolist() == rows.index.tolist()
    assert resolved["file"].tolist() == rows["file"].tolist()
    assert rows["age"].tolist() == [20, 26, 23, 40, 50, 60, 7]


def test_four_copies_two_against_two_have_no_gender():
    resolved = resolve_conflicts(table([30] * 4, [0, 1, 0, 1]), np.zeros(4, np.int64))
    assert resolved["gender"].isna().all()


# --- labels ---------------------------------------------------------------------------------------------


def test_age_targets_are_distributions_around_the_label():
    ages = np.array([10, 33, 60, 100])
    targets = age_distribution_targets(ages, sigma=2.0)
    assert targets.shape == (4, MAX_AGE + 1)
    assert targets.dtype == np.float32
    assert targets.sum(axis=1) == pytest.approx(1, abs=1e-6)
    assert targets.argmax(axis=1).tolist() == ages.tolist()
    years = np.arange(MAX_AGE + 1)
    mean = targets @ years
    assert mean == pytest.approx(ages, abs=1e-3)
    assert np.sqrt((targets * (years - mean[:, None]) ** 2).sum(axis=1)) == pytest.approx(2.0, abs=0.02)


@pytest.mark.parametrize("age", [0, 1, MAX_AGE])
def test_age_targets_at_the_ends_still_sum_to_one(age):
    [target] = age_distribution_targets(np.array([age]), sigma=3.0)
    assert target.sum() == pytest.approx(1, abs=1e-6)
    assert target.argmax() == age


def test_each_output_gets_its_target():
    targets = make_targets(TrainingConfig("age"), table([3, 30.5, 90], [0, 1, np.nan]), OUTPUTS)
    assert {name: x.shape for name, x in targets.items()} == {
        "age_distribution": (3, MAX_AGE + 1),
        "age_range": (3, len(AGE_BANDS)),
        "age": (3, 2),
        "female": (3, 1),
    }
    assert all(x.dtype == np.float32 for x in targets.values())
    assert targets["age"].tolist() == [[3, 3], [30.5, 30.5], [90, 90]]
    assert targets["female"][:2, 0].tolist() == [0, 1]
    assert targets["age_range"].argmax(axis=1).tolist() == [0, 4, 8]
    assert list(make_targets(TrainingConfig("gender"), table([3], [0]), ["female"])) == ["female"]


# --- ranges ---------------------------------------------------------------------------------------------


def test_copies_with_ranges_take_the_mean_of_each_end():
    rows = label_table([24, 34, 31], age_min=[20, 30, 31], age_max=[29, 39, 31], gender=[0, 1, 1])
    resolved = resolve_conflicts(rows, np.array([4, 4, 7]))
    assert resolved[["age_min", "age_max"]].to_numpy().tolist() == [[25, 34], [25, 34], [31, 31]]
    assert resolved["gender"].isna().tolist() == [True, True, False]


def test_a_range_says_of_each_year_how_likely_its_label_would_be():
    targets = age_range_targets([20, 0, 70], [29, 2, MAX_AGE])
    assert targets.shape == (3, MAX_AGE + 1)
    assert targets.dtype == np.float32
    assert ((targets >= 0) & (targets <= 1)).all()
    twenties, babies, old = targets
    assert twenties[24] > 0.98
    assert twenties[20] == pytest.approx(twenties[29], abs=0.15)
    assert 0.4 < twenties[20] < 0.8  # at an end, noise moves many a label to the next range
    assert twenties[19] < 0.5 < twenties[21]
    assert twenties[40] < 1e-3
    assert babies[0] > 0.99
    assert babies[3] < 0.5
    assert old[[80, 100, MAX_AGE]] == pytest.approx(1, abs=0.05)  # open above
    assert targets.sum(axis=1) == pytest.approx([10, 3, 47], rel=0.06)


def test_ranges_that_divide_all_years_leave_no_year_without_a_label():
    bands = [(0, 2), (3, 9), (10, 19), (20, 29), (30, 39), (40, 49), (50, 59), (60, 69), (70, MAX_AGE)]
    low, high = np.array(bands).T
    assert age_range_targets(low, high).sum(axis=0) == pytest.approx(1, abs=1e-5)


def test_exact_ages_and_ranges_stand_in_one_array():
    rows = label_table([31, 24], age_min=[31, 20], age_max=[31, 29], gender=[1, 0])
    targets = make_targets(TrainingConfig("age"), rows, ["age_distribution", "age"])
    assert targets["age"].tolist() == [[31, 31], [20, 29]]
    assert targets["age_distribution"][0] == pytest.approx(age_distribution_targets([31], 2.0)[0])
    assert targets["age_distribution"][1] == pytest.approx(age_range_targets([20], [29])[0])


def test_what_is_open_above_ends_where_the_recipe_says_and_exact_ages_do_not():
    rows = table([93, 90, 30], [0, 0, 0]).assign(age_min=[70, 90, 95], age_max=[MAX_AGE, MAX_AGE, 95])
    assert age_ends(TrainingConfig("age"), rows).tolist() == [[70, MAX_AGE], [90, MAX_AGE], [95, 95]]
    config = TrainingConfig("age", oldest=89)
    assert age_ends(config, rows).tolist() == [[70, 89], [90, 90], [95, 95]]
    targets = make_targets(config, rows, ["age_distribution", "age"])
    assert targets["age"].tolist() == [[70, 89], [90, 90], [95, 95]]
    assert targets["age_distribution"][0] == pytest.approx(age_range_targets([70], [89])[0])
    assert targets["age_distribution"][0][[79, 110]] == pytest.approx([0.9, 0], abs=0.1)


def test_nine_age_ranges_are_not_learned_from_other_ranges():
    rows = label_table([24], age_min=[20], age_max=[29])
    with pytest.raises(ConfigError, match="nine age ranges"):
        make_targets(TrainingConfig("both"), rows, OUTPUTS)


@pytest.mark.usefixtures("teacher")
def test_a_teacher_speaks_of_gender_and_exact_ages_and_leaves_ranges_alone(tmp_path):
    config = TrainingConfig("both", teacher="wise", teacher_weight=0.5)
    rows = label_table([20, 24], age_min=[20, 20], age_max=[20, 29], gender=[1, 1])
    targets = make_targets(config, rows, ["age_distribution", "age", "female"], tmp_path)
    assert targets["age"].tolist() == [[40, 40], [20, 29]]
    assert targets["female"][:, 0] == pytest.approx([0.75, 0.75], abs=0.01)
    assert targets["age_distribution"][0].sum() == pytest.approx(1, abs=1e-5)
    assert targets["age_distribution"][1] == pytest.approx(age_range_targets([20], [29])[0])


# --- a teacher ------------------------------------------------------------------------------------------


class Teacher:
    """Says 60 years, in two equal halves of 50 and 70, and for women what the left half's brightness is."""

    input_size = (32, 32)
    margin = 0

    def __init__(self, name: str) -> None:
        if name != "wise":
            raise UnknownModelError(name)

    def answer(self, chips):
        distribution = np.zeros((len(chips), MAX_AGE + 1), np.float32)
        distribution[:, [50, 70]] = 0.5
        female = chips[:, :, :16].mean(axis=(1, 2, 3)).astype(np.float32) / 255
        age = np.full(len(chips), 60, np.float32)
        return SimpleNamespace(age=age, age_distribution=distribution, female=female, age_range=None)


@pytest.fixture
def teacher(monkeypatch):
    monkeypatch.setattr(module, "TrainedModel", Teacher)
    monkeypatch.setattr(module, "fingerprint_of_model", lambda name: f"weights of {name}")
    half = np.zeros((40, 40, 3), np.uint8)
    half[:, :20] = 255
    monkeypatch.setattr(module, "read_chip", lambda *_: half)


@pytest.mark.usefixtures("teacher")
def test_a_teacher_is_asked_about_the_chip_and_its_mirror_image(tmp_path):
    seen = []
    files = [tmp_path / f"{i}.jpg" for i in range(70)]
    answers = teacher_answers("wise", files, progress=lambda _, done, total: seen.append((done, total)))
    assert answers["female"] == pytest.approx(np.full((70, 1), 0.5), abs=0.02)
    assert answers["age"].shape == (70, 1)
    bands = {
        name: answers["age_range"][0][i] for i, name in enumerate(AGE_BANDS) if answers["age_range"][0][i]
    }
    assert bands == {(46, 60): 0.5, (61, 75): 0.5}
    assert seen == [(64, 70), (70, 70)]


@pytest.mark.usefixtures("teacher")
def test_a_teacher_sees_faces_cropped_with_its_own_margin(tmp_path, monkeypatch):
    seen = []

    def read(path, face=None, margin=0):
        seen.append((path.name, face, margin))
        return np.zeros((40, 40, 3), np.uint8)

    monkeypatch.setattr(module, "read_chip", read)
    monkeypatch.setattr(Teacher, "margin", 12)
    files = [tmp_path / "a.jpg", tmp_path / "b.jpg"]
    for file in files:
        file.write_bytes(file.name.encode())
    teacher_answers("wise", files, faces=[None, FACE_IN_PHOTO], cache=tmp_path / "kept")
    assert seen == [("a.jpg", None, 12), ("b.jpg", FACE_IN_PHOTO, 12)]


@pytest.mark.usefixtures("teacher")
def test_answers_are_kept_until_a_chip_changes(tmp_path, monkeypatch):
    asked = []
    answer = Teacher.answer

    def count(self, chips):
        asked.append(len(chips))
        return answer(self, chips)

    monkeypatch.setattr(Teacher, "answer", count)
    files = [tmp_path / f"{i}.jpg" for i in range(3)]
    for file in files:
        file.write_bytes(b"a chip")
    cache = tmp_path / "kept"
    first = teacher_answers("wise", files, cache=cache)
    assert asked == [3, 3]
    again = teacher_answers("wise", files, cache=cache)
    assert asked == [3, 3]
    assert again.keys() == first.keys()
    assert all(np.array_equal(again[key], first[key]) for key in first)

    assert teacher_answers("wise", files[:2], cache=cache)["age"].shape == (2, 1)
    assert asked == [3, 3]
    files[0].write_bytes(b"another chip")
    assert teacher_answers("wise", files[::-1], cache=cache)["age"].shape == (3, 1)
    assert asked == [3, 3, 1, 1]
    for kept in cache.iterdir():
        kept.write_bytes(b"half a file")
    teacher_answers("wise", files, cache=cache)
    assert asked == [3, 3, 1, 1, 3, 3]
    assert not list(cache.glob("*.part"))


@pytest.mark.usefixtures("teacher")
def test_labels_and_the_teacher_s_answers_are_mixed_by_its_share(tmp_path):
    config = TrainingConfig("age", teacher="wise", teacher_weight=0.25)
    rows = table([20], [1])
    targets = make_targets(config, rows, OUTPUTS, tmp_path)
    assert targets["age"][0] == pytest.approx([0.75 * 20 + 0.25 * 60] * 2)
    assert targets["female"][0, 0] == pytest.approx(0.75 + 0.25 * 0.5, abs=0.01)
    assert targets["age_distribution"][0, 50] == pytest.approx(0.125, abs=1e-3)
    assert targets["age_distribution"].sum() == pytest.approx(1, abs=1e-5)
    assert targets["age_range"].sum() == pytest.approx(1, abs=1e-5)
    # Validation asks nobody.
    assert make_targets(config, rows, ["age"])["age"][0, 0] == 20


@pytest.mark.usefixtures("teacher")
def test_a_teacher_that_knows_nothing_of_the_task_is_refused(tmp_path, monkeypatch):
    def answer(_self, chips):
        return SimpleNamespace(age=np.zeros(len(chips)), age_distribution=None, female=None, age_range=None)

    monkeypatch.setattr(Teacher, "answer", answer)
    config = TrainingConfig("gender", teacher="wise")
    with pytest.raises(ConfigError, match=r"'wise' answers none of female"):
        make_targets(config, table([20], [1]), ["female"], tmp_path)


@pytest.mark.usefixtures("teacher")
def test_an_unknown_teacher_is_named(tmp_path):
    with pytest.raises(UnknownModelError, match="foolish"):
        make_targets(TrainingConfig("age", teacher="foolish"), table([20], [1]), ["age"], tmp_path)


# --- weights --------------------------------------------------------------------------------------------

ROWS = table([30] * 9 + [80], [1, *[0] * 8, 1])


@pytest.mark.parametrize(
    ("balance", "counts"),
    [
        ("age", [9] * 9 + [1]),
        ("gender", [2, *[8] * 8, 2]),
        ("both", [1, *[8] * 8, 1]),
    ],
)
def test_rare_chips_weigh_by_the_inverse_square_root_of_their_number(balance, counts):
    weights = balance_weights(TrainingConfig("both", balance=balance), ROWS)
    expected = 1 / np.sqrt(counts)
    assert weights == pytest.approx(expected / expected.mean(), rel=1e-5)
    assert weights.dtype == np.float32
    assert weights.mean() == pytest.approx(1, abs=1e-6)


def test_without_balance_there_are_no_weights():
    assert balance_weights(TrainingConfig("both"), ROWS) is None


def test_a_missing_gender_is_a_class_of_its_own():
    weights = balance_weights(TrainingConfig("age", balance="both"), table([30, 30, 30], [0, 0, np.nan]))
    assert np.isfinite(weights).all()
    assert weights[2] == pytest.approx(weights[0] * np.sqrt(2))
