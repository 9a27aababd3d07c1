"""What the dataset page looks at: a folder or the shipped labels, and what is known of its faces."""

from __future__ import annotations

import json
import math
import os
import uuid
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
import streamlit as st
from numpy.typing import NDArray

from agegender.assets import AUDIT
from agegender.audit.gallery import FLAGS, Selection
from agegender.audit.label_table import read_label_table
from agegender.audit.split_report import split_names
from agegender.audit.steps import FolderAudit, audit_files, same_labels
from agegender.data.landmarks import main_faces
from agegender.data.table import Dataset, default_data_folders, named_folders, read_dataset
from agegender.errors import DatasetError
from agegender.faces import Face
from agegender.files import paths_below, unescape_name
from agegender.labels import GENDERS, MAX_AGE, group_codes, say_years
from agegender.progress import Progress
from agegender.runs.records import LANDMARKS_CACHE, RUNS_DIR
from ui.jobs import Jobs, watch
from ui.models import load_detector
from ui.widgets import quote, without_paths

HOW_TO_GET: Final = """
1. UTKFace is free for non-commercial research. Its project page,
   [susanqq.github.io/UTKFace](https://susanqq.github.io/UTKFace/), says on which terms and where to get it.
2. Take the *Aligned & Cropped Faces*, about 24,000 pictures of 200 × 200 pixels, and unpack them into a
   folder.
3. Name the folder once for the app and for training, before you start either:
"""

_REMEMBERED: Final = 2  # folders, with all that was found in them
_ALL: Final = "all"
_FACES_A_SECOND: Final = 50
_ALL_AGES: Final = (0, MAX_AGE)
_AGAIN: Final = "dataset folder read again"
_ME: Final = "who began a job"


@dataclass(frozen=True, eq=False)
class Source:
    """What there is to look at.

    Attributes:
        faces: One row a labelled face: its labels, and all else that is known of it.
        dataset: The folder; ``None`` where the labels are those that ship with the project.
        names: What tells this folder, with its files as they are, from others.
        audit: What was found in the folder, once somebody asked.
        facts: ``faces`` where split and copies are known. For UTKFace they are before anybody asks: the
            shipped labels, whose rows are in another order. Else ``None``.
        figures: Of the folder's audit, or of the shipped one where the labels are the same; else ``None``.
        is_utkface: Whether these are the labels that the published models were made with.
    """

    faces: pd.DataFrame
    dataset: Dataset | None
    names: tuple[str, int]
    audit: FolderAudit | None
    facts: pd.DataFrame | None
    figures: dict[str, Any] | None
    is_utkface: bool

    def path(self, row: int) -> Path:
        """Where the picture of a face is; only for folders."""
        if self.dataset is None:
            raise DatasetError("the shipped labels have no pictures")
        return self.dataset.folder / unescape_name(str(self.faces["file"].iloc[row]))

    def face_in(self, row: int, picture: NDArray[np.uint8]) -> Face | None:
        """Where the face is in a picture that is no chip; ``None`` for chips, and where none is found."""
        if self.faces["aligned"].iloc[row]:
            return None
        if self.audit is not None and self.audit.landmarks is not None:
            return self.audit.landmarks[row]
        return main_faces(load_detector(), [picture])[0]

    @property
    def ethnicities(self) -> tuple[str, ...]:
        """The words for ethnicity, last "not given" where that is so of some."""
        return group_codes(self.faces["group"], with_unknown=True)[1]

    @property
    def sources(self) -> tuple[str, ...]:
        """Where the faces come from; none where there is one source only."""
        names = sorted(set(self.faces["source"]))
        return tuple(names) if len(names) > 1 else ()


def choose_source() -> Source:
    """Opens the dataset's folders, or else the shipped labels.

    The folders are those that the app was started with. Visitors can name others only where whoever started
    it allows that by ``AGEGENDER_ANY_FOLDER=yes``: on a server it would open every folder to everybody.
    """
    named = ""
    with st.sidebar:
        if os.environ.get("AGEGENDER_ANY_FOLDER", "").strip().lower() in ("1", "yes", "true"):
            named = st.text_input(
                "Dataset folder",
                placeholder="as the app was started with",
                help="A folder, on the computer where this app runs, of labelled faces in one of the forms "
                f"that `docs/data.md` describes; or several, with `{os.pathsep}` between them. Pictures are "
                "shown to you and sent nowhere.",
                key="folder",
                persist_state="session",
            ).strip()
        folder = named or os.pathsep.join(map(str, default_data_folders()))
        if folder:
            st.button(
                "Read it again",
                icon=":material/refresh:",
                type="tertiary",
                key="reread",
                help="After files were added, changed or taken away.",
                on_click=lambda: st.session_state.update({_AGAIN: uuid.uuid4().hex}),
            )
    listing = _read_folder(folder, st.session_state.get(_AGAIN, "")) if folder else None
    if isinstance(listing, _Listing):
        return _open(listing)
    if folder:
        where = quote(named) if named else "the folder that this app was started with"
        why = f": {quote(listing)}" if listing else ""
        st.error(
            f"There is no dataset in {where}{why}. Here are the labels that ship with this project instead.",
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
        f"{what} *How to get the dataset* above says how to see them.",
        icon=":material/photo_library:",
    )


def need_audit(source: Source, why: str, *, key: str) -> None:
    """Offers to audit the folder, or shows how far that is.

    Args:
        source: A folder that was not audited.
        why: What it is good for here.
        key: Of the buttons.
    """
    dataset = source.dataset
    if dataset is None:
        return
    files, photos = len(dataset.table), int((~dataset.table["aligned"]).sum())
    # On two cores that have nothing else to do.
    minutes = math.ceil(files / 30_000 + photos / _FACES_A_SECOND / 60)
    duration = f"about {minutes} to {2 * minutes} minutes" if files > 5_000 else "less than a minute"
    run_beside(
        source,
        lambda progress: audit_files(dataset, progress, cache=RUNS_DIR / LANDMARKS_CACHE),
        "Audit all pictures",
        f"{why} That means reading {files:,} files once: {duration}, and you can look around meanwhile.",
        key=key,
    )


def is_at_work(source: Source) -> bool:
    """Whether work on the folder is going on, or has failed."""
    job = _jobs().find(source.names)
    return job is not None and (job.running or bool(job.error))


def run_beside(
    source: Source, work: Callable[[Progress], FolderAudit], label: str, words: str, *, key: str
) -> None:
    """Offers work on a folder, or shows how far it is; what comes of it is kept for all visitors.

    Args:
        source: The folder.
        work: What to do, in a thread of its own.
        label: Of the button.
        words: What it is good for and how long it takes.
        key: Of the button.
    """
    jobs, found = _jobs(), _audits()
    me: str = st.session_state.setdefault(_ME, uuid.uuid4().hex)
    job, current = jobs.find(source.names), jobs.current()
    if current is not None:
        if current is not job:
            st.info("Another folder is being audited for another visitor. Yours can be when that is done.")
        watch(current, me=me, key=f"{key}_stop")
        return
    if job is not None and job.error:
        st.error(job.error, icon=":material/error:")

    def work_and_keep(progress: Progress) -> None:
        audit = work(progress)
        progress("Making lists", 98, 100)
        audit.prepare()
        found[source.names] = audit
        while len(found) > _REMEMBERED:
            found.popitem(last=False)

    with st.container(border=True):
        st.markdown(words)
        st.button(
            label,
            icon=":material/search:",
            key=key,
            on_click=jobs.begin,
            args=(source.names, work_and_keep, me),
        )


def choose_faces(source: Source, *, quality: bool = False) -> Selection:
    """Draws the filters, whose choices all sections share.

    Args:
        source: What there is to look at.
        quality: Whether to offer splits and quality flags as well.
    """
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        gender = _choose("Gender", GENDERS, "As the dataset's annotators perceived it.")
        ethnicity = _choose("Ethnicity", source.ethnicities, "The words are the dataset's own.")
        origin = _ALL
        if source.sources:
            origin = _choose("Source", source.sources, "The folder that a face comes from.")
        ages = st.slider(
            "Ages",
            *_ALL_AGES,
            value=_ALL_AGES,
            width=190,
            help="Both ends are included. A label that is a range needs one year within.",
            key="ages",
            bind="query-params",
        )
        split = flag = _ALL
        if quality:
            split = _choose(
                "Split",
                split_names(source.faces["split"]) if "split" in source.faces else (),
                "What a face is for: to learn from, to choose the best state by, or to measure with.",
            )
            known = [name for name in FLAGS if name in source.faces]
            flag = _choose("Quality", known, "\n".join(f"- **{name}**: {FLAGS[name]}" for name in FLAGS))
    return Selection(
        ages=ages,
        gender=None if gender == _ALL else GENDERS.index(gender),
        ethnicity=None if ethnicity == _ALL else ethnicity,
        source=None if origin == _ALL else origin,
        split=None if split == _ALL else split,
        flag=None if flag == _ALL else flag,
    )


def choose_by_click(name: str, choice: str | tuple[int, int], known: Sequence[Any]) -> None:
    """Sets a filter of `choose_faces` from a callback; what is chosen already is taken back.

    Args:
        name: "gender", "ethnicity", "source" or "ages".
        choice: A word the filter knows, or the first and last age.
        known: What can be chosen; nothing else is listened to.
    """
    everybody = _ALL_AGES if name == "ages" else _ALL
    if choice in known:
        st.session_state[name] = everybody if st.session_state.get(name) == choice else choice


def show_no_face() -> None:
    """The empty state of a selection."""
    st.info(
        "No face has all of these. Choose *all* in one of the fields above.", icon=":material/filter_alt_off:"
    )


def label_words(face: pd.Series) -> str:
    """The labels of a face, for example "26 years, female, Asian"."""
    years = say_years(face["age_min"], face["age_max"])
    return ", ".join(word for word in (f"{years} years", GENDERS[face["gender"]], face["group"]) if word)


def _choose(label: str, names: Sequence[str], help_text: str) -> str:
    return st.selectbox(
        label,
        [_ALL, *names],
        width=140,
        disabled=not names,
        help=help_text,
        key=label.lower(),
        bind="query-params",
    )


@dataclass(frozen=True, eq=False)
class _Listing:
    """A folder's labels, a number that tells its files from others, and whether they are UTKFace's."""

    dataset: Dataset
    number: int
    is_utkface: bool


@st.cache_resource(max_entries=4, ttl="1h", show_spinner="Reading the file names …")
def _read_folder(folder: str, again: str) -> _Listing | str:
    """Lists folders; that they have no faces, and why, is remembered, too.

    Args:
        folder: Their paths, see `named_folders`.
        again: Differs for visitors who asked for them to be read anew.
    """
    try:
        dataset = read_dataset(named_folders(folder))
    except DatasetError as error:
        return without_paths(str(error).partition(". UTKFace is free")[0])
    except (OSError, RuntimeError, ValueError):  # whatever was typed: "~nobody", a zero byte
        return ""
    files = paths_below(dataset.folder, dataset.table["file"])
    states = tuple((str(file), *_state(file)) for file in files)
    return _Listing(dataset, hash(states), same_labels(dataset.table, _shipped_labels()))


def _state(file: Path) -> tuple[int, int]:
    try:
        found = file.stat()
    except OSError:
        return 0, 0
    return found.st_size, found.st_mtime_ns


@st.cache_resource(max_entries=1, show_spinner=False)
def _shipped_labels() -> pd.DataFrame:
    return read_label_table()


@st.cache_resource(max_entries=1, show_spinner=False)
def _shipped_figures() -> dict[str, Any]:
    figures: dict[str, Any] = json.loads(AUDIT.read_text(encoding="utf-8"))
    return figures


@st.cache_resource(max_entries=1, show_spinner=False)
def _audits() -> OrderedDict[tuple[str, int], FolderAudit]:
    return OrderedDict()


@st.cache_resource(max_entries=1, show_spinner=False)
def _jobs() -> Jobs:
    return Jobs()


def _open(listing: _Listing) -> Source:
    dataset, names = listing.dataset, (str(listing.dataset.folder), listing.number)
    found = _audits().get(names)
    facts = _shipped_labels() if listing.is_utkface else None
    figures = _shipped_figures() if listing.is_utkface else None
    if found is None:
        return Source(dataset.table, dataset, names, None, facts, figures, listing.is_utkface)
    own = json.loads(json.dumps(found.figures))  # keys as the shipped figures have them
    return Source(found.faces, dataset, names, found, found.faces, own, listing.is_utkface)
