"""What the dataset page looks at: a folder or the shipped labels, and what is known of its faces."""

from __future__ import annotations

import json
import math
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pandas as pd
import streamlit as st

from agegender.assets import AUDIT
from agegender.audit.examination import Examination, examine, same_labels
from agegender.audit.gallery import FLAGS, Selection
from agegender.audit.label_table import read_label_table
from agegender.data.split import SPLITS
from agegender.data.table import Dataset, default_data_folder, read_dataset
from agegender.errors import DatasetError
from agegender.files import unescape_name
from agegender.labels import ETHNICITIES, GENDERS, MAX_AGE
from agegender.progress import Progress
from ui.jobs import Job, watch
from ui.state import keep, linked, restore
from ui.widgets import quote

HOW_TO_GET: Final = """
1. UTKFace is free for non-commercial research. Its project page,
   [susanqq.github.io/UTKFace](https://susanqq.github.io/UTKFace/), says on which terms and where to get it.
2. Take the *Aligned & Cropped Faces*, about 24,000 pictures of 200 × 200 pixels, and unpack them into a
   folder.
3. Type the folder's path into the **sidebar**, under *Dataset folder*. Or name it once for the app and for
   training, before you start either:
"""

_REMEMBERED: Final = 2  # folders, with all that was found in them
_AGE_RANGES: Final = tuple(f"{low}-{high}" for low in range(MAX_AGE + 1) for high in range(low, MAX_AGE + 1))
_ALL: Final = "all"
_ALL_AGES: Final = f"0-{MAX_AGE}"


@dataclass(frozen=True, eq=False)
class Source:
    """What there is to look at.

    Attributes:
        faces: One row a labelled face: its labels, and all else that is known of it.
        dataset: The folder; ``None`` where the labels are those that ship with the project.
        names: What tells this folder and its files from others.
        examination: What was found in the folder, once somebody asked.
        facts: ``faces`` where split and copies are known. For UTKFace they are before anybody asks: the
            shipped labels, whose rows are in another order. Else ``None``.
        figures: Of the folder's audit, or of the shipped one where the labels are the same; else ``None``.
        is_utkface: Whether these are the labels that the published models were made with.
    """

    faces: pd.DataFrame
    dataset: Dataset | None
    names: tuple[str, int]
    examination: Examination | None
    facts: pd.DataFrame | None
    figures: dict[str, Any] | None
    is_utkface: bool

    def path(self, row: int) -> Path:
        """Where the picture of a face is; only for folders."""
        if self.dataset is None:
            raise DatasetError("the shipped labels have no pictures")
        return self.dataset.folder / unescape_name(str(self.faces["file"].iloc[row]))


def choose_source() -> Source:
    """Puts the dataset's folder into the sidebar and opens it, or else the shipped labels."""
    with st.sidebar:
        folder = st.text_input(
            "Dataset folder",
            value=str(default_data_folder() or ""),
            placeholder="path/to/UTKFace",
            help="A folder, on the computer where this app runs, of pictures named like UTKFace's: "
            "`[age]_[gender]_[ethnicity]_[date].jpg`. Its pictures are shown to you and sent nowhere.",
            key="folder",
            persist_state="session",
        ).strip()
        if folder:
            st.button(
                "Read it again",
                icon=":material/refresh:",
                type="tertiary",
                key="reread",
                help="After files were added, changed or taken away.",
                on_click=_forget,
            )
    if folder:
        try:
            return _open(folder)
        except DatasetError:
            st.error(
                f"There is no dataset in {quote(folder)}: no pictures named like UTKFace's. Here are the "
                "labels that ship with this project instead.",
                icon=":material/folder_off:",
            )
    else:
        st.info(
            "**Labels without pictures.** No dataset folder is named, so these are the labels of UTKFace, "
            "which ship with this project. To see the faces, get the dataset.",
            icon=":material/folder_open:",
        )
    with st.expander("How to get the dataset", icon=":material/download:"):
        show_how_to_get()
    labels = _shipped_labels()
    return Source(labels, None, ("", 0), None, labels, _shipped_figures(), is_utkface=True)


def show_how_to_get() -> None:
    """Says how to get UTKFace, step by step."""
    st.markdown(HOW_TO_GET)
    st.code("export UTKFACE_DIR=path/to/UTKFace", None)  # highlighted, its words are too pale to read


def need_pictures(what: str) -> None:
    """Says that something needs a folder; the steps to get one stand at the top of the page."""
    st.info(
        f"{what} Open *How to get the dataset* above, then type its folder into the sidebar.",
        icon=":material/photo_library:",
    )


def need_examination(source: Source, why: str, *, key: str) -> None:
    """Offers to examine the folder, or shows how far that is.

    Args:
        source: A folder that was not examined.
        why: What it is good for here.
        key: Of the buttons.
    """
    dataset = source.dataset
    if dataset is None:
        return
    files = len(dataset.table)
    minutes = math.ceil(files / 30_000)  # on two cores that have nothing else to do
    duration = f"about {minutes} to {2 * minutes} minutes" if files > 5_000 else "less than a minute"
    run_beside(
        source,
        lambda report: examine(dataset, report),
        "Examine all pictures",
        f"{why} That means reading {files:,} files once: {duration}, and you can look around meanwhile.",
        key=key,
    )


def is_at_work(source: Source) -> bool:
    """Whether work on the folder is going on, or has failed."""
    job = _jobs().get(source.names)
    return job is not None and (job.running or bool(job.error))


def run_beside(
    source: Source, work: Callable[[Progress], Examination], label: str, words: str, *, key: str
) -> None:
    """Offers work on a folder, or shows how far it is; what comes of it is kept for all visitors.

    Args:
        source: The folder.
        work: What to do, in a thread of its own.
        label: Of the button.
        words: What it is good for and how long it takes.
        key: Of the button.
    """
    jobs, found = _jobs(), _examinations()
    job = jobs.get(source.names)
    if job is not None and job.running:
        watch(job, key=f"{key}_stop")
        return
    if job is not None and job.error:
        st.error(job.error, icon=":material/error:")

    def work_and_keep(progress: Progress) -> None:
        examination = work(progress)
        progress("Making lists", 98, 100)
        examination.prepare()
        found[source.names] = examination
        while len(found) > _REMEMBERED:
            found.popitem(last=False)

    def begin() -> None:
        now = jobs.get(source.names)
        if now is None or not now.running:  # another visitor may have been quicker
            jobs[source.names] = Job(work_and_keep)

    with st.container(border=True):
        st.markdown(words)
        st.button(label, icon=":material/search:", key=key, on_click=begin)


def choose_faces(source: Source, page: str, *, quality: bool = False) -> Selection:
    """Draws the filters, whose choices all sections share.

    Args:
        source: What there is to look at.
        page: Makes the widgets' keys unique.
        quality: Whether to offer splits and quality flags as well.
    """
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        gender = _choose("Gender", GENDERS, "gender", page, "As the dataset's annotators perceived it.")
        ethnicity = _choose("Ethnicity", ETHNICITIES, "ethnicity", page, "The words are the dataset's own.")
        ages = _choose_ages(page)
        split = flag = _ALL
        if quality:
            split = _choose(
                "Split",
                SPLITS if "split" in source.faces else (),
                "split",
                page,
                "What a face is for: to learn from, to choose the best state by, or to measure with.",
            )
            known = [name for name in FLAGS if name in source.faces]
            meanings = "\n".join(f"- **{name}**: {FLAGS[name]}" for name in FLAGS)
            flag = _choose("Quality", known, "quality", page, meanings)
    return Selection(
        ages=ages,
        gender=None if gender == _ALL else GENDERS.index(gender),
        ethnicity=None if ethnicity == _ALL else ETHNICITIES.index(ethnicity),
        split=None if split == _ALL else split,
        flag=None if flag == _ALL else flag,
    )


def choose_by_click(page: str, name: str, choice: str) -> None:
    """Sets a filter of `choose_faces` from a callback; what is chosen already is taken back.

    Args:
        page: As given to `choose_faces`.
        name: "gender", "ethnicity" or "ages".
        choice: A word the filter knows, or ages such as "26-35". Others are not listened to.
    """
    everybody, known = {
        "gender": (_ALL, GENDERS),
        "ethnicity": (_ALL, ETHNICITIES),
        "ages": (_ALL_AGES, _AGE_RANGES),
    }[name]
    key = f"{page}_{name}"
    if choice in known:
        st.session_state[key] = everybody if st.session_state.get(key) == choice else choice


def show_no_face() -> None:
    """The empty state of a selection."""
    st.info(
        "No face has all of these. Choose *all* in one of the fields above.", icon=":material/filter_alt_off:"
    )


def label_words(face: pd.Series) -> str:
    """The labels of a face, for example "26 years, female, Asian"."""
    return f"{face['age']} years, {GENDERS[face['gender']]}, {ETHNICITIES[face['ethnicity']]}"


def _choose(label: str, names: Sequence[str], name: str, page: str, help_text: str) -> str:
    return linked(
        st.selectbox,
        label,
        [_ALL, *names],
        name=name,
        key=f"{page}_{name}",
        default=_ALL,
        width=140,
        disabled=not names,
        help=help_text,
    )


def _choose_ages(page: str) -> tuple[int, int]:
    """A slider of two ends; the address carries it as "20-40"."""
    text, slider = f"{page}_ages", f"{page}_ages_slider"
    restore("ages", text, _AGE_RANGES, _ALL_AGES)
    low, high = map(int, st.session_state[text].split("-"))
    st.session_state[slider] = (low, high)

    def take() -> None:
        st.session_state[text] = "{}-{}".format(*st.session_state[slider])

    st.slider("Ages", 0, MAX_AGE, key=slider, on_change=take, width=190, help="Both ends are included.")
    keep("ages", st.session_state[text], _ALL_AGES)
    return low, high


@st.cache_resource(max_entries=4, ttl="1h", show_spinner="Reading the file names …")
def _read_folder(folder: str) -> tuple[Dataset, int, bool]:
    """The labels, a number that tells these files from others, and whether they are UTKFace's."""
    dataset = read_dataset(folder)
    return dataset, hash(tuple(dataset.table["file"])), same_labels(dataset.table, _shipped_labels())


@st.cache_resource(max_entries=1, show_spinner=False)
def _shipped_labels() -> pd.DataFrame:
    return read_label_table()


@st.cache_resource(max_entries=1, show_spinner=False)
def _shipped_figures() -> dict[str, Any]:
    figures: dict[str, Any] = json.loads(AUDIT.read_text(encoding="utf-8"))
    return figures


@st.cache_resource(max_entries=1, show_spinner=False)
def _examinations() -> OrderedDict[tuple[str, int], Examination]:
    return OrderedDict()


@st.cache_resource(max_entries=1, show_spinner=False)
def _jobs() -> dict[tuple[str, int], Job]:
    return {}


def _forget() -> None:
    _read_folder.clear()
    _examinations().clear()


def _open(folder: str) -> Source:
    dataset, number, is_utkface = _read_folder(folder)
    names = (str(dataset.folder), number)
    found = _examinations().get(names)
    facts = _shipped_labels() if is_utkface else None
    figures = _shipped_figures() if is_utkface else None
    if found is None:
        return Source(dataset.table, dataset, names, None, facts, figures, is_utkface)
    own = json.loads(json.dumps(found.figures))  # keys as the shipped figures have them
    return Source(found.faces, dataset, names, found, found.faces, own, is_utkface)
