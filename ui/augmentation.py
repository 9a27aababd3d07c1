"""The section of the dataset page that shows what training makes of one face."""

from __future__ import annotations

import random
from typing import Final

import numpy as np
import pandas as pd
import streamlit as st
from numpy.typing import NDArray

from agegender.assets import EXAMPLE
from agegender.audit.augment_preview import KINDS, preview, strengthened
from agegender.data.augment import Augmentation
from agegender.errors import ImageError
from agegender.faces import Face, crop_face
from agegender.faces.chip import resize_chip
from agegender.images import read_image
from ui.dataset import Source, label_words
from ui.widgets import quote, show_picture

_SIZE: Final = (160, 160)
_PICTURES: Final = 17  # with the face itself before them they fill rows of 2, 3, 6 and 9
_DRAW: Final = "augmentation draw"
_FILE: Final = "augmented file"

EXAMPLE_FACE: Final = Face(
    (1311.2, 552.2, 1428.4, 696.9),
    0.998,
    ((1345.9, 605.3), (1400.4, 601.7), (1377.1, 634.0), (1351.9, 657.8), (1399.6, 656.0)),
)
"""Grace Hopper in the example picture, as the detector finds her: so this page need not load it."""

_WORDS: Final[dict[str, str]] = {
    "flip": "Mirrored: probability",
    "rotation": "Turned: standard deviation, degrees",
    "tilt": "Turned by any angle up to 40°: probability",
    "shift": "Shifted: standard deviation, share of the side",
    "zoom": "Zoomed: standard deviation of the logarithm of the scale",
    "brightness": "Brighter or darker: at most, share of the range",
    "contrast": "Contrast: at most, factor around 1",
    "saturation": "Saturation: at most, factor around 1",
    "cast": "Colour cast: at most, factor around 1 on each channel",
    "grey": "Without colour: probability",
    "dark": "Much darker: probability",
    "shade": "Lit from one side: probability",
    "low_resolution": "Shrunk to 16 to 80 pixels and back: probability",
    "blur": "Blurred: probability",
    "jpeg": "Saved as a poor JPEG: probability",
    "noise": "Noisy: probability",
    "erase": "Covered by a rectangle: probability",
    "hide_margin": "Covered around the face, where a model sees more than UTKFace's chips: probability",
}


def show_augmentation(source: Source) -> None:
    """One face, and what the generator would serve of it epoch after epoch."""
    st.markdown(
        "A network sees no training photo twice in the same way: each time it is turned, lit, blurred or "
        "covered anew, so that it learns faces and not files. This is what the training generator makes of "
        "**one face**, with the same code and the same random numbers."
    )
    picture, face, words = _choose_face(source)
    chip = picture if face is None else crop_face(picture, face).pixels
    augmentation = _choose_strength()
    seed = st.session_state.setdefault(_DRAW, 0)
    pictures = preview(picture, _SIZE, augmentation, face=face, count=_PICTURES, seed=seed)
    grid = st.grid("auto", min_column_width=104, gap="xsmall")
    with grid.cell(), st.container(gap="xxsmall"):
        show_picture(resize_chip(chip, _SIZE), alt=f"The face as it is: {words}")
        st.caption("as it is")
    for epoch, picture in enumerate(pictures, start=1):
        with grid.cell(), st.container(gap="xxsmall"):
            show_picture(picture, alt=f"The same face as epoch {epoch} would see it")
            st.caption(f"epoch {epoch}")
    with st.expander("The settings in numbers", icon=":material/tune:"):
        _show_settings(augmentation)


def _choose_face(source: Source) -> tuple[NDArray[np.uint8], Face | None, str]:
    """The picture to look at, where its face is if it is no chip, and what it is."""
    if source.dataset is None:
        with st.container(horizontal=True, vertical_alignment="center"):
            _draw_again()
        st.caption("Grace Hopper, from the example picture: public domain.")
        image = read_image(EXAMPLE)
        return image, EXAMPLE_FACE, "Grace Hopper"
    files = source.faces["file"]
    if st.session_state.get(_FILE) not in set(files):
        st.session_state[_FILE] = files.iloc[random.Random(len(files)).randrange(len(files))]

    def take_another() -> None:
        st.session_state[_FILE] = files.iloc[random.randrange(len(files))]

    with st.container(horizontal=True, vertical_alignment="center"):
        st.button("Another face", icon=":material/face:", key="another_face", on_click=take_another)
        _draw_again()
    file = st.session_state[_FILE]
    row = int(np.flatnonzero((files == file).to_numpy())[0])
    words = label_words(source.faces.iloc[row])
    try:
        picture = read_image(source.path(row))
    except ImageError as error:
        st.error(f"{quote(file)} cannot be read: {error.reason}. Take another face.")
        st.stop()
    st.caption(f"{quote(file)}: labelled {words}")
    face = source.face_in(row, picture)
    if face is None and not source.faces["aligned"].iloc[row]:
        st.info("No face was found in this picture, so training leaves it out. Take another face.")
        st.stop()
    return picture, face, words


def _draw_again() -> None:
    def draw() -> None:
        st.session_state[_DRAW] = st.session_state.get(_DRAW, 0) + 1

    st.button("Other random draws", icon=":material/casino:", key="other_draws", on_click=draw)


def _choose_strength() -> Augmentation:
    """Sliders: 1 is what training does."""
    strengths = {}
    grid = st.grid(5, min_column_width=140, gap="small")
    overall = grid.slider(
        "Strength of all",
        0.0,
        2.0,
        1.0,
        0.1,
        key="augmentation_all",
        help="1 is what training uses when its recipe says nothing else. 0 changes nothing.",
    )
    for kind, names in KINDS.items():
        strengths[kind] = overall * grid.slider(
            kind.capitalize(),
            0.0,
            2.0,
            1.0,
            0.1,
            key=f"augmentation_{kind}",
            help=", ".join(_WORDS[name].partition(":")[0].lower() for name in names).capitalize() + ".",
        )
    mirrored = st.toggle("Mirror half of them", value=True, key="augmentation_flip")
    base = Augmentation()
    return strengthened(base, strengths, flip=base.flip if mirrored else 0.0)


def _show_settings(augmentation: Augmentation) -> None:
    usual = Augmentation()
    table = pd.DataFrame(
        [(words, getattr(augmentation, name), getattr(usual, name)) for name, words in _WORDS.items()],
        columns=["Setting", "Here", "In training"],
    )
    st.dataframe(
        table,
        hide_index=True,
        column_config={
            name: st.column_config.NumberColumn(format="%.3g") for name in ("Here", "In training")
        },
        alt="The settings of the augmentation, here and in training",
    )
