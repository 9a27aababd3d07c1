from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from agegender import charts
from agegender.charts.style import BLUE, GREY
from agegender.labels import MAX_AGE
from agegender.prediction import AgeEstimate, GenderEstimate


def age_estimate(years: float = 31.2, low: float = 26.0, high: float = 37.1) -> AgeEstimate:
    distribution = np.exp(-0.5 * ((np.arange(MAX_AGE + 1) - years) / 4) ** 2)
    return AgeEstimate(years, low, high, 0.9, (distribution / distribution.sum()).astype(np.float32))


@pytest.fixture
def table() -> pd.DataFrame:
    return pd.DataFrame(
        {"age": [1, 1, 25, 25, 116], "gender": [0, 1, 1, 1, 0], "ethnicity": [0, 0, 3, 4, -1]}
    )


def all_figures(table: pd.DataFrame) -> dict:
    return {
        "age": charts.age_chart(age_estimate()),
        "interval": charts.age_chart(AgeEstimate(31.2, 26.0, 37.1, 0.9)),
        "gender": charts.gender_gauge(GenderEstimate("male", 0.8)),
        "ages": charts.age_histogram(table),
        "genders": charts.gender_balance(table),
        "ethnicities": charts.ethnicity_balance(table),
        "boxes": charts.ages_by_ethnicity(table),
    }


def test_figures_take_on_the_theme_and_leave_scrolling_alone(table):
    for name, figure in all_figures(table).items():
        layout = json.loads(figure.to_json())["layout"]
        assert layout["paper_bgcolor"] == layout["plot_bgcolor"] == "rgba(0,0,0,0)", name
        assert "color" not in layout.get("font", {}), name
        assert layout["dragmode"] is False, name
        assert layout["xaxis"]["fixedrange"] and layout["yaxis"]["fixedrange"], name


def test_every_figure_has_its_words(table):
    sentences = [charts.description(figure) for figure in all_figures(table).values()]
    assert all(sentence.endswith(".") and len(sentence) > 10 for sentence in sentences)
    assert len(set(sentences)) == len(sentences) - 1  # both age charts say the same of the same age


def test_age_distribution_marks_the_interval():
    figure = charts.age_chart(age_estimate())
    inside, outside = figure.data
    assert list(inside.x) == list(range(26, 39))
    assert sorted([*inside.x, *outside.x]) == list(range(MAX_AGE + 1))
    assert sum(inside.y) + sum(outside.y) == pytest.approx(1)
    assert (inside.marker.color, outside.marker.color) == (BLUE, GREY)
    assert charts.description(figure) == "Looks about 31; the shaded interval goes from 26 to 37 years."


def test_faces_share_the_axis_unless_one_is_older():
    assert charts.age_chart(age_estimate()).layout.xaxis.range == (-0.5, 100.5)
    assert charts.age_chart(age_estimate(98, 88, 107.6)).layout.xaxis.range == (-0.5, 108.5)


def test_without_a_distribution_the_interval_is_drawn():
    figure = charts.age_chart(AgeEstimate(31.2, 26.0, 37.1, 0.9))
    assert all(trace.type != "bar" for trace in figure.data)
    lines = [(shape.x0, shape.x1) for shape in figure.layout.shapes]
    assert (26.0, 37.1) in lines
    assert (31.2, 31.2) in lines


@pytest.mark.parametrize(
    ("estimate", "widths", "sentence"),
    [
        (GenderEstimate("female", 0.97), (0.97, 0.03), "Perceived gender: female 97 %, male 3 %."),
        (GenderEstimate("male", 0.8), (0.2, 0.8), "Perceived gender: female 20 %, male 80 %."),
        (
            GenderEstimate("male", 0.55, uncertain=True),
            (0.45, 0.55),
            "Perceived gender: female 45 %, male 55 %, too close to call.",
        ),
        (GenderEstimate("male", 0.9999), (0.0001, 0.9999), "Perceived gender: female <1 %, male >99 %."),
    ],
)
def test_gender_gauge(estimate, widths, sentence):
    figure = charts.gender_gauge(estimate)
    assert [trace.name for trace in figure.data] == ["female", "male"]
    assert tuple(trace.x[0] for trace in figure.data) == pytest.approx(widths)
    assert charts.description(figure) == sentence
    colored = [trace.name for trace in figure.data if trace.marker.color.startswith("#")]
    assert colored == ([] if estimate.uncertain else [estimate.label])
    texts = [annotation.text for annotation in figure.layout.annotations]
    assert not any("<" in text or ">" in text for text in texts)  # Plotly would take them for tags


def test_age_histogram_counts_every_year(table):
    male, female = charts.age_histogram(table).data
    assert (male.name, female.name) == ("male", "female")
    assert male.y[1] == 1
    assert male.y[116] == 1
    assert female.y[25] == 2
    assert sum(male.y) + sum(female.y) == len(table)


def test_balance_counts_and_keeps_what_is_not_given(table):
    bar = charts.ethnicity_balance(table).data[0]
    assert list(bar.y) == ["White", "Black", "Asian", "Indian", "Others", "not given"]
    assert list(bar.x) == [2, 0, 0, 1, 1, 1]
    assert bar.text[0] == "2 (40%)"
    bar = charts.gender_balance(table).data[0]
    assert list(bar.y) == ["male", "female"]
    assert list(bar.x) == [2, 3]


def test_boxes_hold_the_quantiles_of_the_codes_that_occur():
    ages = np.arange(101)
    table = pd.DataFrame({"age": ages, "ethnicity": np.where(ages == 100, 4, 2)})
    asian, others = charts.ages_by_ethnicity(table).data
    assert asian.y == ("Asian",)
    assert asian.median[0] == pytest.approx(49.5)
    assert asian.lowerfence[0] == pytest.approx(4.95)
    assert others.median[0] == 100
