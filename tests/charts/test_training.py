from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from agegender import charts
from agegender.charts.training import smooth
from tests.conftest import assert_rules_of_figures


def history(val_mae, *, stages: tuple[int, ...] = (), seconds: float = 1800.0) -> pd.DataFrame:
    """A history of so many epochs; ``stages`` are the epochs that begin stages after the first."""
    epochs = np.arange(1, len(val_mae) + 1)
    values = pd.Series(val_mae, dtype="float64")
    return pd.DataFrame(
        {
            "stage": [f"stage{sum(epoch >= begin for begin in stages)}" for epoch in epochs],
            "epoch": epochs,
            "seconds": seconds,
            "learning_rate": 1e-4 / epochs,
            "loss": 2.0 / epochs,
            "val_loss": 2.5 / epochs,
            "mae": values - 0.5,
            "val_mae": values,
            "accuracy": 1 - values / 10,
            "val_accuracy": 1 - values / 10,
        }
    )


def lines(figure) -> dict:
    """The traces by name, without the stars, circles and faint lines."""
    return {trace.name: trace for trace in figure.data if trace.name and trace.hoverinfo != "skip"}


def stars(figure) -> list:
    return [trace for trace in figure.data if trace.marker.symbol == "star"]


def circles(figure) -> list:
    return [
        trace for trace in figure.data if trace.marker.symbol == "circle-open" and trace.marker.size == 13
    ]


def all_figures() -> dict:
    runs = {"first": history([6.0, 5.0, 5.5], stages=(2,)), "second": history([7.0])}
    return {
        "mae": charts.training_curve(runs, "mae"),
        "smooth": charts.training_curve(runs, "accuracy", smoothing=0.5, axis="hours", zoom=True),
        "alone": charts.training_curve({"first": runs["first"]}, "loss"),
        "rate": charts.learning_rate_curve(runs),
        "time": charts.epoch_time_curve(runs, axis="hours"),
    }


def test_figures_keep_the_rules_of_all_figures():
    assert_rules_of_figures(all_figures())


def test_training_is_dotted_validation_solid_and_the_best_starred():
    figure = charts.training_curve({"run": history([6.0, 5.0, 5.5])}, "mae")
    assert list(lines(figure)) == ["training", "validation"]
    training, validation = lines(figure).values()
    assert (training.line.dash, validation.line.dash) == ("dot", "solid")
    assert list(validation.y) == [6.0, 5.0, 5.5]
    [star] = stars(figure)
    assert (star.x[0], star.y[0]) == (2, 5.0)
    assert "Best 5.00 at epoch 2 of 3." in charts.description(figure)


def test_accuracy_is_best_when_high():
    figure = charts.training_curve({"run": history([6.0, 5.0, 5.5])}, "accuracy")
    [star] = stars(figure)
    assert (star.x[0], star.y[0]) == (2, 0.5)
    assert "Best 50.0% at epoch 2 of 3." in charts.description(figure)


def test_a_run_without_validation_has_no_star():
    figure = charts.training_curve({"run": history([None, None])}, "mae")
    assert stars(figure) == []
    assert "est" not in charts.description(figure).replace("best starred", "")


def test_runs_differ_in_colour_and_in_symbol_up_to_the_limit():
    runs = {f"run {number}": history([5.0, 4.0]) for number in range(charts.MAX_RUNS)}
    for figure in (charts.learning_rate_curve(runs), charts.epoch_time_curve(runs)):
        assert len({trace.line.color for trace in figure.data}) == charts.MAX_RUNS
        assert len({trace.marker.symbol for trace in figure.data}) == charts.MAX_RUNS
    runs["one more"] = history([5.0])
    with pytest.raises(ValueError, match="got 5"):
        charts.training_curve(runs, "mae")


def test_several_runs_have_one_entry_each_in_the_legend():
    runs = {"one <b>": history([5.0, 4.0]), "two": history([6.0, 5.0])}
    figure = charts.training_curve(runs, "mae", smoothing=0.3)
    shown = [trace for trace in figure.data if trace.showlegend is not False]
    assert [trace.name for trace in shown] == ["one &lt;b&gt;", "two"]
    assert {trace.legendgroup for trace in figure.data} == {"one <b>", "two"}
    assert "two: best 5.00 at epoch 2 of 2." in charts.description(figure)


@pytest.mark.parametrize(("epochs", "tick"), [(4, 1), (60, None)])
def test_ticks_stand_on_whole_epochs_only(epochs, tick):
    figure = charts.learning_rate_curve({"run": history([5.0] * epochs)})
    assert figure.layout.xaxis.dtick == tick


def test_hours_add_up_epoch_by_epoch():
    run = history([6.0, 5.0, 5.5, 5.4], seconds=1800)
    run.loc[1, "seconds"] = np.nan  # an epoch whose time was not kept took as long as the others
    figure = charts.training_curve({"run": run}, "mae", axis="hours")
    assert list(lines(figure)["validation"].x) == [0.5, 1.0, 1.5, 2.0]
    assert stars(figure)[0].x[0] == 1.0
    assert figure.layout.xaxis.title.text == "hours of training"


def test_epochs_are_drawn_in_order():
    figure = charts.learning_rate_curve({"run": history([6.0, 5.0, 5.5]).iloc[::-1]})
    assert list(figure.data[0].x) == [1, 2, 3]


def test_time_is_in_minutes():
    figure = charts.epoch_time_curve({"run": history([6.0, 5.0, 5.5], seconds=90)})
    assert list(figure.data[0].y) == [1.5, 1.5, 1.5]
    assert "Usually 1.5, 4 in all." in charts.description(figure)


def test_stages_are_shaded_in_turn_and_named():
    figure = charts.training_curve({"run": history([6, 5, 4.5, 4.4, 4.3, 4.2], stages=(2, 5))}, "mae")
    assert [(shape.x0, shape.x1) for shape in figure.layout.shapes] == [(0.5, 1.5), (4.5, 6.5)]
    names = {note.text: note.x for note in figure.layout.annotations}
    assert names == {"stage0": 1.0, "stage1": 3.0, "stage2": 5.5}
    assert charts.description(figure).endswith("Stages: stage0 1, stage1 2–4, stage2 5–6.")
    assert circles(figure) == []


def test_stages_over_hours_end_with_their_last_epoch():
    figure = charts.learning_rate_curve({"run": history([6, 5, 4, 4], stages=(2,))}, axis="hours")
    assert [(shape.x0, shape.x1) for shape in figure.layout.shapes] == [(0.0, 0.5)]
    assert "stage0 until 0.50 h, stage1 until 2.00 h" in charts.description(figure)


def test_narrow_stages_are_named_in_words_alone():
    figure = charts.training_curve({"run": history([5.0] * 60, stages=(2,))}, "mae")
    assert [note.text for note in figure.layout.annotations] == ["stage1"]
    assert "stage0 1, stage1 2–60" in charts.description(figure)


def test_one_stage_alone_is_not_shaded():
    figure = charts.training_curve({"run": history([5.0, 4.0])}, "mae")
    assert figure.layout.shapes == ()
    assert "tage" not in charts.description(figure)


@pytest.mark.parametrize("shorter", [1, 2, 4, 5])
def test_runs_of_the_same_plan_share_their_shading(shorter):
    runs = {
        "growing": history([5.0] * shorter, stages=(3,)),
        "over": history([5, 4.9, 4.8, 4.7, 4.6], stages=(3,)),
    }
    figure = charts.training_curve(runs, "mae")
    assert [(shape.x0, shape.x1) for shape in figure.layout.shapes] == [(0.5, 2.5)]
    assert circles(figure) == []


def test_runs_of_other_plans_have_their_stages_marked_on_the_line():
    runs = {"one": history([5, 4.9, 4.8, 4.7], stages=(2,)), "two": history([6, 5.9, 5.8, 5.7], stages=(3,))}
    figure = charts.training_curve(runs, "mae")
    assert figure.layout.shapes == ()
    assert [(list(trace.x), list(trace.y)) for trace in circles(figure)] == [([2], [4.9]), ([3], [5.8])]
    assert "hollow circle" in charts.description(figure)


def test_smoothing_leaves_the_star_and_keeps_what_was_measured():
    run = history([6.0, 4.0, 5.5, 5.0])
    figure = charts.training_curve({"run": run}, "mae", smoothing=0.6)
    assert stars(figure)[0].y[0] == 4.0
    faint = [trace for trace in figure.data if trace.opacity == 0.3]
    assert [list(trace.y) for trace in faint] == [[5.5, 3.5, 5.0, 4.5], [6.0, 4.0, 5.5, 5.0]]
    assert list(lines(figure)["validation"].y) == pytest.approx(smooth(run["val_mae"].to_numpy(), 0.6))
    assert "Smoothed by 0.6" in charts.description(figure)


def test_smoothing_is_tensorboards():
    values = np.array([1.0, 2.0, 3.0])
    # By hand at weight 0.5: m = 0.5, 1.25, 2.125; divided by 0.5, 0.75, 0.875.
    assert smooth(values, 0.5) == pytest.approx([1.0, 5 / 3, 17 / 7])
    assert smooth(values, 0.0) == pytest.approx(values)
    assert smooth(np.full(20, 4.2), 0.95) == pytest.approx(np.full(20, 4.2))  # no pull towards zero
    assert list(values) == [1.0, 2.0, 3.0]


def test_smoothing_steps_over_what_is_missing():
    smoothed = smooth(np.array([1.0, np.nan, 2.0]), 0.5)
    assert np.isnan(smoothed[1])
    assert smoothed[[0, 2]] == pytest.approx([1.0, 5 / 3])


@pytest.mark.parametrize("weight", [-0.1, 1.0, float("nan")])
def test_smoothing_by_nonsense_is_refused(weight):
    with pytest.raises(ValueError, match="smoothing"):
        smooth(np.ones(3), weight)


def test_zoom_leaves_out_a_steep_start():
    steep = history([19.0, 10.0, 6.1, 5.1, 4.8, 4.7, 4.6, 4.5])
    figure = charts.training_curve({"run": steep}, "mae", zoom=True)
    low, high = figure.layout.yaxis.range
    assert low < 4.0 and 6.1 < high < 7.0  # the training figures of these epochs lie 0.5 below
    assert "steep start lies outside" in charts.description(figure)
    assert charts.training_curve({"run": steep}, "mae").layout.yaxis.range is None


@pytest.mark.parametrize("values", [[19.0, 10.0, 6.1, 5.0], [5.0, 4.9, 4.8, 4.7, 4.6, 4.5, 4.4], [5.0] * 8])
def test_zoom_leaves_short_and_even_curves_whole(values):
    figure = charts.training_curve({"run": history(values)}, "mae", zoom=True)
    assert figure.layout.yaxis.range is None
    assert "outside" not in charts.description(figure)


def test_zoom_on_accuracy_leaves_out_what_lies_below():
    figure = charts.training_curve({"run": history([9.0, 3.0, 2, 1.5, 1.4, 1.3, 1.2])}, "accuracy", zoom=True)
    low, high = figure.layout.yaxis.range
    assert low > 0.6
    assert high > 0.88


@pytest.mark.parametrize("axis", ["epochs", "hours"])
def test_empty_histories_are_drawn_empty(axis):
    full = history([5.0, 4.0], stages=(2,))
    for runs in ({}, {"run": history([])}, {"run": history([]), "more": full}):
        charts.training_curve(runs, "mae", axis=axis, smoothing=0.5, zoom=True)
        charts.epoch_time_curve(runs, axis=axis)


def test_a_single_epoch_is_seen():
    figure = charts.training_curve({"run": history([5.0])}, "mae")
    assert {trace.mode for trace in figure.data} == {"markers"}
