"""How the models were trained: the curves of published models and of your own runs."""

from typing import Final

import pandas as pd
import streamlit as st

from agegender import charts
from agegender.training.runs import RunRecord, list_runs
from ui.widgets import ensure_menu, show_chart

METRICS: Final = {"age": "mae", "gender": "accuracy"}


@st.cache_data(ttl=10, max_entries=1, show_spinner="Reading the runs …")
def find_runs() -> dict[str, RunRecord]:
    return {run.id: run for run in list_runs()}


def choose_runs(runs: dict[str, RunRecord]) -> list[RunRecord]:
    with_epochs = [run for run in runs if len(runs[run].history)]
    chosen = st.multiselect(
        "Runs",
        list(runs),
        default=with_epochs[:1],
        format_func=lambda run: runs[run].title,
        max_selections=charts.MAX_RUNS,
        placeholder="Choose one run or several",
        key="runs",
        persist_state="session",
    )
    return [runs[run] for run in chosen]


def show_best(title: str, history: pd.DataFrame, task: str) -> None:
    metric = METRICS[task]
    best = charts.best_epoch(history, metric)
    if best is None:
        return
    epochs, minutes = history["epoch"].max(), history["seconds"].sum() / 60
    value = history.loc[history["epoch"] == best, f"val_{metric}"].iloc[0]
    st.metric(
        f"{title}: best validation {'error' if task == 'age' else 'accuracy'}",
        f"{value:.2f} years" if task == "age" else f"{value:.1%}",
        delta=f"epoch {best} of {epochs:.0f}, {minutes:.0f} minutes in all",
        delta_color="off",
        delta_arrow="off",
        border=True,
    )


def show_curves(histories: dict[str, pd.DataFrame], task: str) -> None:
    metrics = st.grid(min_column_width=280)
    for title, history in histories.items():
        with metrics.cell():
            show_best(title, history, task)
    grid = st.grid(2, min_column_width=320)
    with grid.cell(column_span="all"):
        st.subheader("Mean absolute error" if task == "age" else "Accuracy")
        show_chart(charts.training_curve(histories, METRICS[task]), key="metric_curve")
    with grid.cell():
        st.subheader("Loss", help="What training makes small. Only losses of the same kind can be compared.")
        show_chart(charts.training_curve(histories, "loss"), key="loss_curve")
    with grid.cell():
        st.subheader("Learning rate", help="How large a step the weights take at a time.")
        show_chart(charts.learning_rate_curve(histories), key="learning_rate_curve")


def show_table(histories: dict[str, pd.DataFrame], task: str) -> None:
    table = pd.concat(histories, names=["run"]).reset_index("run").dropna(axis="columns", how="all")
    formats = {"learning_rate": "%.1e", "seconds": "%.0f"}
    columns = {name: st.column_config.NumberColumn(format=text) for name, text in formats.items()}
    st.subheader("Every epoch")
    st.dataframe(table, hide_index=True, column_config=columns, alt="The figures of every epoch")
    csv = table.to_csv(index=False)
    st.download_button("CSV", csv, f"{task}.csv", "text/csv", icon=":material/table:", on_click="ignore")


ensure_menu()
st.title("Training curves")
st.markdown(
    "What a model got better at while it was trained, and when it stopped getting better on the *validation* "
    "photos, which were held back from it."
)
runs = find_runs()
if not runs:
    st.info("No training is recorded here yet. Train the two models, and their curves appear:")
    st.code("\n".join(f"python train.py --task {task} --data path/to/UTKFace" for task in METRICS), "bash")
    st.stop()
chosen = choose_runs(runs)
tasks = [task for task in METRICS if any((run.history["task"] == task).any() for run in chosen)]
if not tasks:
    st.info("None of these runs has finished an epoch yet." if chosen else "Choose a run to see its curves.")
    st.stop()
task = st.segmented_control(
    "Task", tasks, default=tasks[0], required=True, format_func=str.capitalize, key="task"
)
of_task = {run.title: run.history[run.history["task"] == task] for run in chosen}
histories = {title: history for title, history in of_task.items() if len(history)}
show_curves(histories, task)
show_table(histories, task)
