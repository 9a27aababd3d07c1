"""Who many photos show, all together: counts, of which no face and no picture stays behind."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import Any, Final

import streamlit as st

from agegender import charts
from agegender.errors import ConfigError
from agegender.export import to_json
from agegender.labels import say_span
from agegender.summary import UNKNOWN_MONTH, PhotoAnswers, summarize_photos
from agegender.wording import say_count
from ui.models import load_model
from ui.photos import COUNTED, Photo, Settings, bound, find_faces, remembered, say_waiting, turns
from ui.widgets import offer_download, show_chart

_REMEMBERED: Final = 20_000
"""Photos whose people a session remembers: an age and a word for each face."""

_ALL: Final = "all photos"


def show_people(photos: Sequence[Photo], settings: Settings) -> None:
    """Counts the people of all photos where the visitor wants it: a chart, tables, and a file.

    Raises:
        ModelError: The model cannot be loaded.
    """
    wanted = st.toggle(
        f"Count the people in all {len(photos):,} photos",
        key="count_people",
        persist_state="session",
        help="By age and perceived gender, by folder and by month. Only these counts are kept.",
    )
    if not wanted:
        return
    st.subheader("Who is in them")
    answers = _look_at_all(photos, settings)
    try:
        summary = _summary(settings.model, answers)
    except ConfigError as error:
        st.info(f"Nobody can be counted: {error}.", icon=":material/groups:")
        return
    months = {_say_month(name): group for name, group in summary["by_month"].items()}
    folders = {f"folder {name}": group for name, group in summary["by_folder"].items()}
    parts = {title: groups for title, groups in (("Month", months), ("Folder", folders)) if len(groups) > 1}
    groups = {_ALL: summary["all"]} | {name: group for part in parts.values() for name, group in part.items()}
    chosen = _ALL
    if parts:
        chosen = st.selectbox("Count", list(groups), key="people_group")
    _show_group(groups[chosen])
    if summary["corrected"]:
        st.caption(
            "So many were answered so → so many there may be (95 % interval), from how often "
            f"{summary['model']} errs on labelled faces. Photos on which it errs more, such as dark ones, "
            "are not accounted for."
        )
    else:
        st.caption(f"Not corrected for the model's errors: {summary['not_corrected']}.")
    for title, part in parts.items():
        _show_table(title, part)
    st.caption(_say_how_many(summary))
    offer_download("Counts as JSON", lambda: to_json(summary), "people.json")


def _look_at_all(photos: Sequence[Photo], settings: Settings) -> list[PhotoAnswers]:
    memory, place, found = remembered("people"), st.empty(), []
    for number, photo in enumerate(photos):
        share = number / len(photos)
        if (photo.digest, settings) not in memory:
            place.progress(share, f"Counting people: photo {number + 1:,} of {len(photos):,} …")
        answers = people_of(photo, settings, partial(say_waiting, place, share))
        found.append(replace(answers, path=photo.name))
    place.empty()
    return found


def people_of(photo: Photo, settings: Settings, waiting: Any = lambda before: None) -> PhotoAnswers:
    """What a photo adds to the counts; nothing else of it is remembered.

    Args:
        photo: The photo.
        settings: How to look at it.
        waiting: As of `ui.photos.look_at`, whose answers are taken where there are some.

    Raises:
        ModelError: The model cannot be loaded.
    """
    memory, key = remembered("people"), (photo.digest, settings)
    if key not in memory:
        seen = remembered("analyses").get(key)
        if seen is None:
            predictor = load_model(settings.model).predictor
            with turns().take(waiting):
                found, chips, _ = find_faces(photo, settings, predictor)
                predictions = predictor.predict_faces(chips)
        else:
            found, predictions = seen.found, seen.predictions
        memory[key] = PhotoAnswers(
            "",
            found.taken,
            found.error is not None,
            tuple(
                (
                    None if face.age is None else face.age.years,
                    None if face.gender is None else face.gender.label,
                    face.gender is not None and face.gender.uncertain,
                )
                for face in predictions
            ),
        )
    bound(memory, key, _REMEMBERED)
    answers: PhotoAnswers = memory[key]
    return answers


def _summary(model: str, answers: Sequence[PhotoAnswers]) -> dict[str, Any]:
    asked = model, tuple(answers)
    if st.session_state.get(COUNTED, (None,))[0] != asked:
        with st.spinner("Counting …"):
            st.session_state[COUNTED] = asked, summarize_photos(model, answers)
    summary: dict[str, Any] = st.session_state[COUNTED][1]
    return summary


def _say_month(name: str) -> str:
    return "no time in the photo" if name == UNKNOWN_MONTH else f"{datetime.strptime(name, '%Y-%m'):%B %Y}"


def _show_group(group: Mapping[str, Any]) -> None:
    figure = charts.people_bars(group)
    if figure is None:
        st.caption("No face in these.")
        return
    show_chart(figure, key="people_chart")
    cells = group["by_age_and_gender"]
    rows = [
        {
            "Looks": say_span(band["age"]),
            **{cell["gender"].capitalize(): say_count(cell) for cell in cells if cell["age"] == band["age"]},
            "Both": say_count(band),
        }
        for band in group["by_age"]
    ]
    both = {gender["gender"].capitalize(): say_count(gender) for gender in group["by_gender"]}
    rows.append({"Looks": "all ages", **both, "Both": f"{group['faces']:,}"})
    st.dataframe(rows, hide_index=True, alt="Faces by age and perceived gender")


def _show_table(title: str, groups: Mapping[str, Mapping[str, Any]]) -> None:
    rows = [
        {
            title: name.removeprefix("folder "),
            "Photos": group["photos"],
            "Faces": group["faces"],
            **{gender["gender"].capitalize(): say_count(gender) for gender in group["by_gender"]},
        }
        for name, group in groups.items()
    ]
    st.dataframe(rows, hide_index=True, alt=f"Faces by {title.lower()} and perceived gender")


def _say_how_many(summary: Mapping[str, Any]) -> str:
    words = f"Photos: {summary['photos']:,}; faces: {summary['faces']:,}"
    if summary["errors"]:
        words += f"; photos that could not be read: {summary['errors']:,}"
    if summary["all"]["cannot_tell"]:
        words += f"; gender left open, counted as the likelier: {summary['all']['cannot_tell']:,}"
    return f"{words}. How faces look to a model, not what people are; somebody in two photos counts twice."
