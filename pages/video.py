"""A video in; its people out, each with one age and one perceived gender."""

import streamlit as st

from agegender.errors import ModelError
from ui import video
from ui.models import choose_model
from ui.widgets import show_failure

st.title("Who is in this video?")
st.markdown(
    "People are followed from frame to frame, and each gets **one** answer that rests on all of their "
    "frames. It is how old they look to a model, not how old they are."
)
st.caption(video.PRIVACY)
model = choose_model()
clip = video.choose_video()
if model is None:
    st.stop()
if clip is None:
    st.info(
        "Drop a video above: every person in it gets a bar on a timeline, an age and a perceived gender.",
        icon=":material/movie:",
    )
    st.stop()
choices = video.choose_copy(model)
try:
    work = video.work_on(clip, choices)
    if work is not None:
        video.show_result(work)
except ModelError as error:
    show_failure(error)
