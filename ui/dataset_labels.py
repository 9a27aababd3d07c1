"""The section of the dataset page that draws the labels."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from agegender import charts
from agegender.audit.findings import balance
from agegender.audit.gallery import Selection
from agegender.export import to_csv
from agegender.labels import AGE_BAND_NAMES, AGE_BANDS, GENDERS, age_band
from ui.dataset import Source, choose_by_click, choose_faces, show_no_face
from ui.widgets import offer_download, show_chart, show_tile


def show_distribution(source: Source) -> None:
    """Draws who is in the dataset. Every chart is narrowed down by the choices made for the other ones."""
    faces = source.faces
    selection = choose_faces(source)
    chosen = faces[selection.rows(faces)]
    if chosen.empty:
        show_no_face()
        return
    _show_key_figures(source, chosen)
    st.caption("Click a bar, and everything here is about what it counts; click again to go back.")
    st.subheader("Ages by gender", help="Gender as annotators perceived it. The ages above zoom the axis.")
    show_chart(
        charts.age_histogram(chosen, selection.ages),
        key="ages",
        on_click=lambda bar: choose_by_click("ages", AGE_BANDS[int(age_band(bar["x"]))], AGE_BANDS),
    )
    grid = st.grid(2, min_column_width=320)
    with grid.cell():
        st.subheader("Gender")
        others = faces[selection.without("gender").rows(faces)]
        show_chart(
            charts.gender_balance(others, selection.gender),
            key="genders",
            on_click=lambda bar: choose_by_click("gender", bar["y"], GENDERS),
        )
        if source.sources:
            st.subheader("Source", help="The folder that a face comes from.")
            others = faces[selection.without("source").rows(faces)]
            show_chart(
                charts.source_balance(others, selection.source),
                key="sources",
                on_click=lambda bar: choose_by_click("source", bar["y"], source.sources),
            )
        st.subheader("Ethnicity", help="The words are the dataset's own.")
        others = faces[selection.without("ethnicity").rows(faces)]
        show_chart(
            charts.ethnicity_balance(others, selection.ethnicity),
            key="ethnicities",
            on_click=lambda bar: choose_by_click("ethnicity", bar["y"], source.ethnicities),
        )
    with grid.cell():
        st.subheader(
            "Ages by ethnicity",
            help="A box holds the middle half of the faces, the line in it is the median, and the whiskers "
            "hold 90 %.",
        )
        others = faces[selection.without("ethnicity").rows(faces)]
        show_chart(charts.ages_by_ethnicity(others), key="ages_by_ethnicity")
    st.subheader(
        "Dates", help="From the file names. They say when a file was collected, not when its photo was taken."
    )
    show_chart(charts.capture_days(chosen), key="days")
    _show_balance(chosen, selection)


def _show_key_figures(source: Source, chosen: pd.DataFrame) -> None:
    everyone = len(source.faces)
    grid = st.grid(4, min_column_width=150)
    part = "" if len(chosen) == everyone else f"{len(chosen) / everyone:.1%} of {everyone:,}"
    show_tile(
        grid,
        "Faces",
        f"{len(chosen):,}",
        note=part or None,
    )
    show_tile(grid, "Ages", f"{chosen['age_min'].min()} to {chosen['age_max'].max()}")
    show_tile(grid, "Median age", f"{chosen['age'].median():.0f}")
    skipped = source.figures["damaged_names"] if source.dataset is None and source.figures else []
    show_tile(
        grid,
        "Skipped files",
        f"{len(skipped) if source.dataset is None else len(source.dataset.skipped):,}",
        help="They have no label that can be used, so nothing here counts them. *Audit* lists them.",
    )


def _show_balance(chosen: pd.DataFrame, selection: Selection) -> None:
    """The counts behind the charts, by age band."""
    st.subheader(
        "Balance",
        help="Where a number is small, a model has little to learn from and cannot be measured well.",
    )
    counted = balance(chosen)
    parts = [
        counted.pivot_table("files", "band", name, aggfunc="sum", sort=False)[list(counted[name].unique())]
        for name in ("gender", "ethnicity")
    ]
    table = pd.concat([*parts, parts[0].sum(axis=1).rename("all")], axis=1).loc[list(AGE_BAND_NAMES)]
    table.loc["all ages"] = table.sum()
    table.index.name = "ages"
    st.dataframe(
        table.astype(int).reset_index(),
        hide_index=True,
        column_config={name: st.column_config.NumberColumn(format="localized") for name in table.columns},
        alt="How many faces there are of each age band, by gender and by ethnicity",
    )
    offer_download(
        "Balance as CSV",
        lambda: to_csv(counted.drop_duplicates()),
        "balance.csv",
        help="Every combination of age band, gender and ethnicity.",
    )
