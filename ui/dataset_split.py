"""The section of the dataset page on train, validation and test: are they alike, and are they tight?"""

from __future__ import annotations

import pandas as pd
import streamlit as st

from agegender import charts
from agegender.audit.split_report import (
    QUALITIES,
    expected_leak,
    split_balance,
    split_names,
    straddling_photos,
)
from agegender.audit.steps import FolderAudit
from agegender.data.split_file import check_split
from agegender.errors import ConfigError
from agegender.models.card import SPLIT_FILE, folders_with
from ui.dataset import Source, need_audit
from ui.widgets import choose_one, quote, show_chart, show_tile, without_paths


def show_split(source: Source) -> None:
    """Sizes, balance, and whether any photo lies in two parts."""
    facts = source.facts
    st.markdown(
        "**Train** is what a model learns from, **validation** chooses its best state, and **test** is "
        "looked at once, to measure it. Which part a photo is in follows from its content alone, so it is "
        "the same on every computer; but what a source keeps apart, as **dev**, stays apart."
    )
    if facts is None:
        need_audit(source, "The split follows from what the files show.", key="split_files")
        return
    names = split_names(facts["split"])
    sizes = facts["split"].value_counts().reindex(list(names), fill_value=0)
    grid = st.grid(len(names), min_column_width=150)
    for name in names:
        show_tile(
            grid,
            name.capitalize(),
            f"{sizes[name]:,}",
            note=f"{sizes[name] / len(facts):.1%} of the faces",
        )
    _show_tightness(source, facts)
    st.subheader("Are the parts alike?")
    quality = choose_one("By", QUALITIES, key="by", label_visibility="collapsed")
    if (sizes > 0).sum() < 2:
        st.info("There is one part only, so there is nothing to compare.")
        return
    counted = split_balance(facts, quality)
    show_chart(charts.split_shares(counted), key="split_shares")
    table = counted.pivot_table("files", "value", "split", sort=False)[list(names)].astype(int)
    st.dataframe(
        table.rename_axis(quality).reset_index(),
        hide_index=True,
        column_config={
            name: st.column_config.NumberColumn(name.capitalize(), format="localized") for name in names
        },
        alt=f"How many faces each part has, by {quality}",
    )


def _show_tightness(source: Source, facts: pd.DataFrame) -> None:
    st.subheader(
        "Does any photo lie in two parts?",
        help="UTKFace holds many photos more than once. A model that learnt one copy would be measured on "
        "memory, not on skill, by the other.",
    )
    leak = expected_leak(facts["copies"])
    found = source.audit
    straddling: int | None = None
    if found is not None:
        straddling = straddling_photos(facts["photo"], facts["split"])
    elif source.figures is not None:
        straddling = source.figures["split"]["straddling_groups"]
    grid = st.grid(4, min_column_width=150)
    show_tile(grid, "Photos with copies", f"{leak.photos:,}")
    show_tile(grid, "Of these in two parts", "?" if straddling is None else f"{straddling:,}")
    show_tile(
        grid,
        "Expected by chance",
        f"{leak.torn:,.0f}",
        help="What to expect of a split that deals out files at random, 80/10/10, as many projects do: the "
        "sum of 1 − 0.8ᵏ − 0.1ᵏ − 0.1ᵏ over all photos that are there *k* times.",
    )
    show_tile(
        grid,
        "Leaked test faces",
        f"{leak.leaked:,.0f}",
        note=f"{leak.share:.1%} of the test split",
        help="Test faces of which training would have seen a copy, after such a split by chance.",
    )
    if straddling == 0:
        st.success(
            f"**None.** All {leak.files:,} files of the {leak.photos:,} photos with copies are in the same "
            "part as their copies.",
            icon=":material/verified:",
        )
    elif straddling is not None:
        left_out = 0 if found is None else int(found.tables.files["leaked"].sum())
        st.info(
            f"**{straddling:,} photos** lie in more than one part, because sources keep their parts as they "
            f"are: {left_out:,} files are left out, so that nothing is learnt that is measured later.",
            icon=":material/content_cut:",
        )
    if found is not None:
        _compare_with_models(found)


def _compare_with_models(found: FolderAudit) -> None:
    """Says of each published model whether it was made with this very split."""
    for name, folder in sorted(folders_with(SPLIT_FILE).items()):
        path = folder / SPLIT_FILE
        try:
            check = check_split(path, found.prints.digests, found.tables.files["split"]).in_words()
        except ConfigError as error:
            check = without_paths(str(error))
        st.caption(f"Against the split that {quote(name)} was made with: {check}.")
