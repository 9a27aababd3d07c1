"""The section of the dataset page that shows its pictures, and pictures for the other sections."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd
import streamlit as st
from numpy.typing import NDArray

from agegender.audit.gallery import FLAGS, ORDERS, in_order, thumbnail
from agegender.errors import AgeGenderError, ImageError
from agegender.faces import CHIP_SIZE
from agegender.faces.chip import resize_chip
from agegender.files import paths_below
from agegender.images import read_image
from agegender.labels import ETHNICITIES, GENDERS
from agegender.wording import say_age, say_gender
from ui.dataset import (
    Source,
    choose_faces,
    is_at_work,
    label_words,
    need_audit,
    need_pictures,
    show_no_face,
)
from ui.models import choose_model, load_model
from ui.widgets import choose_part, jpeg_address, quote, show_drawing, show_failure, show_picture

FACES_A_PAGE: Final = 48

_GALLERY = st.components.v2.component(
    "dataset_gallery",
    html='<div class="faces" role="list"></div>',
    css="""
    .faces { display: grid; gap: 0.5rem; grid-template-columns: repeat(auto-fill, minmax(5.5rem, 1fr)); }
    button { all: unset; box-sizing: border-box; width: 100%; cursor: pointer; text-align: center;
             border-radius: var(--st-base-radius); overflow: hidden; color: var(--st-text-color);
             background: var(--st-secondary-background-color); border: 1px solid var(--st-border-color); }
    button:hover { border-color: var(--st-primary-color); }
    button:focus-visible { outline: 3px solid var(--st-primary-color); outline-offset: 1px; }
    img, .missing { display: block; width: 100%; aspect-ratio: 1; object-fit: cover; }
    .missing { display: grid; place-items: center; font-size: 0.8rem; }
    .caption { display: block; padding: 0.2rem 0.3rem; font: 0.8rem/1.3 var(--st-font); }
    """,
    js="""
    export default function ({ parentElement, data, setTriggerValue }) {
        const cells = data.faces.map((face) => {
            const cell = document.createElement("div");
            cell.setAttribute("role", "listitem");
            const button = document.createElement("button");
            button.type = "button";
            button.setAttribute("aria-label", face.label);
            button.title = face.label;
            const picture = document.createElement(face.source ? "img" : "span");
            if (face.source) { picture.src = face.source; picture.alt = ""; }
            else { picture.className = "missing"; picture.textContent = "unreadable"; }
            const caption = document.createElement("span");
            caption.className = "caption";
            caption.textContent = face.caption;
            button.append(picture, caption);
            button.onclick = () => setTriggerValue("opened", face.row);
            cell.append(button);
            return cell;
        });
        parentElement.querySelector(".faces").replaceChildren(...cells);
    }
    """,
)


def show_gallery(
    source: Source, rows: Sequence[int], *, key: str, captions: Iterable[str] = ()
) -> int | None:
    """Shows faces of a folder in a grid, each a button.

    Args:
        source: A folder.
        rows: Which faces, positions in ``source.faces``.
        key: Unique on the page.
        captions: What to write under each; by default the age and the gender's first letter.

    Returns:
        The face that was just clicked, or ``None``.
    """
    shown = source.faces.iloc[list(rows)]
    pictures = thumbnails(source.names[0], tuple(shown["file"]))
    words = list(captions) or [
        f"{age} · {GENDERS[gender]}" for age, gender in zip(shown["age"], shown["gender"], strict=True)
    ]
    faces = [
        {"row": int(row), "source": picture, "caption": caption, "label": label_words(face)}
        for row, picture, caption, (_, face) in zip(rows, pictures, words, shown.iterrows(), strict=True)
    ]
    clicked = _GALLERY(key=key, data={"faces": faces}, on_opened_change=lambda: None).opened
    return int(clicked) if clicked is not None and 0 <= clicked < len(source.faces) else None


def browse(source: Source) -> None:
    """The gallery with its filters; a click opens a face."""
    if source.dataset is None:
        need_pictures("There are no pictures to browse yet: this project ships UTKFace's labels only.")
        return
    faces = source.faces
    selection = choose_faces(source, quality=True)
    if source.audit is None:
        with st.expander(
            "Filter by split and quality", icon=":material/filter_alt:", expanded=is_at_work(source)
        ):
            need_audit(
                source,
                "Which split a photo is in, and whether it has copies, conflicting labels or is dim or "
                "blurred, shows only in the pictures.",
                key="browse_files",
            )
    model = choose_model()
    wanted = selection.rows(faces)
    count = int(wanted.sum())
    if not count:
        show_no_face()
        return
    orders = [order for order in ORDERS if order != "most suspicious first" or "suspicion" in faces]
    order = st.selectbox("Order", orders, width=200, key="order", bind="query-params")
    rows = choose_part(
        in_order(faces, wanted, order).tolist(), FACES_A_PAGE, "faces", key=f"browse page {selection} {order}"
    )
    st.caption(f"{count:,} of {len(faces):,} faces. Click on one for its labels and the model's answer.")
    opened = show_gallery(source, rows, key="browse_gallery")
    if opened is not None:
        show_face(source, opened, model)


@st.dialog("One face", width="medium", icon=":material/face:")
def show_face(source: Source, row: int, model: str | None) -> None:
    """Shows a face with its labels, its copies, and what a model says of it.

    Args:
        source: A folder.
        row: Position in ``source.faces``.
        model: Whom to ask, or ``None``.
    """
    face = source.faces.iloc[row]
    try:
        image = read_image(source.path(row))
    except ImageError as error:
        st.error(f"{quote(face['file'])} cannot be read: {error.reason}", icon=":material/broken_image:")
        return
    grid = st.grid(2, min_column_width=230)
    with grid.cell():
        show_picture(image, width=240, alt=f"A face labelled {label_words(face)}")
        if st.button(
            "See it augmented",
            icon=":material/auto_fix_high:",
            key="to_augmentation",
            on_click=_turn_to_augmentation,
            args=(face["file"],),
        ):
            st.rerun()  # the whole page: a click in a dialog reruns the dialog only
    with grid.cell():
        st.markdown("**Its labels**")
        labels = {
            "Age": f"{face['age']} years",
            "Gender": GENDERS[face["gender"]],
            "Ethnicity": ETHNICITIES[face["ethnicity"]],
            "Collected": "no date" if pd.isna(face["captured"]) else f"{face['captured']:%d %B %Y}",
            "Split": face.get("split", "not known yet"),
        }
        st.table(labels, border="horizontal", hide_header=True)
        flags = [name for name in FLAGS if face.get(name)]
        if flags:
            st.markdown(" ".join(f":orange-badge[{flag}]" for flag in flags))
        if face.get("reasons"):
            st.caption(f"Out of fold: {face['reasons']}.")
    st.caption(quote(face["file"]))
    if face.get("copies", 1) > 1:
        _show_copies(source, row)
    if model is not None:
        _show_answer(image, row, source, model)


def _show_copies(source: Source, row: int) -> None:
    faces = source.faces
    same = np.flatnonzero((faces["group"] == faces["group"].iloc[row]).to_numpy())
    others = [int(other) for other in same if other != row]
    st.markdown("**The same photo, and how it was labelled there**")
    pictures = thumbnails(source.names[0], tuple(faces["file"].iloc[others]))
    grid = st.grid("auto", min_column_width=110)
    for other, picture in zip(others, pictures, strict=True):
        words = label_words(faces.iloc[other])
        with grid.cell():
            if picture:
                st.image(picture, width=110, alt=f"The same photo, labelled {words}")
            st.caption(words)


def _show_answer(image: NDArray[np.uint8], row: int, source: Source, model: str) -> None:
    face = source.faces.iloc[row]
    st.markdown(f"**What {quote(model)} answers**")
    try:
        chip = resize_chip(image, (CHIP_SIZE, CHIP_SIZE))
        age, gender = load_model(model).predictor.predict_chips(chip[None])[0]
    except AgeGenderError as error:
        show_failure(error)
        return
    if age is not None:
        years = age.years - face["age"]
        side = "above" if years > 0 else "below"
        apart = "as labelled" if abs(years) < 0.5 else f"{abs(years):.0f} years {side} the label"
        st.markdown(f"{say_age(age).capitalize()}: {apart}.")
    if gender is not None:
        agrees = "as labelled" if gender.label == GENDERS[face["gender"]] else "not as labelled"
        words = say_gender(gender).capitalize()
        st.markdown(f"{words}." if gender.uncertain else f"{words}: {agrees}.")
    show_drawing(age, gender)
    if source.is_utkface:
        st.caption(_say_seen(face.get("split")))


def _say_seen(split: str | None) -> str:
    if split is None:
        return "Four in five of these photos were used to train the model; an audit says which."
    if split == "train":
        return "The model was trained on this photo and its label: its answer here is no test of it."
    return f"The model was not trained on this photo: it is in the {split} split."


def _turn_to_augmentation(file: str) -> None:
    st.session_state["augmented file"] = file
    st.session_state["section"] = "Augmentation"


@st.cache_data(max_entries=64, ttl="1h", show_spinner=False)
def thumbnails(folder: str, files: tuple[str, ...]) -> list[str | None]:
    """Small pictures as addresses that hold them, ``None`` for what cannot be read."""
    pictures = [thumbnail(path) for path in paths_below(Path(folder), files)]
    return [None if picture is None else jpeg_address(picture) for picture in pictures]
