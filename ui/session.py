"""The photos a visitor gave: kept while the session lasts, on whatever page, and forgotten on request.

A session ends soon after its browser tab is closed. Until then the bytes stay in this process's memory and
nowhere else. When a photo goes, so does all that was worked out from it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

import streamlit as st
from streamlit.runtime.uploaded_file_manager import UploadedFile

from agegender.assets import EXAMPLE
from agegender.faces.detector import DEFAULT_MIN_CONFIDENCE
from ui.photos import EXAMPLE_CREDIT, MAX_PHOTOS, Photo, Settings, forget_all_but
from ui.state import linked_toggle
from ui.widgets import quote

PRIVACY: Final = (
    ":material/lock: Photos stay in the memory of this app until you remove them or close this tab. Nothing "
    "is stored, nothing is passed on."
)

_GIVEN: Final = "given photos"
_SETTINGS: Final = "settings"
_LOOKED_AT: Final = "digest of the photo looked at"
_CHOSEN_KEY: Final = "photo"
_SNAPSHOT_KEY: Final = "snapshot"


@dataclass
class _Given:
    """The visitor's photos, by where they are now.

    Attributes:
        uploads: What the uploader of the open page holds, by Streamlit's name for each file.
        snapshot: What the camera holds.
        earlier: What they held before the visitor turned to another page or tab. Streamlit empties them then.
    """

    uploads: dict[str, Photo] = field(default_factory=dict)
    snapshot: Photo | None = None
    earlier: list[Photo] = field(default_factory=list)

    def all(self) -> list[Photo]:
        snapshots = [] if self.snapshot is None else [self.snapshot]
        return _without_copies([*self.uploads.values(), *snapshots, *self.earlier])


def choose_photos(page: str) -> list[Photo]:
    """Draws the uploader, what was given before, and the switch for the example.

    Args:
        page: The page's name: each page's widgets need keys of their own. "" is the first page.

    Returns:
        The example where it is wanted, then the photos, the latest upload first; at most `MAX_PHOTOS`.
    """
    key = f"{page}_uploads" if page else "uploads"
    given = _given()
    if key not in st.session_state:  # the page was just opened, and its uploader is empty
        _put_aside(given)
    files = st.file_uploader(
        "Drop photos here, or choose some",
        type=["image", "heic", "heif"],  # the last two by name: not every system knows them for pictures
        accept_multiple_files=True,
        key=key,
    )
    given.uploads = {file.file_id: given.uploads.get(file.file_id) or _read(file) for file in files}
    _show_earlier(given, key=f"{page}_forget")
    photos = _without_copies([*given.uploads.values(), *given.earlier])
    if linked_toggle(
        "No photo at hand? Show the example",
        name="example",
        key=f"{page}_with_example" if page else "with_example",
    ):
        st.caption(EXAMPLE_CREDIT)
        photos.insert(0, example())
    forget_all_but([*given.all(), example()])
    if len(photos) > MAX_PHOTOS:
        st.warning(f"Here are the first {MAX_PHOTOS} of {len(photos)} photos; more at a time are too many.")
    return photos[:MAX_PHOTOS]


def take_snapshot() -> Photo | None:
    """Draws the camera; the browser asks for leave to use it when it does.

    Returns:
        The snapshot, or ``None`` before one is taken.
    """
    file = st.camera_input("Take a snapshot", key=_SNAPSHOT_KEY, resolution="720p", width=640)
    st.caption("Browsers lend the camera to pages on HTTPS or localhost only.")
    given = _given()
    given.snapshot = None if file is None else Photo("snapshot.jpg", file.getvalue())
    return given.snapshot


def put_snapshot_aside() -> None:
    """To be called where the camera is not drawn: its snapshot joins the photos of before."""
    given = _given()
    if given.snapshot is not None:
        given.earlier, given.snapshot = [given.snapshot, *given.earlier][:MAX_PHOTOS], None


@st.cache_resource(max_entries=1)
def example() -> Photo:
    """The built-in example picture."""
    return Photo(EXAMPLE.name, EXAMPLE.read_bytes())


def use_settings(settings: Settings) -> Settings:
    """Keeps how photos are looked at for the other pages; returns it."""
    st.session_state[_SETTINGS] = settings
    return settings


def current_settings(model: str) -> Settings:
    """How photos are looked at on pages without controls for it, with a model of their own choice."""
    settings: Settings = st.session_state.get(_SETTINGS, Settings(model, 0, DEFAULT_MIN_CONFIDENCE))
    return replace(settings, model=model)


def look_closer_at(photo: Photo) -> None:
    """Keeps which photo the visitor looks at, for the other pages to begin with."""
    st.session_state[_LOOKED_AT] = photo.digest


def choose_photo(photos: Sequence[Photo]) -> Photo:
    """Lets the visitor choose one of some photos, to begin with the one looked at last.

    Args:
        photos: At least one, all different.

    Returns:
        The choice.
    """
    by_digest = {photo.digest: photo for photo in photos}
    if len(photos) == 1:
        return photos[0]
    if st.session_state.get(_CHOSEN_KEY) not in by_digest:
        last = st.session_state.get(_LOOKED_AT)
        st.session_state[_CHOSEN_KEY] = last if last in by_digest else photos[0].digest
    digests = list(by_digest)
    chosen = st.selectbox(
        "Photo",
        digests,
        format_func=lambda digest: f"{digests.index(digest) + 1} · {by_digest[digest].name}",
        key=_CHOSEN_KEY,
    )
    look_closer_at(by_digest[chosen])
    return by_digest[chosen]


def _given() -> _Given:
    given: _Given = st.session_state.setdefault(_GIVEN, _Given())
    return given


def _put_aside(given: _Given) -> None:
    given.earlier = given.all()[:MAX_PHOTOS]
    given.uploads, given.snapshot = {}, None


def _read(file: UploadedFile) -> Photo:
    return Photo(file.name, file.getvalue())


def _without_copies(photos: Iterable[Photo]) -> list[Photo]:
    found: dict[str, Photo] = {}
    for photo in photos:
        found.setdefault(photo.digest, photo)
    return list(found.values())


def _show_earlier(given: _Given, *, key: str) -> None:
    if not given.earlier:
        return
    with st.container(horizontal=True, vertical_alignment="center"):
        names = ", ".join(quote(photo.name) for photo in given.earlier)
        st.markdown(f":material/history: Still here from before: {names}", width="content")
        st.button("Forget", key=key, icon=":material/delete:", type="tertiary", on_click=given.earlier.clear)
