"""Figures about training runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray

from agegender.charts.style import BLUE, GREEN, PURPLE, VERMILLION, escape, make_figure
from agegender.runs.reading import HIGHER_IS_BETTER, Quantity, best_epoch

if TYPE_CHECKING:
    import pandas as pd

Axis = Literal["epochs", "hours"]
AXES: Final[tuple[Axis, ...]] = ("epochs", "hours")

_RUN_STYLES: Final = (
    (BLUE, "circle"),
    (VERMILLION, "square"),
    (GREEN, "diamond"),
    (PURPLE, "triangle-up"),
)

MAX_RUNS: Final = len(_RUN_STYLES)
"""How many runs one figure can tell apart."""

_HEIGHT: Final = 340  # pixels, and more for each line of a legend of several runs
_FEW_EPOCHS: Final = 12
_MARKED_EPOCHS: Final = 30  # markers on longer curves would run into one another
_CLIPPED_EPOCHS: Final = 6  # shorter curves are shown whole
_LETTER_SHARE: Final = 0.022  # of the figure's width on a phone
_STAGE_FILL: Final = "rgba(128,128,128,0.13)"

_SILENT: Final = {"showlegend": False, "hoverinfo": "skip"}

_TITLES: Final[dict[Quantity, str]] = {
    "loss": "loss",
    "mae": "mean absolute error (years)",
    "accuracy": "accuracy",
    "range_accuracy": "accuracy of the age range",
}
_FORMATS: Final[dict[Quantity, str]] = {
    "loss": ".4g",
    "mae": ".2f",
    "accuracy": ".1%",
    "range_accuracy": ".1%",
}


@dataclass(frozen=True, eq=False)
class _Run:
    """One run's curve, ready to draw.

    Attributes:
        name: For the legend.
        history: In the order of its epochs.
        x: Where each epoch stands: its number, or the hours of training at its end; float64.
        color: The run's own.
        symbol: The run's own, for those who cannot tell the colours apart.
    """

    name: str
    history: pd.DataFrame
    x: NDArray[np.float64]
    color: str
    symbol: str


def training_curve(
    histories: Mapping[str, pd.DataFrame],
    quantity: Quantity,
    *,
    axis: Axis = "epochs",
    smoothing: float = 0.0,
    zoom: bool = False,
) -> go.Figure:
    """Draws one quantity over the epochs, training against validation.

    Args:
        histories: Each run's name and the history of one network, at most `MAX_RUNS` tables with the columns
            ``epoch``, ``stage``, ``seconds``, ``quantity`` and ``val_<quantity>``.
        quantity: Which one: "loss", "mae" in years, or an accuracy from 0 to 1.
        axis: Whether the epochs stand at their number or at the hours of training until their end.
        smoothing: See `smooth`; the unsmoothed curve stays visible behind, faint.
        zoom: Lets a steep start run out of the figure, so that the later epochs can be told apart.

    Returns:
        One colour and symbol a run, training dotted and validation solid, a star on the best validation
        epoch, which smoothing does not move. Stages are shaded where all runs share them, and otherwise begin
        at a hollow circle.

    Raises:
        ValueError: More runs than `MAX_RUNS`.
    """
    title, held_out, form = _TITLES[quantity], f"val_{quantity}", _FORMATS[quantity]
    runs = _prepare(histories, axis)
    shared = _shared_stages(runs, axis) is not None
    traces, marks = [], []
    sentences = [f"{title.capitalize()}: training dotted, validation solid, best starred."]
    for run in runs:
        names = ("training", "validation") if len(runs) == 1 else (f"{run.name}, training", run.name)
        training = _line(run, quantity, names[0], form=form, dash="dot", smoothing=smoothing)
        validation = _line(run, held_out, names[1], form=form, smoothing=smoothing)
        if smoothing > 0:
            traces += [_faint(run, quantity, dash="dot"), _faint(run, held_out)]
        traces += [training | {"showlegend": len(runs) == 1}, validation]
        best = best_epoch(run.history, quantity)
        if best is not None:
            row = int(np.argmax(run.history["epoch"].to_numpy() == best))
            value = float(run.history[held_out].iloc[row])
            marks.append(_star(run, run.x[row], value))
            last = int(run.history["epoch"].max())
            sentences.append(f"{_lead(runs, run, 'best')} {value:{form}} at epoch {best} of {last}.")
        if not shared:
            marks.append(_stage_marks(run, axis, validation))
    if not shared:
        sentences.append("A hollow circle: a new stage begins.")
    traces += marks
    if smoothing > 0:
        sentences.append(f"Smoothed by {smoothing:g}, the measured figures faint behind.")
    yaxis: dict[str, Any] = {"title": {"text": title}}
    if quantity in HIGHER_IS_BETTER:
        yaxis["tickformat"] = ".1~%"  # 56 %, and 55.5 % where ticks are close
    span = _late_range(runs, quantity) if zoom else None
    if span is not None:
        yaxis["range"] = span
        sentences.append("The steep start lies outside the figure.")
    return _over(axis, runs, traces, sentences, yaxis)


def learning_rate_curve(histories: Mapping[str, pd.DataFrame], *, axis: Axis = "epochs") -> go.Figure:
    """Draws the learning rate at the end of each epoch.

    Args:
        histories: As for `training_curve`, with the column ``learning_rate``.
        axis: As for `training_curve`.

    Returns:
        One line a run.

    Raises:
        ValueError: More runs than `MAX_RUNS`.
    """
    runs = _prepare(histories, axis)
    traces = [_line(run, "learning_rate", run.name, form=".2e") for run in runs]
    yaxis = {"title": {"text": "learning rate"}, "tickformat": ".1e", "rangemode": "tozero"}
    return _over(axis, runs, traces, ["Learning rate at the end of each epoch."], yaxis)


def epoch_time_curve(histories: Mapping[str, pd.DataFrame], *, axis: Axis = "epochs") -> go.Figure:
    """Draws how long each epoch took, validation included.

    Args:
        histories: As for `training_curve`, with the column ``seconds``.
        axis: As for `training_curve`.

    Returns:
        One line a run, in minutes.

    Raises:
        ValueError: More runs than `MAX_RUNS`.
    """
    runs = _prepare(histories, axis)
    sentences = ["Minutes an epoch took, validation included."]
    for run in runs:
        minutes = run.history["seconds"].dropna() / 60
        if len(minutes):
            usual, total = f"{minutes.median():.1f}", f"{minutes.sum():.0f}"
            sentences.append(f"{_lead(runs, run, 'usually')} {usual}, {total} in all.")
    traces = [_line(run, "seconds", run.name, form=".1f", scale=1 / 60) for run in runs]
    yaxis = {"title": {"text": "minutes"}, "rangemode": "tozero"}
    return _over(axis, runs, traces, sentences, yaxis)


def smooth(values: NDArray[np.float64], weight: float) -> NDArray[np.float64]:
    """Smooths a curve as TensorBoard does: an exponential moving average, freed of its start at zero.

    With ``m[0] = 0`` and ``m[t] = weight * m[t-1] + (1 - weight) * values[t]``, the result at step t, from 1,
    is ``m[t] / (1 - weight**t)``: the first value is kept, and no later one is drawn towards zero. Source:
    ``classicSmoothing`` in TensorBoard's ``line_chart_v2/data_transformer.ts``; the correction is that of
    Kingma and Ba, "Adam", 2015, section 3.

    Args:
        values: One figure an epoch; those that are not finite stay as they are and are stepped over.
        weight: Share of what came before, 0 (no smoothing) up to but not including 1.

    Returns:
        As many figures.

    Raises:
        ValueError: The weight is out of its range.
    """
    if not 0 <= weight < 1:
        raise ValueError(f"smoothing lies in [0, 1), not {weight}")
    smoothed, mean, steps = values.astype(np.float64), 0.0, 0
    for index, value in enumerate(values):
        if np.isfinite(value):
            steps += 1
            mean = weight * mean + (1 - weight) * float(value)
            smoothed[index] = mean / (1 - weight**steps)
    return smoothed


def _prepare(histories: Mapping[str, pd.DataFrame], axis: Axis) -> list[_Run]:
    if len(histories) > MAX_RUNS:
        raise ValueError(f"at most {MAX_RUNS} runs can be told apart in one figure, got {len(histories)}")
    runs = []
    for (name, history), (color, symbol) in zip(histories.items(), _RUN_STYLES, strict=False):
        rows = history.sort_values("epoch", kind="stable")
        if axis == "hours":  # an epoch whose time was not kept is taken to have been like the others
            seconds = rows["seconds"].to_numpy(dtype=np.float64)
            known = seconds[np.isfinite(seconds)]
            usual = float(np.median(known)) if len(known) else 0.0
            x = np.cumsum(np.where(np.isfinite(seconds), seconds, usual)) / 3600
        else:
            x = rows["epoch"].to_numpy(dtype=np.float64)
        runs.append(_Run(name, rows, x, color, symbol))
    return runs


def _lead(runs: list[_Run], run: _Run, word: str) -> str:
    """Begins a sentence about one run with a word, after the run's name where there are others."""
    return f"{run.name}: {word}" if len(runs) > 1 else word.capitalize()


def _line(
    run: _Run,
    column: str,
    name: str,
    *,
    form: str,
    dash: str = "solid",
    scale: float = 1.0,
    smoothing: float = 0.0,
) -> dict[str, Any]:
    values = run.history[column].to_numpy(dtype=np.float64) * scale
    drawn = np.isfinite(values)
    count = int(drawn.sum())
    solid = dash == "solid"
    # One epoch alone makes no line.
    mode = "markers" if count == 1 else "lines+markers" if solid and count <= _MARKED_EPOCHS else "lines"
    return {
        "type": "scatter",
        "x": run.x[drawn],
        "y": smooth(values[drawn], smoothing),
        "name": escape(name),
        "meta": run.name,
        "mode": mode,
        "line": {"color": run.color, "dash": dash, "width": 2},
        "marker": {"symbol": run.symbol if solid else f"{run.symbol}-open", "size": 6, "color": run.color},
        "hovertemplate": f"%{{y:{form}}}",
    }


def _faint(run: _Run, column: str, *, dash: str = "solid") -> dict[str, Any]:
    """What was measured, behind its smoothed curve."""
    line = _line(run, column, run.name, form="", dash=dash)
    return line | _SILENT | {"mode": "lines", "opacity": 0.3, "hovertemplate": None}


def _star(run: _Run, x: float, value: float) -> dict[str, Any]:
    marker = {"symbol": "star", "size": 14, "color": run.color, "line": {"width": 1, "color": "white"}}
    return _mark(run, [x], [value], marker)


def _mark(run: _Run, x: Any, y: Any, marker: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "scatter",
        "x": x,
        "y": y,
        "mode": "markers",
        "marker": marker,
        "meta": run.name,
        **_SILENT,
    }


def _late_range(runs: list[_Run], quantity: Quantity) -> list[float] | None:
    """The range of the axis that leaves out a steep start, or ``None`` where it would take up little room.

    A start is a quarter of a run's epochs; it takes much room when the axis would have to be half as long
    again for it.
    """
    every, late = [], []
    for run in runs:
        values = run.history[[quantity, f"val_{quantity}"]].to_numpy(dtype=np.float64)
        every.append(values.ravel())
        late.append(values[len(values) // 4 if len(values) >= _CLIPPED_EPOCHS else 0 :].ravel())
    shown, whole = (np.concatenate(parts) if parts else np.empty(0) for parts in (late, every))
    shown, whole = shown[np.isfinite(shown)], whole[np.isfinite(whole)]
    if not len(shown):
        return None
    low, high = float(shown.min()), float(shown.max())
    room = high - low
    beyond = low - whole.min() if quantity in HIGHER_IS_BETTER else whole.max() - high
    return [low - 0.08 * room, high + 0.08 * room] if beyond > 0.5 * room > 0 else None


def _stages_of(run: _Run, axis: Axis) -> list[tuple[str, float, float]]:
    """Name, beginning and end of each stage on the axis, in order."""
    names = run.history["stage"].astype(str).to_numpy() if "stage" in run.history else np.empty(0, dtype=str)
    if not len(names):
        return []
    begins = [0, *(np.flatnonzero(names[1:] != names[:-1]) + 1).tolist()]
    ends = [*begins[1:], len(names)]
    # Figures stand at the end of an epoch. Over hours a stage ends there; over epochs half-way to the next,
    # so that it is plain to which stage an epoch belongs.
    edges = np.concatenate([[0.0], run.x]) if axis == "hours" else np.append(run.x - 0.5, run.x[-1] + 0.5)
    return [(str(names[b]), float(edges[b]), float(edges[e])) for b, e in zip(begins, ends, strict=True)]


def _shared_stages(runs: list[_Run], axis: Axis) -> list[tuple[str, float, float]] | None:
    """The stages of the longest run where all others went through the same, or ``None`` where they did not.

    A run that is not over yet, or stopped early, may be in the middle of one.
    """
    plans = sorted((_stages_of(run, axis) for run in runs), key=lambda stages: stages[-1][2] if stages else 0)
    longest = plans[-1] if plans else []
    for stages in plans:
        same = [mine[:2] == other[:2] for mine, other in zip(stages, longest, strict=False)]
        if len(stages) > len(longest) or not all(same) or stages[:-1] != longest[: max(len(stages) - 1, 0)]:
            return None
    return longest


def _stage_marks(run: _Run, axis: Axis, line: dict[str, Any]) -> dict[str, Any]:
    """Hollow circles on a line, where stages after the first have their first epoch."""
    begins = [begin for _, begin, _ in _stages_of(run, axis)[1:]]
    first = [index for begin in begins for index in np.flatnonzero(line["x"] > begin)[:1]]
    marker = {"symbol": "circle-open", "size": 13, "color": run.color, "line": {"width": 2}}
    return _mark(run, line["x"][first], line["y"][first], marker)


def _over(
    axis: Axis, runs: list[_Run], traces: list[dict[str, Any]], sentences: list[str], yaxis: dict[str, Any]
) -> go.Figure:
    """Puts traces over epochs or hours, with the stages that all runs share behind them."""
    last = max((float(run.x[-1]) for run in runs if len(run.x)), default=1.0)
    end = last + 0.5 if axis == "epochs" else (1.03 * last or 1.0)
    xaxis: dict[str, Any] = {"title": {"text": "epoch"}, "range": [0, end]}
    if axis == "hours":
        xaxis["title"] = {"text": "hours of training"}
        xaxis["unifiedhovertitle"] = {"text": "after %{x:.2f} hours"}
    else:
        # Plotly would put ticks between the epochs of a short run, and "d" would round them to epochs.
        xaxis |= {"dtick": 1} if last <= _FEW_EPOCHS else {"tickformat": "d"}
        xaxis["unifiedhovertitle"] = {"text": "epoch %{x}"}
    shapes, names = [], []
    stages = _shared_stages(runs, axis) or []
    if len(stages) > 1:
        for number, (name, begin, stop) in enumerate(stages):
            place = {"xref": "x", "yref": "paper"}
            if number % 2 == 0:
                box = {"type": "rect", "x0": begin, "x1": stop, "y0": 0, "y1": 1, "layer": "below"}
                shapes.append(place | box | {"fillcolor": _STAGE_FILL, "line": {"width": 0}})
            if stop - begin >= _LETTER_SHARE * len(name) * end:
                text = {"text": escape(name), "showarrow": False, "x": (begin + stop) / 2, "y": 1}
                names.append(place | text | {"xanchor": "center", "yanchor": "bottom"})
        sentences = [*sentences, f"Stages: {_say_stages(stages, axis)}."]
    if len(runs) > 1:  # one entry a run in the legend, which hides and shows all of it
        traces = [trace | {"legendgroup": trace["meta"]} for trace in traces]
    figure = make_figure(
        traces,
        " ".join(sentences),
        height=_HEIGHT,
        top=24 if names else 8,
        xaxis=xaxis,
        yaxis=yaxis,
        legend=len(runs) > 1 or len(traces) > 1,
        hovermode="x unified",
        shapes=shapes,
        annotations=names,
    )
    if names:
        figure.layout.legend.y = 1.1  # above the names of the stages
    return figure


def _say_stages(stages: list[tuple[str, float, float]], axis: Axis) -> str:
    if axis == "hours":
        return ", ".join(f"{name} until {stop:.2f} h" for name, _, stop in stages)
    spans = [(name, round(begin + 0.5), round(stop - 0.5)) for name, begin, stop in stages]
    return ", ".join(f"{name} {first}" + (f"–{last}" if last > first else "") for name, first, last in spans)
