from __future__ import annotations

from xml.etree import ElementTree

import numpy as np
import pytest

from agegender import charts
from agegender.charts.style import BLUE, GENDER_COLORS, GREY, VERMILLION
from agegender.labels import MAX_AGE
from agegender.prediction import AgeEstimate, GenderEstimate


def age_estimate(years: float = 31.2, low: float = 26.0, high: float = 37.1) -> AgeEstimate:
    distribution = np.exp(-0.5 * ((np.arange(MAX_AGE + 1) - years) / 4) ** 2)
    return AgeEstimate(years, low, high, 0.9, (distribution / distribution.sum()).astype(np.float32))


def shapes(drawing: charts.Drawing, tag: str, color: str) -> list[ElementTree.Element]:
    root = ElementTree.fromstring(drawing.svg)
    return [e for e in root.iter() if e.tag.endswith(tag) and e.get("fill") == color]


def test_a_drawing_marks_interval_and_estimate_on_an_axis_that_faces_share():
    drawing = charts.draw_answer(age_estimate(), None)
    (inside,), (outside,) = shapes(drawing, "path", BLUE), shapes(drawing, "path", GREY)
    bars = [len(path.get("d", "").split("M")) - 1 for path in (inside, outside)]
    assert bars[0] == len(range(26, 39))
    assert 0 < bars[1] < 30  # the others are too low to be seen
    (line,) = shapes(drawing, "rect", VERMILLION)
    (interval,) = shapes(drawing, "rect", BLUE)
    left, right = (float(interval.get("x")) + at * float(interval.get("width")) for at in (0, 1))
    middle = float(line.get("x")) + 1.5
    assert (middle - left) / (right - left) == pytest.approx((31.2 - 26) / (37.1 - 26), abs=0.02)
    assert drawing.words == "Looks about 31; the shaded interval goes from 26 to 37 years."
    numbers = [e.text for e in ElementTree.fromstring(drawing.svg).iter() if e.tag.endswith("text")]
    assert numbers == ["0", "20", "40", "60", "80", "100"]
    old = charts.draw_answer(age_estimate(98, 88, 127.6), None)
    assert "120" in [e.text for e in ElementTree.fromstring(old.svg).iter()]


def test_without_a_distribution_the_interval_is_drawn():
    drawing = charts.draw_answer(AgeEstimate(31.2, 26.0, 37.1, 0.9), None)
    assert not shapes(drawing, "path", BLUE)
    assert len(shapes(drawing, "rect", BLUE)) == len(shapes(drawing, "rect", VERMILLION)) == 1


@pytest.mark.parametrize(
    ("estimate", "share", "sentence"),
    [
        (GenderEstimate("female", 0.97), 0.97, "Perceived gender: female 97 %, male 3 %."),
        (GenderEstimate("male", 0.8), 0.8, "Perceived gender: female 20 %, male 80 %."),
        (
            GenderEstimate("male", 0.55, uncertain=True),
            None,
            "Perceived gender: female 45 %, male 55 %, too close to call.",
        ),
        (GenderEstimate("male", 0.9999), 0.9999, "Perceived gender: female <1 %, male >99 %."),
    ],
)
def test_the_likelier_gender_is_coloured_by_its_share(estimate, share, sentence):
    drawing = charts.draw_answer(None, estimate, ink="#123456")
    colored = {label: shapes(drawing, "rect", color) for label, color in GENDER_COLORS.items()}
    assert [label for label, found in colored.items() if found] == ([estimate.label] if share else [])
    if share:
        (bar,) = colored[estimate.label]
        assert float(bar.get("width")) / 320 == pytest.approx(share, abs=0.001)
    assert drawing.words == sentence
    assert ElementTree.fromstring(drawing.svg).get("fill") == "#123456"
