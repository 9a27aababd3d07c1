"""The camera, with who is in front of it drawn over its picture while it runs."""

import streamlit as st

from agegender.errors import ModelError
from ui import live
from ui.models import choose_model, load_model
from ui.widgets import show_failure

st.title("Live")
st.markdown(
    "Start the camera: every face in front of it is followed, and its age settles as evidence gathers. It is "
    "how old you look to a model, not how old you are."
)
st.caption(live.PRIVACY)
model = choose_model()
if model is None:
    st.stop()
try:
    load_model(model)
    live.show_camera(model)
except ModelError as error:
    show_failure(error)
