"""Why a model answers as it does for one face, and when not to believe it."""

import streamlit as st

from agegender.errors import ModelError
from ui import explanations
from ui.models import choose_model
from ui.photos import Analysis, Photo, Settings, analyse, with_chips
from ui.results import choose_face, show_errors, show_no_face
from ui.session import PRIVACY, choose_photo, choose_photos, current_settings
from ui.widgets import show_failure


def explain(photo: Photo, analysis: Analysis, settings: Settings) -> None:
    index = choose_face(photo, analysis)
    face = with_chips(photo, analysis)[index]
    found = explanations.explanation_of(photo, settings, index)
    explanations.show_answer(face)
    explanations.show_contributions(face, found, settings)
    explanations.show_occlusion(face, found, settings)
    explanations.show_stability(face, found, settings)
    explanations.show_limits()


st.title("Why this answer?")
st.markdown(
    "Take one face and ask the model back: how sure it is, which parts of the face the answer hangs on, and "
    "whether it would say the same in other light."
)
st.caption(PRIVACY)
model = choose_model()
photos = choose_photos()
if model is None:
    st.stop()
if not photos:
    st.info(
        "Drop a photo above, or switch the example on: this page then shows what the answer rests on.",
        icon=":material/familiar_face_and_zone:",
    )
    st.stop()
photo, settings = choose_photo(photos), current_settings(model)
try:
    analysis = analyse([photo], settings)[0]
    show_errors([photo], [analysis])
    if analysis.predictions:
        explain(photo, analysis, settings)
    elif analysis.error is None:
        show_no_face(photo)
except ModelError as error:
    show_failure(error)
