"""How the models were trained: the curves of published models and of your own runs."""

import streamlit as st

from agegender import charts
from agegender.charts.training import AXES
from agegender.labels import TASKS
from agegender.places import TRAIN_COMMAND
from agegender.runs.records import RunRecord
from ui import training
from ui.widgets import choose_one


def choose_runs(runs: dict[str, RunRecord]) -> list[RunRecord]:
    with_epochs = [run for run in runs.values() if len(run.history)]
    first = sorted(with_epochs, key=lambda run: not run.running)[:1]
    chosen = st.multiselect(
        "Runs",
        list(runs),
        default=[run.id for run in first],
        max_selections=charts.MAX_RUNS,
        select_all=False,
        placeholder="Choose one run or several",
        help="Published models go by their name, your own runs by when they began.",
        key="runs",
        bind="query-params",
    )
    return [runs[run] for run in chosen]


def choose_view() -> training.View:
    axis = choose_one("Over", AXES, key="over", help="An epoch is one pass over all training photos.")
    smoothing = st.slider(
        "Smoothing",
        min_value=0.0,
        max_value=0.95,
        value=0.0,
        step=0.05,
        width=200,
        help="Calms a jumpy curve. What was measured stays visible, faint.",
        key="smoothing",
        bind="query-params",
    )
    zoom = st.toggle(
        "Leave out a steep start",
        value=True,
        help="Lets the first epochs run out of the figure where they would press the others flat.",
        key="zoom",
        bind="query-params",
    )
    return training.View(axis, smoothing, zoom)


st.title("Training curves")
st.markdown(
    "What a model got better at while it was trained, and when it stopped getting better on the *validation* "
    "photos, which were held back from it."
)
runs = training.find_runs()
training.watch(runs)
if not runs:
    st.info("No training is recorded here yet. Train the two models, and their curves appear:")
    st.code("\n".join(f"{TRAIN_COMMAND} --task {task} --data path/to/UTKFace" for task in TASKS), None)
    st.stop()
chosen = choose_runs(runs)
tasks = [task for task in TASKS if any(len(run.history_of(task)) for run in chosen)]
if not tasks:
    waiting = "None of these runs has finished an epoch yet. The curves appear by themselves when one has."
    st.info(waiting if chosen else "Choose a run to see its curves.", icon=":material/show_chart:")
    st.stop()
with st.container(horizontal=True, vertical_alignment="bottom", gap="medium"):
    task = choose_one("About", tasks, key="about")
    view = choose_view()
shown = [run for run in chosen if len(run.history_of(task))]
cards = st.grid(min(len(shown), 2), min_column_width=280, border=True)
for run in shown:
    with cards.cell():
        training.show_card(run, task)
with st.expander("How to read these curves", icon=":material/help:"):
    st.markdown(training.HOW_TO_READ)
histories = {run.id: run.history_of(task) for run in shown}
training.show_curves(histories, task, view)
training.show_recipes(shown, task)
training.show_table(histories, task)
