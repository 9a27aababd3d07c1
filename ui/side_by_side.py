"""One face, all systems: what each trained model answers for a photo of the visitor's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import pandas as pd
import streamlit as st

from agegender import charts
from agegender.errors import ModelError
from agegender.models.registry import DEFAULT_MODEL
from agegender.prediction import AgeEstimate, GenderEstimate, Prediction
from agegender.wording import say_age, say_gender
from ui.photos import Analysis, Photo, analyse, look_at, with_chips
from ui.results import choose_face, show_errors, show_no_face
from ui.session import current_settings
from ui.widgets import quote, show_chart, show_picture, without_paths

_ASKED: Final = "photos that all were asked about"


def ask_all(photo: Photo, models: Sequence[str]) -> None:
    """Offers to ask all models about a photo, and shows what they say of one of its faces.

    Args:
        photo: Looked at only when the visitor asks for it, and then once.
        models: Trained models.
    """
    first = DEFAULT_MODEL if DEFAULT_MODEL in models else models[0]
    asked: set[str] = st.session_state.setdefault(_ASKED, set())
    if photo.digest not in asked:
        count = f"all {len(models)} systems" if len(models) > 1 else "the one system there is"
        offer = st.empty()
        if not offer.button(f"Ask {count}", key="ask_all", icon=":material/forum:"):
            st.caption("Faces are found once; then one system after the other is loaded and asked.")
            return
        offer.empty()
        asked.add(photo.digest)
    analysis = analyse([photo], current_settings(first))[0]
    show_errors([photo], [analysis])
    if analysis.predictions:
        _show(photo, analysis, _ask(photo, models))
    elif analysis.error is None:
        show_no_face(photo)


def _ask(photo: Photo, models: Sequence[str]) -> dict[str, tuple[Prediction, ...] | ModelError]:
    """What each model says of all faces of a photo; one that cannot answer stops no other."""
    answers: dict[str, tuple[Prediction, ...] | ModelError] = {}
    bar = st.empty()
    for number, model in enumerate(models):
        bar.progress(number / len(models), f"Asking {quote(model)}, {number + 1} of {len(models)} …")
        try:
            answers[model] = look_at(photo, current_settings(model)).predictions
        except ModelError as error:
            answers[model] = error
    bar.empty()
    return answers


def _show(
    photo: Photo, analysis: Analysis, answers: Mapping[str, tuple[Prediction, ...] | ModelError]
) -> None:
    index = choose_face(photo, analysis)
    said = {
        model: (answer[index].age, answer[index].gender)
        for model, answer in answers.items()
        if not isinstance(answer, ModelError)
    }
    ages = {model: age for model, (age, _) in said.items() if age is not None}
    with st.container(horizontal=True, vertical_alignment="center"):
        chip = with_chips(photo, analysis)[index].chip
        show_picture(chip, width=120, alt="The face, cut out and turned upright")
        st.markdown(_say_agreement(said, ages), width="stretch")
    rows = [
        {
            "System": model,
            "Looks about": say_age(age).removeprefix("looks about ") if age else None,
            "Perceived": say_gender(gender).removeprefix("perceived ") if gender else None,
        }
        for model, (age, gender) in said.items()
    ]
    st.dataframe(
        pd.DataFrame(rows, columns=["System", "Looks about", "Perceived"]),
        hide_index=True,
        placeholder="",
        height="content",
        alt="What each system says of the face",
    )
    if ages:
        show_chart(charts.answer_ranges(ages), key="answer_ranges", caption=False)
        st.caption(
            "Blue is each system's own interval, made to hold the labelled age of nine faces in ten like "
            "those it was fitted on. What it held of each age on test faces is on *About* and in its card."
        )
    for model, answer in answers.items():
        if isinstance(answer, ModelError):
            words = without_paths(str(answer))
            st.warning(f"{quote(model)} says nothing: {words}", icon=":material/broken_image:")


def _say_agreement(
    said: Mapping[str, tuple[AgeEstimate | None, GenderEstimate | None]], ages: Mapping[str, AgeEstimate]
) -> str:
    """How far apart the answers are, in a sentence or two."""
    sentences = []
    if len(ages) > 1:
        youngest, oldest = (pick(ages, key=lambda model: ages[model].years) for pick in (min, max))
        low, high = ages[youngest].years, ages[oldest].years
        sentences.append(
            f"The answers are **{high - low:.0f} years** apart: from {low:.0f} ({quote(youngest)}) to "
            f"{high:.0f} ({quote(oldest)})."
            if round(high - low)
            else f"All say about **{low:.0f} years**."
        )
    labels = [g.label if not g.uncertain else "open" for _, g in said.values() if g is not None]
    if len(labels) > 1:
        counts = {label: labels.count(label) for label in ("female", "male", "open")}
        words = [f"{n} of {len(labels)} {label}" for label, n in counts.items() if n]
        sentences.append(
            f"All perceive {labels[0]}."
            if len(words) == 1 and labels[0] != "open"
            else f"Perceived as: {', '.join(words)}."
        )
    return " ".join(sentences)
