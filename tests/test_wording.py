"""The words shown to people."""

import numpy as np
import pytest

from agegender.faces.face import Face
from agegender.prediction import AgeEstimate, GenderEstimate, Prediction
from agegender.wording import describe, say_age, say_duration, say_gender, say_probability, short_label


def make_prediction(age=None, gender=None, warnings=()):
    face = Face(box=(0, 0, 10, 10), confidence=0.9, landmarks=((0, 0),) * 5)
    return Prediction(face, np.zeros((200, 200, 3), np.uint8), age, gender, warnings)


@pytest.mark.parametrize(
    ("years", "low", "high", "words"),
    [
        (31.2, 26.0, 37.1, "looks about 31 (26–37)"),
        (30.5, 26.5, 36.4, "looks about 31 (27–36)"),  # half rounds up, not to even
        (1.2, 0.1, 3.3, "looks about 1 (0–3)"),
        (0.2, 0.0, 2.6, "looks about 1 (0–3)"),
        (0.2, 0.0, 0.3, "looks about 1 (0–1)"),  # the shown age lies in the shown interval
        (0.6, -1.4, 2.0, "looks about 1 (0–2)"),  # nobody is younger than 0
        (40.1, 39.9, 40.3, "looks about 40"),
        (80.0, float("nan"), float("nan"), "looks about 80"),
        (float("nan"), 20.0, 30.0, "age: can't tell"),
    ],
)
def test_say_age(years, low, high, words):
    assert say_age(AgeEstimate(years, low, high, coverage=0.9)) == words


@pytest.mark.parametrize(
    ("label", "probability", "uncertain", "words"),
    [
        ("female", 0.97, False, "perceived female, 97 %"),
        ("male", 0.994, False, "perceived male, 99 %"),
        ("male", 0.996, False, "perceived male, >99 %"),
        ("male", 1.0, False, "perceived male, >99 %"),
        ("female", 0.55, True, "gender: can't tell (female 55 %)"),
    ],
)
def test_say_gender(label, probability, uncertain, words):
    assert say_gender(GenderEstimate(label, probability, uncertain)) == words


def test_no_probability_is_shown_as_certain():
    shown = {say_probability(p) for p in np.linspace(0, 1, 2001)}
    assert {"<1 %", "1 %", "50 %", "99 %", ">99 %"} <= shown
    assert not shown & {"0 %", "100 %"}


def test_say_probability_of_nothing():
    assert say_probability(float("nan")) == "? %"


AGE = AgeEstimate(31.2, 26.0, 37.1, 0.9)


@pytest.mark.parametrize(
    ("age", "gender", "label"),
    [
        (AGE, GenderEstimate("female", 0.97), "31 · female"),
        (AGE, GenderEstimate("female", 0.55, uncertain=True), "31 · ?"),
        (AGE, None, "31"),
        (None, GenderEstimate("male", 0.9), "male"),
        (None, None, ""),
        (AgeEstimate(float("nan"), 0, 1, 0.9), None, "?"),
    ],
)
def test_short_label(age, gender, label):
    assert short_label(make_prediction(age, gender)) == label


def test_describe_says_everything_on_one_line():
    prediction = make_prediction(AGE, GenderEstimate("female", 0.97), ("small face", "extreme pose"))
    assert describe(prediction) == (
        "looks about 31 (26–37); perceived female, 97 %; warning: small face, extreme pose"
    )


def test_describe_leaves_out_what_is_not_predicted():
    assert describe(make_prediction(AGE)) == "looks about 31 (26–37)"


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (3, "less than a minute"),
        (60, "1 minute"),
        (3540, "59 minutes"),
        (3599, "1 h 0 min"),
        (7500, "2 h 5 min"),
    ],
)
def test_durations(seconds, words):
    assert say_duration(seconds) == words
