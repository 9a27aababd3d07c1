"""Figures about training runs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from agegender.charts.style import BLUE, GREEN, PURPLE, VERMILLION, make_figure

Quantity = Literal["loss", "mae", "accuracy"]

_RUN_COLORS: Final = (BLUE, VERMILLION, GREEN, PURPLE)

_FEW_EPOCHS: Final = 12

MAX_RUNS: Final = len(_RUN_COLORS)
"""How many runs one figure can tell apart."""

_TITLES: Final[dict[Quantity, str]] = {
    "loss": "loss",
    "mae": "mean absolute error (years)",
    "accuracy": "accuracy",
}
_FORMATS: Final[dict[Quantity, str]] = {"loss": ".4g", "mae": ".2f", "accuracy": ".1%"}


def training_curve(histories: Mapping[str, pd.DataFrame], quantity: Quantity) -> go.Figure:
    """Draws one quantity over the epochs, training against validation.

    Args:
        histories: Each run's name and its history of one task, at most `MAX_RUNS` tables with the columns
            ``epoch``, ``quantity`` and ``val_<quantity>``.
        quantity: Which one: "loss", "mae" in years, or "accuracy" from 0 to 1.

    Returns:
        One colour a run, training dotted and validation solid, a star on each run's best validation epoch.

    Raises:
        ValueError: More runs than `MAX_RUNS`.
    """
    title, held_out, form = _TITLES[quantity], f"val_{quantity}", _FORMATS[quantity]
    traces = []
    sentences = [f"{title.capitalize()} by epoch: training dotted, validation solid, best starred."]
    for name, history, color in _by_run(histories):
        traces.append(_line(history, quantity, f"{name} · training", color, form=form, dash="dot"))
        traces.append(_line(history, held_out, f"{name} · validation", color, form=form))
        best = best_epoch(history, quantity)
        if best is not None:
            value = float(history.loc[history["epoch"] == best, held_out].iloc[0])
            traces.append(_star(best, value, color))
            sentences.append(f"{name}: best {value:{form}} at epoch {best} of {int(history['epoch'].max())}.")
    yaxis = {"title": {"text": title}} | ({"tickformat": ".0%"} if quantity == "accuracy" else {})
    return _by_epoch(traces, histories, " ".join(sentences), yaxis)


def learning_rate_curve(histories: Mapping[str, pd.DataFrame]) -> go.Figure:
    """Draws the learning rate over the epochs.

    Args:
        histories: As for `training_curve`, with the columns ``epoch`` and ``learning_rate``.

    Returns:
        One line a run.

    Raises:
        ValueError: More runs than `MAX_RUNS`.
    """
    traces = [
        _line(history, "learning_rate", name, color, form=".2e")
        for name, history, color in _by_run(histories)
    ]
    yaxis = {"title": {"text": "learning rate"}, "tickformat": ".1e", "rangemode": "tozero"}
    return _by_epoch(traces, histories, "Learning rate at the end of each epoch.", yaxis)


def best_epoch(history: pd.DataFrame, quantity: Quantity) -> int | None:
    """Finds the epoch with the best validation figure, the earliest of equals.

    Args:
        history: One run and task, with the columns ``epoch`` and ``val_<quantity>``.
        quantity: What to judge by: accuracy is best when high, loss and mean absolute error when low.

    Returns:
        The epoch, or ``None`` where nothing was validated.
    """
    rows = history.dropna(subset=[f"val_{quantity}"]).sort_values("epoch", kind="stable")
    if rows.empty:
        return None
    values = rows[f"val_{quantity}"].to_numpy(dtype=np.float64)
    position = np.argmax(values) if quantity == "accuracy" else np.argmin(values)
    return int(rows["epoch"].iloc[int(position)])


def _by_run(histories: Mapping[str, pd.DataFrame]) -> list[tuple[str, pd.DataFrame, str]]:
    """Names, histories in the order of their epochs, and colours."""
    if len(histories) > MAX_RUNS:
        raise ValueError(f"at most {MAX_RUNS} runs can be told apart in one figure, got {len(histories)}")
    return [
        (name, history.sort_values("epoch", kind="stable"), color)
        for (name, history), color in zip(histories.items(), _RUN_COLORS, strict=False)
    ]


def _line(
    history: pd.DataFrame, column: str, name: str, color: str, *, form: str, dash: str = "solid"
) -> dict[str, Any]:
    rows = history.dropna(subset=[column])
    return {
        "type": "scatter",
        "x": rows["epoch"].to_numpy(dtype=np.int64),
        "y": rows[column].to_numpy(dtype=np.float64),
        "name": name,
        "mode": "lines" if len(rows) > 1 else "markers",  # one epoch alone makes no line
        "line": {"color": color, "dash": dash, "width": 2},
        "hovertemplate": f"%{{y:{form}}}",
    }


def _star(epoch: int, value: float, color: str) -> dict[str, Any]:
    return {
        "type": "scatter",
        "x": [epoch],
        "y": [value],
        "mode": "markers",
        "marker": {"symbol": "star", "size": 14, "color": color, "line": {"width": 1, "color": "white"}},
        "showlegend": False,
        "hoverinfo": "skip",
    }


def _by_epoch(
    traces: list[dict[str, Any]], histories: Mapping[str, pd.DataFrame], sentence: str, yaxis: dict[str, Any]
) -> go.Figure:
    last = max((history["epoch"].max() for history in histories.values() if len(history)), default=1)
    # Plotly would put ticks between the epochs of a short run, and "d" would round them to epochs.
    whole = {"dtick": 1} if last <= _FEW_EPOCHS else {"tickformat": "d"}
    xaxis = {"title": {"text": "epoch"}, "range": [0, last + 0.5], **whole}
    return make_figure(
        traces, sentence, height=340, xaxis=xaxis, yaxis=yaxis, legend=True, hovermode="x unified"
    )
