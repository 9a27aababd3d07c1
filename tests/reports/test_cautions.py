from __future__ import annotations

import numpy as np
import pytest

from agegender.faces import Face
from agegender.prediction import AgeEstimate, GenderEstimate, Prediction
from agegender.reports.cautions import cautions

CARD = {
    "groups": {
        "children": {"gender": {"accuracy": {"value": 0.83}}},
        "teenagers": {"age": {"bias": {"value": 0.4}}},
    },
    "sets": {
        "a": {"groups": {"children": {"gender": {"accuracy": {"value": 0.764}}}}},
        "b": {
            "groups": {
                "teenagers": {"age": {"bias": {"value": 3.6}, "mae": {"value": 6.0}}},
                "children": {"n": 3},
            }
        },
    },
}


def face(years: float, low: float) -> Prediction:
    found = Face((0, 0, 9, 9), 0.99, ((1, 1),) * 5)
    age = AgeEstimate(years, low, years + 8, 0.9)
    return Prediction(found, np.zeros((2, 2, 3), np.uint8), age, GenderEstimate(0.9, False))


@pytest.mark.parametrize(
    ("years", "low", "expected"),
    [
        (5, 3, ["76 in 100"]),
        (31, 22, []),
        (24, 17, ["4 years older"]),
        (9, 7, ["76 in 100"]),
        (15, 9, ["4 years older"]),
    ],
)
def test_a_face_is_told_the_worst_that_was_measured_of_its_kind(years, low, expected):
    found = cautions(CARD, [face(40, 30), face(years, low)])
    assert len(found) == len(expected)
    assert all(words in sentence for words, sentence in zip(expected, found, strict=True))


def test_what_was_not_measured_is_not_claimed():
    assert cautions({}, [face(5, 3), face(20, 15)]) == []
    slight = {"groups": {"teenagers": {"age": {"bias": {"value": 0.4}}}}}
    assert cautions(slight, [face(20, 15)]) == []
