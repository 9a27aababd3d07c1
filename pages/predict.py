"""The first page: photos or a snapshot in, every face with an age and a gender out."""

from collections.abc import Sequence

import streamlit as st

from agegender.errors import ModelError
from ui import results
from ui.people import show_people
from ui.photos import PHOTOS_A_PAGE, Photo, Settings, analyse, with_chips
from ui.session import PRIVACY, choose_photos, look_closer_at, put_snapshot_aside, take_snapshot
from ui.widgets import choose_part, show_failure


def show_results(everything: Sequence[Photo], settings: Settings) -> None:
    photos = choose_part(everything, PHOTOS_A_PAGE, "photos", key="photos_page")
    try:
        analyses = analyse(photos, settings)
    except ModelError as error:
        show_failure(error)
        return
    results.show_errors(photos, analyses)
    readable = [index for index, analysis in enumerate(analyses) if analysis.error is None]
    if len(photos) > 1:
        st.subheader("All faces")
        results.show_table(photos, analyses)
        results.show_downloads(photos, analyses, settings.model)
        show_people(everything, settings)
    if not readable:
        return
    shown = readable[0]
    if len(readable) > 1:
        names = {index: f"{index + 1} · {photos[index].name}" for index in readable}
        shown = st.selectbox("Look closer at", readable, format_func=names.__getitem__, key="shown")
    look_closer_at(photos[shown])
    results.show_photo(photos[shown], analyses[shown])
    if len(photos) == 1:
        results.show_downloads(photos, analyses, settings.model)
    results.show_faces(with_chips(photos[shown], analyses[shown]), settings.model)


st.title("How old does this face look?")
st.markdown(
    "Every face in a photo gets an age and the gender it is perceived as. That is how old you look "
    "**to a model that learnt from labelled photos**, not how old you are."
)
st.caption(PRIVACY)
settings = results.choose_settings()
photo_tab, webcam_tab = st.tabs(
    [":material/photo_library: Photo", ":material/photo_camera: Webcam"], key="source", on_change="rerun"
)
if not webcam_tab.open:
    put_snapshot_aside()
with photo_tab:
    # On every run, because Streamlit forgets the uploads of an absent uploader.
    photos = choose_photos(folders=True)
    if photo_tab.open and photos and settings is not None:
        show_results(photos, settings)
if webcam_tab.open:  # only then, because the browser asks for the camera once the widget is there
    with webcam_tab:
        snapshot = take_snapshot()
        if snapshot is not None and settings is not None:
            show_results([snapshot], settings)
