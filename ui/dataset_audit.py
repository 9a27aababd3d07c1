"""The section of the dataset page that doubts it: names, copies, conflicts and suspicious labels."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
import streamlit as st

from agegender import charts
from agegender.audit.audit import explain_name
from agegender.audit.findings import CONFLICT_YEARS, KINDS
from agegender.audit.steps import FolderAudit, audit_labels
from agegender.export import to_csv
from ui.dataset import Source, label_words, need_audit, need_pictures, run_beside
from ui.dataset_gallery import show_face, show_gallery, thumbnails
from ui.widgets import choose_one, choose_part, offer_download, show_chart, show_tile

_PHOTOS_A_PAGE: Final = 12
_SUSPECTS_A_PAGE: Final = 24
_FEW_PHOTOS: Final = 30
_CONFLICTS: Final = ("gender", "age", "ethnicity", "none")


def show_audit(source: Source) -> None:
    """Names at once; copies, noise and suspicious labels where they are known; the list as CSV."""
    found = source.audit
    if found is None and source.dataset is not None:
        need_audit(
            source,
            "**Copies, conflicts, unreadable files and suspicious labels** show only in the pictures.",
            key="audit_files",
        )
    _show_names(source)
    figures = source.figures
    if figures is None:
        return
    if found is None:
        st.caption(
            "The figures below were measured before, on these very labels, and ship with the project "
            "(`docs/audit.md`)."
        )
    _show_noise(figures)
    if found is not None:
        _show_copies(source, found)
        _show_suspects(source, found)
        _show_findings(found)
    else:
        _show_suspect_figures(figures)
        if source.dataset is None:
            need_pictures("The copies side by side and the suspicious faces need the pictures.")


def _show_names(source: Source) -> None:
    st.subheader(
        "Names", help="A file's name holds its labels: `[age]_[gender]_[ethnicity]_[date].jpg.chip.jpg`."
    )
    if source.dataset is not None:
        skipped = source.dataset.skipped
        names = pd.DataFrame(
            {
                "file": skipped["file"],
                "reason": [
                    explain_name(Path(file).name, reason)
                    for file, reason in skipped[["file", "reason"]].to_numpy().tolist()
                ],
            }
        )
    else:
        names = pd.DataFrame(source.figures["damaged_names"] if source.figures else [])
    if names.empty:
        st.success("Every file name could be read.", icon=":material/check:")
        return
    words = "1 name does" if len(names) == 1 else f"{len(names):,} names do"
    st.markdown(f"{words} not say what a name should: nothing can be learnt or measured with such a file.")
    columns = {"file": "File", "reason": "What is wrong"}
    st.dataframe(names.rename(columns=columns), hide_index=True, alt="Files that were skipped, and why")


def _show_noise(figures: dict[str, Any]) -> None:
    copies, conflicts, noise = figures["duplicates"], figures["conflicts"], figures["label_noise"]
    st.subheader(
        "Copies and conflicts",
        help="Copies are found by their bytes and by a *difference hash*, which hardly changes when a photo "
        "is re-encoded, scaled, shifted a little or mirrored.",
    )
    if noise is None:
        st.success("No photo is there more than once.", icon=":material/check:")
        return
    grid = st.grid(4, min_column_width=150)
    show_tile(
        grid,
        "Photos with copies",
        f"{copies['photos']:,}",
        note=f"{copies['redundant']:,} redundant files",
    )
    show_tile(
        grid,
        "Two ages differ by",
        f"{noise['age_gap']['value']:.1f} years",
        note=f"over 10 years in {noise['over10']['value']:.0%}",
        help="Between two labels of one photo, on average.",
    )
    show_tile(
        grid,
        "Gender differs in",
        f"{noise['gender_differs']['value']:.1%}",
        note=f"{conflicts['photos_gender_differs']:,} photos",
        help="Of all pairs of copies.",
    )
    floor = noise["age_floor_reweighted"]
    show_tile(
        grid,
        "Least error",
        f"{floor['value']:.1f} years",
        note=f"{floor['low']:.1f} to {floor['high']:.1f}",
        help="The floor under the mean absolute error that these labels set: a model gives a photo one "
        "answer, and cannot please two labels that differ. Were errors Gaussian, it is the mean difference "
        "of two labels over √2, each age band weighted by how often it occurs. The range is a 95 % bootstrap "
        "interval.",
    )
    if noise["groups"] < _FEW_PHOTOS:
        st.caption(f"All this rests on {noise['groups']} photos, so it is rough.")
    else:
        ceiling = noise["gender_ceiling"]
        st.markdown(
            "For the same reason no model is right about gender more often than in about "
            f"**{ceiling['value']:.1%}** ({ceiling['low']:.1%} to {ceiling['high']:.1%})."
        )
    grid = st.grid(2, min_column_width=320)
    with grid.cell():
        st.markdown("**How far two ages of one photo are apart**")
        gaps = {int(gap): count for gap, count in conflicts["pairs_by_age_gap"].items()}
        show_chart(charts.label_gaps(gaps), key="gaps")
    with grid.cell():
        st.markdown("**The same by age**")
        bands = noise["by_band"]
        show_chart(
            charts.gaps_by_band(
                list(bands),
                [band["age_gap"] for band in bands.values()],
                [band["pairs"] for band in bands.values()],
            ),
            key="gaps_by_band",
        )


def _show_copies(source: Source, found: FolderAudit) -> None:
    """Copies side by side, those with the worst conflicts first."""
    groups = found.tables.groups
    if groups.empty:
        return
    st.subheader("The same photo, labelled more than once")
    conflict = {
        "gender": groups["gender_differs"],
        "age": groups["age_gap"] > CONFLICT_YEARS,
        "ethnicity": groups["ethnicity_differs"],
    }
    conflict["none"] = ~np.logical_or.reduce(list(conflict.values()))
    kind = choose_one(
        "Conflict in",
        _CONFLICTS,
        key="conflict",
        help=f"*Age*: more than {CONFLICT_YEARS} years apart. *None*: copies whose labels agree well enough.",
    )
    st.caption(" · ".join(f"{name.capitalize()}: {found.sum():,}" for name, found in conflict.items()))
    chosen = groups[conflict[kind]].sort_values(["age_gap", "copies"], ascending=False, kind="stable")
    if chosen.empty:
        st.caption("No photo has such a conflict.")
        return
    part = choose_part(chosen.index.tolist(), _PHOTOS_A_PAGE, "photos", key=f"copies page {kind}")
    grid = st.grid(3, min_column_width=290, border=True)
    for group in part:
        rows = np.flatnonzero((source.faces["group"] == group).to_numpy())
        shown = source.faces.iloc[rows]
        pictures = thumbnails(source.names[0], tuple(shown["file"]))
        with grid.cell(), st.container(horizontal=True, gap="small"):
            for (_, face), picture in zip(shown.iterrows(), pictures, strict=True):
                with st.container(width=96, gap="xxsmall"):
                    if picture:
                        st.image(picture, width=96, alt=f"A copy labelled {label_words(face)}")
                    st.caption(label_words(face))


def _show_suspects(source: Source, found: FolderAudit) -> None:
    st.subheader(
        "Suspicious labels",
        help="A model that saw neither the photo nor a copy of it (it learnt from the other four fifths) "
        "expects something far from the label: an age twice as far off as its 90 % interval reaches, or the "
        "other gender with 98 % or more.",
    )
    suspects = found.tables.suspects
    if suspects is None:
        run_beside(
            source,
            lambda progress: audit_labels(found, progress),
            "Look for suspicious labels",
            "A model that never saw a face can say which label does not fit it. That loads TensorFlow and "
            f"looks at {len(source.faces):,} faces: one to three minutes, and you can look around meanwhile.",
            key="audit_labels",
        )
        return
    if suspects.empty:
        st.success("No label is far from what a model expects.", icon=":material/check:")
        return
    st.markdown(
        f"**{len(suspects):,} labels** do not fit their face, the least likely first. A suspicion is a "
        "reason to look, not a verdict: to a model, an unusual face looks the same as a wrong label."
    )
    rows = choose_part(suspects["row"].tolist(), _SUSPECTS_A_PAGE, "labels", key="suspects page")
    captions = [_suspicion(source.faces.iloc[row]) for row in rows]
    opened = show_gallery(source, rows, key="suspects_gallery", captions=captions)
    if opened is not None:
        show_face(source, opened, None)


def _suspicion(face: pd.Series) -> str:
    seen = "female" if face["predicted_female"] >= 0.5 else "male"
    labelled = "female" if face["gender"] == 1 else "male"
    words = f"{face['age']}, looks {face['predicted_age']:.0f}"
    return words if seen == labelled else f"{words} · {labelled}, looks {seen}"


def _show_suspect_figures(figures: dict[str, Any]) -> None:
    suspects = figures["suspects"]
    if suspects is None:
        return
    st.subheader("Suspicious labels")
    st.markdown(
        f"**{suspects['files']:,} labels** do not fit their face, by a model that saw neither the photo nor "
        f"a copy of it: the age of {suspects['age']:,} and the gender of {suspects['gender']:,}. By eye, "
        "about two in three of the most suspicious ones are wrong."
    )


def _show_findings(found: FolderAudit) -> None:
    listed = found.findings
    st.subheader("All findings")
    counts = listed["kind"].value_counts()
    sought = [kind for kind in KINDS if found.has_suspects or kind != "suspicious label"]
    table = pd.DataFrame(
        [(kind, level, int(counts.get(kind, 0))) for kind, level in KINDS.items() if kind in sought],
        columns=["What", "Severity", "Files"],
    )
    st.dataframe(
        table,
        hide_index=True,
        column_config={
            "Severity": st.column_config.NumberColumn(
                help="3 cannot be used as it is, 2 misleads whoever trusts it, 1 is good to know."
            )
        },
        alt="How many files have each kind of finding",
    )
    offer_download(
        "Findings as CSV",
        lambda: to_csv(listed),
        "findings.csv",
        help="A line a finding: the file, what is wrong, its labels, its copies' group, its split"
        + (", and what a model expects." if found.has_suspects else "."),
    )
