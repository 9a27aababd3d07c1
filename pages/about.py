"""What the chosen model is, what its figures mean for a person, on what terms, and for what it is not."""

from typing import Any

import streamlit as st

from agegender.charts.fairness import FairnessFigure
from agegender.errors import ModelError
from agegender.models.card import read_card
from ui import cards
from ui.models import choose_model
from ui.photos import EXAMPLE_CREDIT
from ui.widgets import choose_one, show_failure

FIGURES: dict[str, FairnessFigure] = {"perceived gender": "accuracy", "age": "bias"}

LINKS = """
- [UTKFace](https://susanqq.github.io/UTKFace/), the faces and labels that models learn from; the default one
  also learnt from [FairFace](https://github.com/joojs/fairface),
  [APPA-REAL](https://chalearnlap.cvc.uab.cat/dataset/26/description/) and
  [All-Age-Faces](https://github.com/JingchunCheng/All-Age-Faces-Dataset), and `vggface-open` from FairFace
  alone.
- [Model cards](https://arxiv.org/abs/1810.03993), the idea of saying with a model what it is for (Mitchell
  and others, 2019).
- [Gender Shades](https://proceedings.mlr.press/v81/buolamwini18a.html), on how such systems fail some people
  more than others (Buolamwini and Gebru, 2018).
"""


def show_meaning(card: dict[str, Any]) -> None:
    metrics = card.get("metrics", {})
    st.subheader("What the figures mean in front of the camera")
    if not metrics:
        st.info("This model has not been measured: `python -m agegender evaluate` does it.")
        return
    st.markdown(
        f"Measured on {metrics['n']:,} faces of UTKFace that no training saw. **A label is a guess, too**: "
        "nobody asked these people, and copies of one photo often carry different labels."
    )
    cards.show_figures(metrics)
    table = cards.bands_table(metrics)
    if len(table):
        st.markdown("By age, because an average over all hides whom it fails:")
        st.table(table, border="horizontal", hide_index=True, alt="Typical errors by age band")
        st.caption(
            f"*Off by* is an average, so many are missed by more; of under {cards.FEW_FACES} faces it is a "
            "rough one. Dark, blurred, covered or turned faces are answered worse than those of this table, "
            "most of which look into the camera in good light."
        )


def show_groups(card: dict[str, Any]) -> None:
    measured = cards.measured_groups(card)
    if not measured:
        return
    st.subheader("Whom it serves worse")
    chosen = measured[choose_one("Photos", measured, key="photos", width="content")]
    figure = FIGURES[choose_one("Figure", FIGURES, key="fairness", width="content")]
    cards.show_fairness(chosen, figure)


def show_terms(card: dict[str, Any]) -> None:
    st.subheader("What it is for, and what not")
    st.markdown(card.get("intended_use", ""))
    st.markdown("\n".join(f"- {limit}" for limit in card.get("limits", [])))
    st.subheader("Data and licences")
    licence = dict(card.get("licence", {}))
    if "base" in card and "base" in licence:
        licence["base"] = f"{card['base']}. {licence['base']}"
    names = {"weights": "These weights", "data": "The data", "base": "What they began as", "code": "The code"}
    st.markdown("\n".join(f"- **{name}**: {licence[key]}" for key, name in names.items() if key in licence))
    st.caption(f"The example picture: {EXAMPLE_CREDIT}")


st.title("About")
st.markdown(
    "This app says how old a face *looks* and which gender it is *perceived* as, to a network that learnt "
    "from other people's guesses. It runs on the computer that it was started on; photos are neither stored "
    "nor passed on."
)
model = choose_model()
if model is None:
    st.stop()
try:
    card = read_card(model)
except ModelError as error:
    show_failure(error)
    st.stop()
show_meaning(card)
show_groups(card)
show_terms(card)
cards.show_card(card)
st.subheader("Read on")
st.markdown(LINKS)
