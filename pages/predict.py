"""The first page: photos or a snapshot in, every face with an age and a gender out."""

from collections.abc import Sequence

import streamlit as st

from agegender.errors import ModelError
from ui import results
from ui.photos import (
    EXAMPLE,
    EXAMPLE_CREDIT,
    MAX_PHOTOS,
    Photo,
    Settings,
    analyse,
    keep_uploads_in_memory,
)
from ui.widgets import ensure_menu


def choose_photos() -> list[Photo]:
    uploads = st.file_uploader(
        "Drop photos here, or choose some",
        type=["image", "heic", "heif"],  # the last two by name: not every system knows them for pictures
        accept_multiple_files=True,
        key="uploads",
    )
    photos = [Photo(upload.name, upload.getvalue()) for upload in uploads]
    if st.toggle("No photo at hand? Show the example", key="with_example", persist_state="session"):
        st.caption(EXAMPLE_CREDIT)
        photos.insert(0, Photo(EXAMPLE.name, EXAMPLE.read_bytes()))
    if len(photos) > MAX_PHOTOS:
        st.warning(f"Here are the first {MAX_PHOTOS} of {len(photos)} photos; more at a time are too many.")
    return photos[:MAX_PHOTOS]


def show_results(photos: Sequence[Photo], settings: Settings) -> None:
    try:
        analyses = analyse(photos, settings)
    except ModelError as error:
        st.error(str(error), icon=":material/model_training:")
        return
    results.show_errors(photos, analyses)
    readable = [index for index, analysis in enumerate(analyses) if analysis.error is None]
    if len(photos) > 1:
        st.subheader("All faces")
        results.show_table(photos, analyses)
        results.show_downloads(photos, analyses, settings.model)
    if not readable:
        return
    shown = readable[0]
    if len(readable) > 1:
        names = {index: f"{index + 1} · {photos[index].name}" for index in readable}
        shown = st.selectbox("Look closer at", readable, format_func=names.__getitem__, key="shown")
    results.show_photo(photos[shown], analyses[shown])
    if len(photos) == 1:
        results.show_downloads(photos, analyses, settings.model)
    results.show_faces(analyses[shown].predictions)


ensure_menu()
keep_uploads_in_memory()
st.title("How old does this face look?")
st.markdown(
    "Every face in a photo gets an age and the gender it is perceived as. That is how old you look "
    "**to a model trained on UTKFace labels**, not how old you are."
)
st.caption(
    ":material/lock: Photos stay in the memory of this app while you look at them. Nothing is stored, "
    "nothing is passed on."
)
settings = results.choose_settings()
photo_tab, webcam_tab = st.tabs(
    [":material/photo_library: Photo", ":material/photo_camera: Webcam"], key="source", on_change="rerun"
)
with photo_tab:
    photos = choose_photos()  # on every run, because Streamlit forgets the uploads of an absent uploader
    if photo_tab.open and photos and settings is not None:
        show_results(photos, settings)
if webcam_tab.open:  # only then, because the browser asks for the camera once the widget is there
    with webcam_tab:
        snapshot = st.camera_input("Take a snapshot", key="snapshot", resolution="720p", width=640)
        st.caption("Browsers lend the camera to pages on HTTPS or localhost only.")
        if snapshot is not None and settings is not None:
            show_results([Photo("snapshot.jpg", snapshot.getvalue())], settings)
