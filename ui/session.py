"""The photos a visitor gave: kept while the session lasts, on whatever page, and forgotten on request.

A session ends soon after its browser tab is closed or loaded anew. Until then the bytes stay in this
process's memory and nowhere else. When a photo goes, so does all that was worked out from it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

import streamlit as st
from streamlit.runtime.memory_uploaded_file_manager import MemoryUploadedFileManager
from streamlit.runtime.scriptrunner import get_script_run_ctx
from streamlit.runtime.uploaded_file_manager import UploadedFile

from agegender.assets import EXAMPLE
from agegender.faces.detector import DEFAULT_MIN_CONFIDENCE
from agegender.images import IMAGE_SUFFIXES
from ui.photos import EXAMPLE_CREDIT, Photo, Settings, forget_all_but
from ui.server import MEGABYTE, Limits
from ui.widgets import quote

PRIVACY: Final = (
    ":material/lock: Photos stay in the memory of this app until you remove them, or close or reload this "
    "tab. Nothing is stored, nothing is passed on."
)

_UPLOADER: Final = "uploads"
_WHOLE: Final = "whole_folder"
_GIVEN: Final = "given photos"
_LOOKED_AT: Final = "digest of the photo looked at"
_CHOSEN: Final = "photo"
_PHOTO_MEGABYTES: Final = 50
_NAMES_SHOWN: Final = 5
_KNOWN_EVERYWHERE: Final = {".jpg", ".jpeg", ".png", ".gif", ".bmp", ".webp", ".tif", ".tiff"}


@dataclass
class _Given:
    """The visitor's photos, by Streamlit's name for each file, and by where they are now.

    Attributes:
        page: The page that is open.
        whole: Whether its uploader takes a whole folder.
        uploads: What its uploader holds.
        snapshot: What the camera holds.
        earlier: What they held before the visitor turned to another page or tab. Streamlit empties them then.
    """

    page: str = ""
    whole: bool = False
    uploads: dict[str, Photo] = field(default_factory=dict)
    snapshot: dict[str, Photo] = field(default_factory=dict)
    earlier: dict[str, Photo] = field(default_factory=dict)

    def put_aside(self, *, snapshot_only: bool = False) -> None:
        uploads = {} if snapshot_only else self.uploads
        self.earlier = {**uploads, **self.snapshot, **self.earlier}
        self.snapshot = {}
        if not snapshot_only:
            self.uploads = {}

    def forget_earlier(self) -> None:
        for file_id in self.earlier:
            forget_upload(file_id)
        self.earlier = {}


def choose_photos(*, folders: bool = False) -> list[Photo]:
    """Draws the uploader, what was given before, and the switch for the example.

    Args:
        folders: Whether to offer that it takes a whole folder; phones have none to give.

    Returns:
        The example where it is wanted, then the photos, the latest uploads first; all different.
    """
    given = _given()
    context = get_script_run_ctx()
    page = context.page_script_hash if context is not None else ""
    browser = st.context.headers.get("User-Agent") or ""
    folders = folders and not _is_phone(browser)
    whole = folders and bool(st.session_state.get(_WHOLE))
    if (page, whole) != (given.page, given.whole) or _UPLOADER not in st.session_state:  # an empty uploader
        given.page, given.whole = page, whole
        given.put_aside()
    files = st.file_uploader(
        "Drop a folder here, or choose one" if whole else "Drop photos here, or choose some",
        type=accepted_types(browser),
        accept_multiple_files="directory" if whole else True,
        max_upload_size=min(_PHOTO_MEGABYTES, st.get_option("server.maxUploadSize")),
        key=_UPLOADER,
        help=f"Up to {Limits.from_environment().upload // MEGABYTE:,} MB at a time. *Forget* makes room.",
    )
    given.uploads = {file.file_id: given.uploads.get(file.file_id) or read_upload(file) for file in files}
    _show_earlier(given)
    photos = _without_copies([*given.uploads.values(), *given.earlier.values()])
    forget_all_but([*photos, *given.snapshot.values(), example()])
    with st.container(horizontal=True):
        wants_example = st.toggle("No photo at hand? Show the example", key="example", bind="query-params")
        if folders:
            st.toggle("Choose a whole folder", key=_WHOLE, persist_state="session")
    if wants_example:
        st.caption(EXAMPLE_CREDIT)
        photos.insert(0, example())
    return photos


def accepted_types(browser: str) -> list[str]:
    """What the uploader takes: pictures, and by name those that not every system knows for such.

    Args:
        browser: What the browser calls itself.

    Returns:
        Types as Streamlit wants them. On phones only the endings that these know as well: for one that they
        do not know they would open a list of files in place of the photos.
    """
    if _is_phone(browser):
        return ["image", "heic", "heif"]
    return ["image", *sorted(suffix.removeprefix(".") for suffix in IMAGE_SUFFIXES - _KNOWN_EVERYWHERE)]


def _is_phone(browser: str) -> bool:
    return any(word in browser for word in ("Android", "iPhone", "iPad", "Mobile"))


def take_snapshot() -> Photo | None:
    """Draws the camera; the browser asks for leave to use it when it does.

    Returns:
        The snapshot, or ``None`` before one is taken.
    """
    file = st.camera_input("Take a snapshot", key="snapshot", resolution="720p", width=640)
    st.caption("Browsers lend the camera to pages on HTTPS or localhost only.")
    given = _given()
    given.snapshot = {} if file is None else {file.file_id: read_upload(file, "snapshot.jpg")}
    return next(iter(given.snapshot.values()), None)


def keep_photo(photo: Photo) -> None:
    """Puts a photo that no widget holds among those of before, the latest first."""
    given = _given()
    given.earlier = {photo.digest: photo, **given.earlier}


def put_snapshot_aside() -> None:
    """To be called where the camera is not drawn: its snapshot joins the photos of before."""
    _given().put_aside(snapshot_only=True)


@st.cache_resource(max_entries=1, show_spinner=False)
def example() -> Photo:
    """The built-in example picture."""
    return Photo(EXAMPLE.name, EXAMPLE.read_bytes())


def current_settings(model: str) -> Settings:
    """How photos are looked at with a model, as the sliders of the first page say, on whatever page."""
    return Settings(
        model,
        st.session_state.get("min_face", 0),
        st.session_state.get("min_confidence", DEFAULT_MIN_CONFIDENCE),
    )


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
    if st.session_state.get(_CHOSEN) not in by_digest:
        last = st.session_state.get(_LOOKED_AT)
        st.session_state[_CHOSEN] = last if last in by_digest else photos[0].digest
    numbers = {digest: number for number, digest in enumerate(by_digest, start=1)}
    chosen = st.selectbox(
        "Photo",
        list(by_digest),
        format_func=lambda digest: f"{numbers[digest]} · {by_digest[digest].name}",
        key=_CHOSEN,
    )
    look_closer_at(by_digest[chosen])
    return by_digest[chosen]


def _given() -> _Given:
    given: _Given = st.session_state.setdefault(_GIVEN, _Given())
    return given


def forget_upload(file_id: str) -> None:
    """Lets go of a file, which Streamlit keeps until the session ends, even where no widget holds it."""
    context = get_script_run_ctx()
    if context is not None and isinstance(context.uploaded_file_mgr, MemoryUploadedFileManager):
        context.uploaded_file_mgr.remove_file(context.session_id, file_id)


def read_upload(file: UploadedFile, name: str | None = None) -> Photo:
    """What is in an uploaded file. Its bytes are Streamlit's own: a widget gives a new copy each run."""
    context = get_script_run_ctx()
    found = context.uploaded_file_mgr.get_files(context.session_id, [file.file_id]) if context else []
    return Photo(name or file.name, found[0].data if found else file.getvalue())


def _without_copies(photos: Iterable[Photo]) -> list[Photo]:
    found: dict[str, Photo] = {}
    for photo in photos:
        found.setdefault(photo.digest, photo)
    return list(found.values())


def _show_earlier(given: _Given) -> None:
    if not given.earlier:
        return
    with st.container(horizontal=True, vertical_alignment="center"):
        photos = list(given.earlier.values())
        words = ", ".join(quote(photo.name) for photo in photos[:_NAMES_SHOWN])
        if len(photos) > _NAMES_SHOWN:
            words += f" and {len(photos) - _NAMES_SHOWN} more"
        st.markdown(f":material/history: Still here from before: {words}", width="content")
        st.button(
            "Forget", key="forget", icon=":material/delete:", type="tertiary", on_click=given.forget_earlier
        )
