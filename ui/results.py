"""The controls of the prediction page, and results on the screen."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import PurePath
from typing import Final

import streamlit as st

from agegender.errors import ModelError
from agegender.export import faces_csv, predictions_document, to_json
from agegender.faces.detector import DEFAULT_MIN_CONFIDENCE
from agegender.models.card import read_card
from agegender.prediction import Prediction
from agegender.reports.cautions import cautions
from agegender.wording import say_age, say_gender, say_probability
from ui.models import choose_model
from ui.photos import (
    Analysis,
    Photo,
    Settings,
    annotated_png,
    annotated_zip,
    blurred_png,
    preview_of,
    records,
)
from ui.session import current_settings
from ui.widgets import (
    UNFOUND,
    choose_part,
    offer_download,
    quote,
    show_drawing,
    show_face,
    show_link,
    show_picture,
)

_FACES_A_PAGE: Final = 24
_PHOTO_WIDTH: Final = 900  # pixels on the screen, and no higher than 70 % of that
_PHOTO_HEIGHT: Final = 630


def choose_settings() -> Settings | None:
    """Puts the model and the two thresholds into the sidebar.

    Returns:
        The choices, or ``None`` where no model is trained; the page has then said so.
    """
    model = choose_model()
    if model is None:
        return None
    with st.sidebar:
        st.slider(
            "Smallest face",
            min_value=0,
            max_value=300,
            value=0,
            step=10,
            format="%d px",
            key="min_face",
            persist_state="session",
            help="Leaves out faces that are smaller in the photo. The smaller the face, the worse the guess.",
        )
        st.slider(
            "Confidence threshold",
            min_value=0.5,
            max_value=0.99,
            value=DEFAULT_MIN_CONFIDENCE,
            step=0.01,
            key="min_confidence",
            persist_state="session",
            help="How sure it must be that this is a face. Lower finds more faces, and more that are none.",
        )
    return current_settings(model)


def show_errors(photos: Sequence[Photo], analyses: Sequence[Analysis]) -> None:
    """Names every photo that could not be read, and why."""
    for photo, analysis in zip(photos, analyses, strict=True):
        if analysis.error is not None:
            st.error(f"{quote(photo.name)} cannot be used: {analysis.error}", icon=":material/broken_image:")


def show_no_face(photo: Photo) -> None:
    """Says that a photo shows no face, and what may help."""
    st.info(
        f"**No face found** in {quote(photo.name)}. Faces are found best when they look towards the camera, "
        "are well lit and not too small. A closer picture helps, and so may lower thresholds in the sidebar "
        "of *Predict*.",
        icon=":material/sentiment_neutral:",
    )


def show_photo(photo: Photo, analysis: Analysis) -> None:
    """Says how many faces a readable photo shows, and shows it with their boxes."""
    count = len(analysis.predictions)
    if count:
        st.markdown(f"**{count} {'face' if count == 1 else 'faces'} found** in {quote(photo.name)}")
    else:
        show_no_face(photo)
    width, height = analysis.size or (1, 1)
    show_picture(
        preview_of(photo, analysis),
        width=min(_PHOTO_WIDTH, max(1, round(_PHOTO_HEIGHT * width / height))),
        alt=f"{photo.name} with a numbered box around each of {count} faces" if count else photo.name,
    )


def choose_face(photo: Photo, analysis: Analysis) -> int:
    """Lets the visitor choose a face, where there are several, by its number in the photo.

    Args:
        photo: The photo.
        analysis: What was seen in it; at least one face.

    Returns:
        The index of the face.
    """
    count = len(analysis.predictions)
    if count == 1:
        return 0
    show_picture(
        preview_of(photo, analysis), width=520, alt=f"{photo.name} with a number at each of {count} faces"
    )
    numbers = [str(number) for number in range(1, count + 1)]
    chosen = st.pills("Face", numbers, default="1", required=True, wrap=True, key="face", bind="query-params")
    return int(chosen) - 1


def show_faces(predictions: Sequence[Prediction], model: str) -> None:
    """Shows a card for every face, a page at a time where they are many, and what they are worth."""
    age = next((prediction.age for prediction in predictions if prediction.age is not None), None)
    if age is not None:
        bars = "" if age.distribution is None else "; the bars say how likely the model holds each year"
        st.caption(
            "How to read the charts: the orange line is the estimate; blue is the interval in brackets, made "
            f"to hold the labelled age of {say_probability(age.coverage)} of faces{bars}."
        )
    for sentence in _cautions(model, predictions):
        st.caption(f":material/info: {sentence}")
    numbered = choose_part(list(enumerate(predictions, start=1)), _FACES_A_PAGE, "faces", key="faces_page")
    cards = st.grid(min_column_width=290, border=True)
    for number, prediction in numbered:
        with cards.cell():
            _show_card(number, prediction)


def _cautions(model: str, predictions: Sequence[Prediction]) -> list[str]:
    try:
        return cautions(read_card(model), predictions)
    except ModelError:  # the answers are there all the same
        return []


def _show_card(number: int, prediction: Prediction) -> None:
    show_face(prediction, f"Face {number}", alt=f"Face {number}, cut out of the photo")
    show_drawing(prediction.age, prediction.gender)
    show_link("explain", f"Why this answer for face {number}?", ":material/help:", face=str(number))


def show_table(photos: Sequence[Photo], analyses: Sequence[Analysis]) -> None:
    """Shows one row a face over all photos, and one for each photo without any."""
    import pandas as pd  # here: the first photo's answer need not wait for it

    rows: list[dict[str, object]] = []
    for photo, analysis in zip(photos, analyses, strict=True):
        if not analysis.predictions:
            rows.append({"Photo": photo.name, "Notes": analysis.error or "no face found"})
        for number, prediction in enumerate(analysis.predictions, start=1):
            age, gender = prediction.age, prediction.gender
            rows.append(
                {
                    "Photo": photo.name,
                    "Face": number,
                    # The headings carry the first words already, and a phone is narrow.
                    "Looks about": say_age(age).removeprefix("looks about ") if age else None,
                    "Perceived": say_gender(gender).removeprefix("perceived ") if gender else None,
                    "Notes": ", ".join(prediction.warnings),
                }
            )
    table = pd.DataFrame(rows, columns=["Photo", "Face", "Looks about", "Perceived", "Notes"])
    st.dataframe(
        table.astype({"Face": "Int64"}),
        hide_index=True,
        placeholder="",
        column_config={"Photo": st.column_config.TextColumn(width=120)},
        alt="Every face of every photo, with age and gender",
    )


def show_downloads(photos: Sequence[Photo], analyses: Sequence[Analysis], model: str) -> None:
    """Offers the annotated photos, a table, and the results for programs."""
    readable = [pair for pair in zip(photos, analyses, strict=True) if pair[1].error is None]

    def table() -> str:
        return faces_csv(records(photos, analyses))

    def document() -> str:
        return to_json(predictions_document(model, records(photos, analyses)))

    blur = bool(st.session_state.get("blur")) and bool(readable)
    with st.container(horizontal=True, vertical_alignment="center"):
        # All are made only when asked for: a PNG of a photo's own size takes time and memory.
        if len(readable) == 1:
            name = f"{PurePath(readable[0][0].name).stem}.annotated.png"
            offer_download(
                "Annotated photo", partial(blurred_png if blur else annotated_png, *readable[0]), name
            )
        elif readable:
            make = partial(annotated_zip, photos, analyses, blur=blur)
            offer_download("Annotated photos", make, "annotated.zip")
        offer_download("CSV", table, "faces.csv")
        offer_download("JSON", document, "faces.json")
        if readable:
            st.toggle("Blur faces in annotated photos", key="blur", persist_state="session")
    if blur:
        st.caption(UNFOUND)
