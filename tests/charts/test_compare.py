from __future__ import annotations

import numpy as np
import pytest

from agegender import charts
from agegender.charts.compare import MAX_SYSTEMS
from agegender.labels import AGE_BAND_NAMES
from agegender.prediction import AgeEstimate
from tests.conftest import assert_rules_of_figures

ORDER = ["good", "small", "rival"]


def entry(name: str, mae: float, accuracy: float, megabytes: float | None = 10.0) -> dict:
    def group(n: int, offset: float) -> dict:
        value, share = mae + offset, accuracy - offset / 100
        return {
            "n": n,
            "mae": value,
            "mae_interval": [value - 0.5, value + 0.7],
            "gender_accuracy": share,
            "gender_accuracy_interval": [share - 0.02, share + 0.01],
        }

    bins = [{"low": 0.5, "high": 0.6, "n": 4, "confidence": 0.55, "accuracy": 0.5}]
    return {
        "name": name,
        "megabytes": megabytes,
        "ms_per_face": 8.0,
        "parameters": 1e6,
        **group(100, 0.0),
        "by_band": {band: group(20, i / 2) for i, band in enumerate(AGE_BAND_NAMES)},
        "by_gender": {"male": group(50, 0.3), "female": group(50, -0.3)},
        "by_ethnicity": {"White": group(90, 0.1), "Others": {"n": 3, "mae": None, "gender_accuracy": None}},
        "reliability": bins,
        "ece": 0.015,
        "sets": {"fairface": group(40, 5.0), "appa-real": {"n": 9, "gender_accuracy": None}},
    }


@pytest.fixture
def entries() -> list[dict]:
    return [entry("good", 4.0, 0.94, 60.0), entry("small", 7.0, 0.88, 3.0)]


def trace(figure, name: str):
    return next(trace for trace in figure.data if trace.name == name)


def test_figures_keep_the_rules_of_all_figures(entries):
    figures = (
        charts.trade_off(entries, "mae", "megabytes", ORDER),
        charts.band_lines(entries, "gender_accuracy", ORDER),
        charts.group_points(entries, "mae", ORDER),
        charts.reliability_diagram(entries, ORDER),
        charts.set_lines(entries, ORDER),
        charts.range_confusion(np.eye(9, dtype=int)),
        charts.answer_ranges({"good": AgeEstimate(31.0, 26.0, 37.0, 0.9)}),
    )
    assert_rules_of_figures({str(place): figure for place, figure in enumerate(figures)})


def test_a_system_looks_the_same_in_every_figure_whoever_else_is_shown(entries):
    together = trace(charts.band_lines(entries, "mae", ORDER), "small")
    alone = trace(charts.trade_off(entries[1:], "mae", "megabytes", ORDER), "small")
    assert (together.marker.color, together.marker.symbol) == (alone.marker.color, alone.marker.symbol)


def test_as_many_systems_as_promised_can_be_told_apart():
    order = [f"system {i}" for i in range(MAX_SYSTEMS)]
    figure = charts.band_lines([entry(name, 5.0, 0.9) for name in order], "mae", order)
    looks = {(t.marker.color, t.marker.symbol) for t in figure.data}
    assert len(looks) == MAX_SYSTEMS
    more = [*order, "one more"]
    assert len(charts.band_lines([entry(name, 5.0, 0.9) for name in more], "mae", more).data) == len(more)


def test_a_long_name_takes_two_lines_of_the_legend_for_which_there_is_room():
    """Two names stand beside each other on a phone; one in brackets is too long for that."""
    names = ["good", "small", "small (own detector)", "a<b> (x)"]
    short, long = (
        charts.trade_off([entry(name, 5.0, 0.9) for name in some], "mae", "megabytes", some)
        for some in (["good", "small", "rival", "third"], names)
    )
    assert [found.name for found in long.data] == [
        "good",
        "small",
        "small<br>(own detector)",
        "a&lt;b&gt;<br>(x)",
    ]
    assert long.layout.height - short.layout.height == 2 * 20


def test_the_trade_off_has_intervals_and_names_the_best_and_the_cheapest(entries):
    figure = charts.trade_off(entries, "mae", "megabytes", ORDER)
    point = trace(figure, "good")
    assert (list(point.x), list(point.y)) == ([60.0], [4.0])
    assert (point.error_y.arrayminus[0], point.error_y.array[0]) == pytest.approx((0.5, 0.7))
    words = charts.description(figure)
    assert "Best is good with 4.00; small needs least and gets to 7.00." in words


def test_the_best_is_the_highest_accuracy(entries):
    entries[1]["gender_accuracy"] = 0.99
    words = charts.description(charts.trade_off(entries, "gender_accuracy", "megabytes", ORDER))
    assert "Best is small with 99.0 %, which also needs least." in words


def test_systems_without_a_cost_or_a_figure_are_left_out(entries):
    silent = entry("rival", 5.0, 0.9) | {"megabytes": None}
    figure = charts.trade_off([*entries, silent], "mae", "megabytes", ORDER)
    assert {t.name for t in figure.data} == {"good", "small"}
    assert charts.trade_off([silent], "mae", "megabytes", ORDER).data == ()


def test_a_rival_without_intervals_has_a_bare_point():
    bare = {"name": "rival", "mae": 5.0, "megabytes": 2.0}
    error = charts.trade_off([bare], "mae", "megabytes", ORDER).data[0].error_y
    assert (error.array[0], error.arrayminus[0]) == (0.0, 0.0)


def test_bands_are_in_their_order_and_gaps_stay_gaps(entries):
    del entries[0]["by_band"]["5-9"]
    figure = charts.band_lines(entries[:1], "mae", ORDER)
    line = trace(figure, "good")
    assert list(line.x) == [name.replace("-", "–") for name in AGE_BAND_NAMES]
    assert line.y[1] is None and line.y[0] == 4.0
    assert "good: best at 0–4 (4.00), worst at 76+ (8.00)." in charts.description(figure)


def test_the_worst_band_for_gender_is_the_lowest(entries):
    words = charts.description(charts.band_lines(entries[:1], "gender_accuracy", ORDER))
    assert "best at 0–4 (94.0 %), worst at 76+ (90.0 %)" in words


def test_groups_too_small_for_figures_are_left_out(entries):
    figure = charts.group_points(entries, "mae", ORDER)
    assert list(trace(figure, "good").y) == ["male", "female", "White"]
    assert "good: from 3.70 (female) to 4.30 (male)." in charts.description(figure)
    assert figure.layout.height > charts.group_points(entries[:1], "mae", ORDER).layout.height


def test_accuracies_of_groups_fill_the_figure(entries):
    low, high = charts.group_points(entries, "gender_accuracy", ORDER).layout.xaxis.range
    assert 0.8 < low < 0.88 and 0.94 < high < 1.0
    assert charts.group_points(entries, "mae", ORDER).layout.xaxis.rangemode == "tozero"


def test_one_system_alone_is_not_called_the_best(entries):
    assert "Best" not in charts.description(charts.trade_off(entries[:1], "mae", "megabytes", ORDER))


def test_reliability_stands_beside_the_diagonal(entries):
    entries[1]["reliability"] = []
    figure = charts.reliability_diagram(entries, ORDER)
    assert list(figure.data[0].x) == list(figure.data[0].y) == [0.5, 1]
    assert [t.name for t in figure.data[1:]] == ["good"]
    assert "good: off by 1.5 points on average." in charts.description(figure)


def test_confusion_is_by_row_with_counts_under_the_pointer():
    counts = np.eye(9, dtype=int) * 6
    counts[4, 5], counts[8] = 4, 0
    figure = charts.range_confusion(counts)
    heat = figure.data[0]
    assert heat.z[4][4] == pytest.approx(0.6) and heat.z[4][5] == pytest.approx(0.4)
    assert list(heat.customdata[4][5]) == [4, 10]
    assert not np.isnan(np.asarray(heat.z)).any()  # a range without faces is empty, not undefined
    words = charts.description(figure)
    assert "92.3 % of all faces, and 100.0 % at most one range off" in words
    assert "Most often mistaken: 26–35 for 36–45, 40 % of them." in words


def test_an_empty_confusion_is_said():
    assert charts.description(charts.range_confusion(np.zeros((9, 9)))) == "No face was measured."


def test_a_confusion_of_another_shape_is_refused():
    with pytest.raises(ValueError, match=r"\(9, 9\)"):
        charts.range_confusion(np.zeros((8, 9)))


def test_answers_lie_in_their_intervals():
    answers = {"good": AgeEstimate(31.0, 26.0, 37.0, 0.9), "small": AgeEstimate(88.0, 70.0, 110.0, 0.9)}
    figure = charts.answer_ranges(answers)
    bars, marks, numbers = figure.data
    assert list(bars.base) == [26.0, 70.0] and list(bars.x) == [11.0, 40.0]
    assert list(marks.x) == [31.0, 88.0] and list(numbers.text) == ["31", "88"]
    assert figure.layout.xaxis.range[1] == 110
    assert "good 31 (26–37), small 88 (70–110)" in charts.description(figure)


def test_other_sources_stand_beside_the_test_split_and_gaps_stay_gaps(entries):
    entries[1]["sets"] = {}
    figure = charts.set_lines(entries, ORDER)
    [line] = figure.data
    assert list(line.x) == ["UTKFace test", "FairFace", "APPA-REAL"]
    assert line.y[0] == 0.94 and line.y[1] == pytest.approx(0.89) and line.y[2] is None
    assert line.error_y.arrayminus[1] == pytest.approx(0.02)
    assert "good: from 94.0 % to 89.0 %." in charts.description(figure)
