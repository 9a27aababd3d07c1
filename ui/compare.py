"""What the page of all models shows of their figures: the tables, and the charts of those chosen."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import pandas as pd
import plotly.graph_objects as go
import streamlit as st

from agegender import charts
from agegender.charts.compare import TEST_SET, Cost, Figure
from agegender.export import to_json
from agegender.labels import say_source
from agegender.reports.comparison import compare_models, leaderboard, measured_entries
from ui.widgets import choose_one, offer_download, quote, show_chart

Comparison = Mapping[str, Any]
Entry = Mapping[str, Any]

UNTRAINED: Final = "not trained yet"

_FRESH_SECONDS: Final = 10
_SHOWN_AT_FIRST: Final = 4
_ADULTS: Final = "21 to 60"
_WORDS_FOR: Final = 2  # the sentence of a figure of more systems is for screen readers only
_KINDS: Final = {"measured": "ours", "rival": "rival"}
_FIGURES: Final[dict[str, Figure]] = {"age": "mae", "gender": "gender_accuracy"}
_COSTS: Final[dict[str, Cost]] = {"size": "megabytes", "speed": "ms_per_face", "parameters": "parameters"}
_MEASURE_AGAIN: Final = "`python -m agegender publish --again --name NAME` measures a model again."


@st.cache_data(ttl=_FRESH_SECONDS, max_entries=1, show_spinner=False)
def find_comparison() -> dict[str, Any]:
    """The table of all models, as `python -m agegender compare --json` writes it."""
    return compare_models()


def show_leaderboard(comparison: Comparison) -> None:
    """All models and rivals by their figures, sortable, and what to run for those that are not trained."""
    table = leaderboard(comparison)
    untrained = [entry for entry in comparison["models"] if not entry["trained"]]
    waiting = pd.DataFrame([{"name": e["name"], "parameters": e["parameters"]} for e in untrained])
    rows = pd.concat([table.assign(kind=table["kind"].map(_KINDS)), waiting.assign(kind=UNTRAINED)])
    adults = {entry["name"]: entry.get("adults", {}).get("mae") for entry in comparison["models"]}
    rows["adults"] = rows["name"].map(adults).astype("float64")
    rows["name"] = rows["name"].where(rows["kind"] != "rival", rows["name"] + " (rival)")
    shares = [f"{name}{end}" for name in ("cs5", "gender_accuracy") for end in ("", "_low", "_high")]
    percent = {name: 100 * rows[name] for name in shares}
    rows = rows.assign(**percent, minutes=rows["training_seconds"] / 60)
    for figure, form in (("mae", ".2f"), ("gender_accuracy", ".1f")):
        ends = zip(rows[f"{figure}_low"], rows[f"{figure}_high"], strict=True)
        rows[f"{figure}_between"] = [
            None if pd.isna(low) else f"{low:{form}} to {high:{form}}" for low, high in ends
        ]
    number = st.column_config.NumberColumn
    between = "95 % of samples of the test photos would give a figure in this range."
    columns = {
        "name": st.column_config.TextColumn("System", width=170, pinned=True),
        "mae": number("Age error", format="%.2f", help="Mean absolute error, in years. Less is better."),
        "gender_accuracy": number(
            "Gender", format="%.1f %%", help="Faces whose likelier gender is the labelled one."
        ),
        "cs5": number("Within 5 years", format="%.1f %%", help="Answers at most five years off: CS@5."),
        "adults": number(
            f"Age error, {_ADULTS}",
            format="%.2f",
            help="On faces labelled with these ages alone, for papers that leave out the others.",
        ),
        "kind": st.column_config.TextColumn(
            "What it is",
            width=120,
            help="A rival is somebody else's network, measured here on the same faces as ours.",
        ),
        "mae_between": st.column_config.TextColumn("Age error between", help=between),
        "gender_accuracy_between": st.column_config.TextColumn("Gender between, %", help=between),
        "ms_per_face": number(
            "ms a face", format="%.1f", help="Both answers, in batches, when it was published."
        ),
        "megabytes": number(
            "MB", format="%.1f", help="Of its weight files. What two networks share is counted once."
        ),
        "parameters": number("Parameters", format="compact"),
        "minutes": number(
            "Training, min",
            format="%.0f",
            help="All runs it came from, on the machine named below. Teachers and bases are not counted.",
        ),
    }
    st.dataframe(
        rows,
        hide_index=True,
        placeholder="",
        column_order=list(columns),
        column_config=columns,
        height="content",
        alt="Every model with its error, accuracy, size, speed and training time",
    )
    st.caption(_say_terms(comparison))
    if untrained:
        with st.expander(f"{len(untrained)} {UNTRAINED}: what to run", icon=":material/model_training:"):
            for entry in untrained:
                st.markdown(f"**{entry['name']}** · {entry['title']}")
                st.code("\n".join(entry["how_to_train"]), None, wrap_lines=True)


def _say_terms(comparison: Comparison) -> str:
    sentences = []
    baseline = comparison["baseline"]
    if baseline and None not in (baseline["mae"], baseline["gender_accuracy"]):
        sentences.append(
            f"Saying {baseline['age']:.0f} years and {baseline['gender']} of everybody would be off by "
            f"{baseline['mae']:.1f} years and right in {100 * baseline['gender_accuracy']:.0f} %."
        )
    trained = [entry["training"] or {} for entry in comparison["models"] if entry["trained"]]
    hardware = dict.fromkeys(filter(None, (training.get("hardware") for training in trained)))
    if hardware:
        sentences.append(f"Trained on: {'; '.join(hardware)}.")
    elsewhere = [quote(e["name"]) for e in measured_entries(comparison) if e["same_split"] is False]
    if elsewhere:
        sentences.append(f"Measured on another split, so not comparable: {', '.join(elsewhere)}.")
    return " ".join(sentences)


def show_published(comparison: Comparison) -> None:
    """What others publish of their systems, and what ours measure minus that."""
    st.subheader("Beside what others publish")
    st.markdown(
        "**Their words, on another split; nothing of theirs was measured here.** A random split leaves "
        "copies of test photos among the training photos, which flatters; ours keeps them on one side."
    )
    ours = {entry["name"]: entry for entry in comparison["models"]}
    rows = []
    for entry in comparison["published"]:
        accuracy, score = entry["gender_accuracy"], entry["score"]
        gained = entry["difference"]["gender_accuracy"]
        counterpart = ours.get(entry["against"], {})
        rows.append(
            {
                "name": entry["name"],
                "mae": entry["mae"],
                "gender": entry["gender_accuracy_words"] or (f"{100 * accuracy:.1f} %" if accuracy else None),
                "score": None if score is None else f"{score:g}",
                "against": entry["against"],
                "ages": _ADULTS if entry["adults"] else "all",
                "ours": (counterpart.get("adults", {}) if entry["adults"] else counterpart).get("mae"),
                "years": entry["difference"]["mae"],
                "points": None if gained is None else 100 * gained,
                "source": entry["source"],
                "split": entry["split"],
            }
        )
    number = st.column_config.NumberColumn
    columns = {
        "name": st.column_config.TextColumn("Published", pinned=True),
        "mae": number("Age error", format="%.2f", help="In years, as they say it."),
        "gender": st.column_config.TextColumn("Gender", width=110, help="Accuracy, as they say it."),
        "years": number("Years, ours minus theirs", format="%+.2f", help="Below zero, ours errs less."),
        "points": number(
            "Gender points, ours minus theirs", format="%+.1f", help="Above zero, ours is right more often."
        ),
        "against": st.column_config.TextColumn(
            "Ours", help="The model of the same design, or else the default."
        ),
        "ours": number("Our age error", format="%.2f", help="Measured here, on the same ages."),
        "ages": st.column_config.TextColumn("Ages", help="Some leave out children and old people."),
        "score": st.column_config.TextColumn(
            "Score", help="A leaderboard's own measure, which cannot be held against an error or accuracy."
        ),
        "source": st.column_config.TextColumn("Source"),
        "split": st.column_config.TextColumn("Their split"),
    }
    st.dataframe(
        pd.DataFrame(rows, columns=list(columns)).astype(
            dict.fromkeys(("mae", "ours", "years", "points"), "float64")
        ),
        hide_index=True,
        placeholder="",
        column_config=columns,
        height="content",
        alt="Published figures of others, and ours minus theirs",
    )
    offer_download("All of this page as JSON", lambda: to_json(comparison), "compare.json")


def choose_systems(comparison: Comparison) -> list[Entry]:
    """Which systems the charts show; the best at age to begin with."""
    entries = {entry["name"]: entry for entry in measured_entries(comparison) if entry["by_band"]}
    best = [name for name in leaderboard(comparison)["name"] if name in entries]
    chosen = st.multiselect(
        "Systems",
        list(entries),
        default=best[:_SHOWN_AT_FIRST],
        key="systems",
        bind="query-params",
        max_selections=charts.MAX_SYSTEMS,
        select_all=False,
        placeholder="Choose one or several",
        help="The charts below show these. Colours and symbols stay a system's own.",
    )
    return [entries[name] for name in chosen]


def order_of(comparison: Comparison) -> list[str]:
    """Names in the order that gives each system its colour and symbol."""
    return [entry["name"] for entry in (*comparison["models"], *comparison["rivals"])]


def show_trade_off(comparison: Comparison) -> Figure:
    """How good all systems are against how large or how fast.

    Returns:
        Whether the visitor wants to see age or gender, for the other charts, too.
    """
    st.subheader(
        "How good, for what it costs",
        help="Errors are better further down, accuracies further up, and both further to the left.",
    )
    with st.container(horizontal=True, gap="medium"):
        about = choose_one("About", _FIGURES, key="figure", width="content")
        cost = choose_one("Against", _COSTS, key="cost", width="content")
    entries, order = measured_entries(comparison), order_of(comparison)
    show_chart(charts.trade_off(entries, _FIGURES[about], _COSTS[cost], order), key="trade_off")
    return _FIGURES[about]


def show_by_group(entries: Sequence[Entry], figure: Figure, order: Sequence[str]) -> None:
    """For which ages and for whom a system is better or worse."""
    grid = st.grid(2, min_column_width=320)
    with grid.cell():
        st.subheader("By age", help="An average over all hides whom a system fails.")
        _show(entries, "by_band", lambda found: charts.band_lines(found, figure, order), "bands")
    with grid.cell():
        st.subheader(
            "By group",
            help="Labelled gender, and UTKFace's five words for ethnicity, used to compare errors only. The "
            "lines are 95 % intervals; groups whose lines overlap may well be treated alike.",
        )
        _show(entries, "by_gender", lambda found: charts.group_points(found, figure, order), "groups")


def show_calibration(entries: Sequence[Entry], order: Sequence[str]) -> None:
    """Whether stated probabilities of gender mean what they say."""
    st.subheader("When it says how sure it is of the gender")
    _show(entries, "reliability", lambda found: charts.reliability_diagram(found, order), "reliability")


def show_sets(comparison: Comparison, chosen: Sequence[Entry], order: Sequence[str]) -> None:
    """How far each system falls on photos of other kinds than those it was trained or tested on."""
    entries = [entry for entry in measured_entries(comparison) if entry.get("sets")]
    st.subheader("On anybody's photo")
    if not entries:
        st.caption(
            "No system here has been measured on other sources: `python -m agegender publish --sets` does it."
        )
        return
    st.markdown(
        "The test split is of the same kind as the photos most of them learnt from, and flatters. These are "
        "photos of other sources, kept apart for this check, each found and cropped as in the app."
    )
    rows: list[dict[str, Any]] = []
    for entry in entries:
        row: dict[str, Any] = {"name": entry["name"] + (" (rival)" if entry["kind"] == "rival" else "")}
        row |= {f"{TEST_SET}, gender": entry["gender_accuracy"], f"{TEST_SET}, years off": entry["mae"]}
        for folder, found in entry["sets"].items():
            source = say_source(folder)
            row |= {
                f"{source}, gender": found["gender_accuracy"],
                f"{source}, children's": found["children"]["gender_accuracy"],
                f"{source}, years off": found["mae"],
                f"{source}, right range": found["in_range"],
                f"{source}, years outside": found["years_outside"],
            }
        rows.append(row)
    table = pd.DataFrame(rows).dropna(axis="columns", how="all").sort_values("name", ignore_index=True)
    columns: dict[str, Any] = {"name": st.column_config.TextColumn("System", width=170, pinned=True)}
    for column in table.columns[1:]:
        share = not column.endswith(("off", "outside"))
        table[column] = table[column].astype("float64") * (100 if share else 1)
        columns[column] = st.column_config.NumberColumn(column, format="%.1f %%" if share else "%.2f")
    st.dataframe(
        table,
        hide_index=True,
        placeholder="",
        column_config=columns,
        height="content",
        alt="Every system's figures on the test split and on photos of other sources",
    )
    _show(chosen, "sets", lambda found: charts.set_lines(found, order), "sets")


def show_confusion(comparison: Comparison) -> None:
    """Which age ranges one system takes for which."""
    st.subheader("Which age ranges are mistaken")
    known = {entry["name"]: entry for entry in comparison["models"] if entry["ranges"]}
    if not known:
        st.caption(f"No card here has been measured for this. {_MEASURE_AGAIN}")
        return
    name = st.selectbox("System", list(known), key="ranges", bind="query-params")
    ranges = known[name]["ranges"]
    st.markdown(
        "It answers one of nine ranges by itself."
        if ranges["own_answer"]
        else "It answers years, which are sorted into the nine ranges here."
    )
    show_chart(charts.range_confusion(ranges["confusion"]), key="confusion")


def _show(
    entries: Sequence[Entry], part: str, draw: Callable[[Sequence[Entry]], go.Figure], key: str
) -> None:
    """Draws a chart of the systems that have a part, and names the others."""
    found = [entry for entry in entries if entry.get(part)]
    if found:
        show_chart(draw(found), key=key, caption=len(found) <= _WORDS_FOR)
    missing = [entry for entry in entries if not entry.get(part)]
    if missing:
        names = ", ".join(quote(entry["name"]) for entry in missing)
        ours = any(entry["kind"] == "measured" for entry in missing)
        st.caption(f"Not measured for: {names}. {_MEASURE_AGAIN if ours else ''}")
