"""What the training page shows of runs: live progress, a card each, curves, recipes and the table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import pandas as pd
import streamlit as st

from agegender import charts
from agegender.charts.training import Axis
from agegender.export import to_csv
from agegender.labels import Task
from agegender.runs import records
from agegender.runs.comparison import compare_configs
from agegender.runs.progress import read_progress, say_progress
from agegender.runs.reading import Quantity, best_epoch, read_curve, say_reading
from agegender.runs.records import RunRecord
from agegender.wording import say_duration
from ui.widgets import offer_download, quote, show_chart, without_paths

_LIVE_SECONDS: Final = 3
_IDLE_SECONDS: Final = 15
_METRICS: Final[dict[Task, Quantity]] = {"age": "mae", "gender": "accuracy"}
_COLUMNS_OF: Final[dict[Task, tuple[str, ...]]] = {
    "age": ("mae", "val_mae", "range_accuracy", "val_range_accuracy"),
    "gender": ("accuracy", "val_accuracy"),
}
_COLUMNS_SHOWN: Final = {
    "run": ("Run", None),
    "stage": ("Stage", None),
    "epoch": ("Epoch", "%d"),
    "seconds": ("Seconds", "%.0f"),
    "learning_rate": ("Learning rate", "%.1e"),
    "loss": ("Loss", "%.3f"),
    "val_loss": ("Loss, validation", "%.3f"),
    "mae": ("Error", "%.2f"),
    "val_mae": ("Error, validation", "%.2f"),
    "accuracy": ("Accuracy", "%.1f %%"),
    "val_accuracy": ("Accuracy, validation", "%.1f %%"),
    "range_accuracy": ("Age range", "%.1f %%"),
    "val_range_accuracy": ("Age range, validation", "%.1f %%"),
}
_ICONS: Final = {
    "early": ":material/hourglass_empty:",
    "improving": ":material/auto_graph:",
    "flat": ":material/trending_flat:",
    "overfitting": ":material/warning:",
    "worse": ":material/warning:",
}

HOW_TO_READ: Final = """
- **Solid** is the *validation* figure, measured on faces the network was not trained on: it says how well the
  model will do. **Dotted** is the *training* figure. It is measured on distorted photos and with part of the
  network switched off, so it may well be the worse of the two. The **star** is the best validation epoch.
- **The first epochs** often validate badly, because what is validated is a moving average of the network's
  weights, which lags behind at first.
- **Stages** have their own learning rate and their own set of layers that learn; a new one may begin with a
  step back.
- **Still improving**: a straight line through the latest quarter of the epochs, at least four, gets better by
  more than chance, and the latest three are the best so far.
- **Overfitting since epoch N**: the latest three epochs are clearly worse than the best three, while training
  went on getting better: the network learns its photos by heart.
- **Flat since epoch N**: neither; epoch N was the first as good as the latest ones.
- **Chance** is judged by how far epochs stick out between their neighbours, and by how many faces were
  validated.
- **Smoothing** at weight *w* is an exponential moving average, as in TensorBoard:
  $m_t = w\\,m_{t-1} + (1-w)\\,x_t$, drawn as $m_t / (1-w^t)$. It moves neither the star nor the sentence.
"""


@dataclass(frozen=True)
class View:
    """How curves are drawn; see `agegender.charts.training_curve`."""

    axis: Axis
    smoothing: float
    zoom: bool


@st.cache_data(ttl=_LIVE_SECONDS - 1, max_entries=1, show_spinner=False)
def find_runs() -> dict[str, RunRecord]:
    """Reads all runs, at most every few seconds however many visitors there are."""
    return {run.id: run for run in records.list_runs()}


def watch(shown: Mapping[str, RunRecord]) -> None:
    """Shows the progress of what is being trained right now, and reruns the page when there is more to draw.

    It looks again by itself: often while a run is going on, else now and then, for one that begins.
    """
    live = any(run.running for run in shown.values())

    def look() -> None:
        runs = find_runs()
        if _drawn_of(runs) != _drawn_of(shown):
            st.rerun()
        for run in runs.values():
            if run.running:
                progress = read_progress(run)
                text = f":material/model_training: Training now: {quote(run.id)}, {say_progress(progress)}"
                st.progress(progress.fraction if progress else 0.0, text)

    st.fragment(look, run_every=_LIVE_SECONDS if live else _IDLE_SECONDS)()


def _drawn_of(runs: Mapping[str, RunRecord]) -> list[tuple[str, str, int]]:
    return [(run.id, run.state, len(run.history)) for run in runs.values()]


def show_card(run: RunRecord, task: Task) -> None:
    """Shows what a run got to, and what its curve says."""
    history, metric = run.history_of(task), _METRICS[task]
    st.markdown(f"{quote(run.id)} :gray-badge[{run.state}]")
    best = best_epoch(history, metric)
    if best is not None:
        value = history.loc[history["epoch"] == best, f"val_{metric}"].iloc[0]
        kept = run.kept_epoch(task)
        st.metric(
            "Best validation error" if task == "age" else "Best validation accuracy",
            f"{value:.2f} years" if task == "age" else f"{value:.1%}",
            delta=f"epoch {best} of {history['epoch'].max()}, {say_duration(history['seconds'].sum())} in all"
            + (f"; weights kept from epoch {kept}" if kept not in (None, best) else ""),
            delta_color="off",
            delta_arrow="off",
            help="The mean absolute error: how many years the age is off by on average."
            if task == "age"
            else "The share of faces whose gender label was met.",
        )
    reading = read_curve(history, metric, faces=run.validation_faces)
    head, _, rest = say_reading(reading, metric, running=run.running).partition(". ")
    st.markdown(f"{_ICONS[reading.verdict]} **{head}.** {rest}")


def show_curves(histories: Mapping[str, pd.DataFrame], task: Task, view: View) -> None:
    """Draws the curves of a task: its metrics, then loss, learning rate and time."""

    def draw(quantity: Quantity) -> None:
        figure = charts.training_curve(
            histories, quantity, axis=view.axis, smoothing=view.smoothing, zoom=view.zoom
        )
        show_chart(figure, key=f"{quantity}_curve")

    ranges = task == "age" and any(rows["val_range_accuracy"].notna().any() for rows in histories.values())
    st.subheader("Mean absolute error" if task == "age" else "Accuracy")
    draw(_METRICS[task])
    grid = st.grid(2, min_column_width=320)
    if ranges:
        with grid.cell():
            st.subheader("Age range", help="How often the right one of nine age ranges was chosen.")
            draw("range_accuracy")
    with grid.cell(column_span=1 if ranges else "all"):
        st.subheader(
            "Loss",
            help="What training makes small. Only losses of the same kind can be compared; a network that "
            "learns age and gender together has one loss for both.",
        )
        draw("loss")
    with grid.cell():
        st.subheader("Learning rate", help="How large a step the weights take at a time.")
        show_chart(charts.learning_rate_curve(histories, axis=view.axis), key="learning_rate_curve")
    with grid.cell():
        st.subheader("Time", help="On the computer it was trained on, and with what else that was doing.")
        show_chart(charts.epoch_time_curve(histories, axis=view.axis), key="time_curve")


def show_recipes(runs: Sequence[RunRecord], task: Task) -> None:
    """Shows the recipe of one run, or what differs between several."""
    alone = len(runs) == 1
    table = compare_configs({run.id: run.config_of(task) for run in runs}, only_differences=not alone)
    st.subheader("Recipe" if alone else "What differs between the recipes")
    if table.empty:
        st.markdown("None was recorded." if alone else "Nothing: these runs were trained by the same recipe.")
        return
    names = {"setting": "Setting"} | ({runs[0].id: "Value"} if alone else {})
    with st.expander(f"All {len(table)} settings") if alone else st.container():
        st.dataframe(
            table.astype("str").map(without_paths).rename(columns=names),  # a base may be somebody's file
            hide_index=True,
            alt="The settings of each run, line by line",
        )


def show_table(histories: Mapping[str, pd.DataFrame], task: Task) -> None:
    """Lists the figures of every epoch, to look up and to take along as CSV."""
    table = pd.concat(histories, names=["run"]).reset_index("run")
    others = {name for other, names in _COLUMNS_OF.items() if other != task for name in names}
    kept = [name for name in _COLUMNS_SHOWN if name not in others]
    table = table[kept].dropna(axis="columns", how="all")
    columns = {
        name: st.column_config.NumberColumn(label, format=form) if form else label
        for name, (label, form) in _COLUMNS_SHOWN.items()
    }
    st.subheader("Every epoch")
    seen = list(table.columns[len(histories) == 1 :])  # one run alone need not be named in every row
    shares = [name for name in kept if name in table and "accuracy" in name]
    percent = table[shares] * 100
    st.dataframe(
        table.assign(**percent),
        hide_index=True,
        column_order=seen,
        column_config=columns,
        alt="The figures of every epoch",
    )
    offer_download("All epochs as CSV", lambda: to_csv(table), f"{task}.csv")
