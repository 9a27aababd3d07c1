"""The parts of the page that explains one answer."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Final

import streamlit as st

from agegender import charts
from agegender.errors import ModelError
from agegender.explain import (
    ContributionMap,
    OcclusionMap,
    Variant,
    largest_change,
    occlude,
    vary,
)
from agegender.explain.occlusion import exact_years
from agegender.labels import TASKS, Task
from agegender.prediction import Prediction
from agegender.wording import say_age, say_gender, say_probability
from ui.models import load_model
from ui.photos import Photo, Settings, bound, remembered, turns
from ui.widgets import show_chart, show_drawing, show_link, show_picture, show_warnings, without_paths

_REMEMBERED: Final = 6  # faces a session
_TITLES: Final[dict[Task, str]] = {"age": "Age", "gender": "Perceived gender"}


@dataclass
class Explanation:
    """What has been worked out about one face so far.

    Attributes:
        contributions: Of each answer that can be dealt out over the face.
        refusal: Why others cannot be, or "".
        variants: The face as it is and its versions; empty until asked.
        occlusion: ``None`` until asked.
    """

    contributions: dict[Task, ContributionMap] = field(default_factory=dict)
    refusal: str = ""
    variants: tuple[Variant, ...] = ()
    occlusion: OcclusionMap | None = None


def explanation_of(photo: Photo, settings: Settings, index: int) -> Explanation:
    """What this session remembers about a face, to be added to."""
    memory, key = remembered("explanations"), (photo.digest, settings, index)
    found: Explanation = memory.setdefault(key, Explanation())
    bound(memory, key, _REMEMBERED)
    return found


def show_answer(face: Prediction) -> None:
    """The face as the model sees it, the answer in words, and the distribution it comes from."""
    with st.container(horizontal=True, vertical_alignment="center"):
        show_picture(face.chip, width=160, alt="The face, cut out and turned upright")
        with st.container(gap="xxsmall"):
            st.caption("What the model sees, and what it says")
            if face.age is not None:
                st.markdown(f"### {say_age(face.age)}", anchors=False)
            if face.gender is not None:
                st.markdown(say_gender(face.gender))
            show_warnings(face)
    if face.age is None:
        return
    st.subheader(
        "How sure it is of the age",
        help="The model gives every year from 0 to 116 a probability. The answer is their mean; the interval "
        f"is made to hold the labelled age of {say_probability(face.age.coverage)} of faces.",
    )
    if face.age.distribution is None:
        st.markdown("This model says a single number. Its interval comes from how far off it usually is.")
        show_drawing(face.age, None)
        return
    show_chart(charts.year_distribution(face.age), key="distribution")


def show_contributions(face: Prediction, found: Explanation, settings: Settings) -> None:
    """Where in the face each answer comes from, by the network's own gradients."""
    st.subheader(
        "Where the answer comes from",
        help="Integrated gradients (Sundararajan, Taly and Yan, 2017) at one of the network's convolutional "
        "maps. A relative of Grad-CAM that keeps the signs and whose places add up to the answer.",
    )
    if not found.contributions and not found.refusal:
        with st.spinner("Tracing the answer back through the network …"):
            _trace(face, found, settings)
    if found.contributions:
        st.markdown(
            "The network's answer is traced back to the places it looked at. Orange makes the face look "
            "older or more female, blue younger or more male; all places together make the difference to an "
            "empty grey picture."
        )
    grid = st.grid(2, min_column_width=300)
    for task, contributions in found.contributions.items():
        with grid.cell():
            st.markdown(f"**{_TITLES[task]}**")
            show_chart(charts.contribution_chart(face.chip, contributions), key=f"contributions_{task}")
            st.caption(_say_sum(contributions))
    if found.refusal:
        st.info(found.refusal, icon=":material/layers_clear:")


def _trace(face: Prediction, found: Explanation, settings: Settings) -> None:
    answered = {"age": face.age is not None, "gender": face.gender is not None}
    with turns().take():
        mapper = load_model(settings.model).mapper
        for task in TASKS:
            if answered[task]:
                try:
                    found.contributions[task] = mapper.explain(face.chip, task)
                except ModelError as error:
                    found.refusal = without_paths(str(error))


def _say_sum(found: ContributionMap) -> str:
    if found.task == "age":
        empty, whole = round(found.reference), round(found.answer)  # so that the sum is one in whole years
        change = f"{whole - empty:+d}".replace("-", "−")
        return (
            f"To an empty grey picture the model says {empty} years. This face adds {change} and comes to "
            f"{whole}."
        )
    at_empty, at_face = (say_probability(1 / (1 + math.exp(-x))) for x in (found.reference, found.answer))
    return (
        f"To an empty grey picture the model says female {at_empty}, to this face {at_face}. The numbers at "
        "the colours are log-odds, in which evidence adds up: 0 is undecided, ±3 is 95 %."
    )


def show_occlusion(face: Prediction, found: Explanation, settings: Settings) -> None:
    """What the answer becomes when places are covered; worked out when asked, since it takes seconds."""
    st.subheader(
        "Cover a part and ask again",
        help="Occlusion sensitivity (Zeiler and Fergus, 2014). The slowest way to ask, and the one to "
        "believe: each colour is an answer that the model really gave.",
    )
    st.markdown(
        "A grey square, as large as a mouth, goes over the face place by place, and the model is asked each "
        "time. The colour of a place says what it holds up: covering an orange one makes the face look "
        "younger or less female, covering a blue one older or less male."
    )
    if found.occlusion is None:
        place = st.empty()
        if not place.button("Cover the face 100 times", icon=":material/grid_on:", key="occlude"):
            return
        bar, predictor = place.progress(0.0, "Covering the face …"), load_model(settings.model).predictor
        with turns().take():
            found.occlusion = occlude(
                predictor,
                face.chip,
                margin=face.margin,
                progress=lambda _, done, all_: bar.progress(
                    done / all_, f"Covered {done} of {all_} places …"
                ),
            )
        place.empty()
    grid = st.grid(2, min_column_width=300)
    for task, values in zip(TASKS, (found.occlusion.age, found.occlusion.female), strict=True):
        if values is not None:
            with grid.cell():
                st.markdown(f"**{_TITLES[task]}**")
                show_chart(charts.occlusion_chart(face.chip, found.occlusion, task), key=f"occlusion_{task}")


def show_stability(face: Prediction, found: Explanation, settings: Settings) -> None:
    """What the answer becomes when the photo changes and the person does not."""
    st.subheader(
        "Would it say the same again?",
        help="The same face mirrored, in other light, turned by 8 degrees, cut out a tenth closer or wider, "
        "without colour, and as small as in a group photo.",
    )
    if not found.variants:
        with st.spinner("Asking again …"), turns().take():
            found.variants = vary(load_model(settings.model).predictor, face.chip, margin=face.margin)
    st.markdown(_say_stability(found.variants))
    tasks = [task for task, answer in zip(TASKS, (face.age, face.gender), strict=True) if answer is not None]
    grid = st.grid(2, min_column_width=300)
    for task in tasks:
        with grid.cell():
            st.markdown(f"**{_TITLES[task]}**")
            show_chart(charts.stability_chart(found.variants, task), key=f"stability_{task}")
    pictures = st.grid(len(found.variants) // 2, min_column_width=110)
    for variant in found.variants:
        with pictures.cell():
            answers = [f"**{variant.name}**"]
            if variant.age is not None:
                answers.append(f"{exact_years(variant.age):.0f} years")
            if variant.gender is not None:
                answers.append(f"female {say_probability(variant.gender.female)}")
            show_picture(variant.chip, alt=f"The face, {variant.name}")
            st.caption("  \n".join(answers))


def _say_stability(variants: tuple[Variant, ...]) -> str:
    first, farthest = variants[0], largest_change(variants)
    sentences = ["Nothing about the person changes here, so neither should the answer."]
    if first.age is not None and farthest is not None and farthest.age is not None:
        change = abs(exact_years(farthest.age) - exact_years(first.age))
        verdict = "That is steady." if change < 2 else "That much is the photo's doing, not the person's."
        sentences.append(f"The age moves by at most **{change:.1f} years** ({farthest.name}). {verdict}")
    if first.gender is not None:
        flips = [v.name for v in variants[1:] if v.gender and v.gender.label != first.gender.label]
        sentences.append(
            f"The perceived gender turns over when the face is {', '.join(flips)}."
            if flips
            else "The perceived gender stays the same."
        )
    return " ".join(sentences)


def show_limits() -> None:
    """How to read all of it, and what it does not prove."""
    with st.container(border=True):
        st.subheader("How to read this, and what it does not prove")
        st.markdown(
            """
- **It is about the model, not about the person.** Orange at the mouth means that this model uses what is
  there; it does not mean that mouths show age.
- **None of it says that the answer is right.** A wrong answer has just as fine a map, and a model can be
  wrong and stand firm in every light.
- **The map is a trace, the covering an experiment.** Where they agree, believe it; where they do not,
  believe the covering. A place of the map is blurred, too: each sees a good way beyond its own square.
- **A grey square is not nothing.** The model has to guess at what is beneath, and may take it for a mask or
  a shadow.
- **What one should see:** colours on the face itself. Strong colours on the background, on clothes or on the
  frame of a picture are a reason not to believe the answer.
"""
        )
        show_link("about", "How far off it usually is", ":material/info:")
