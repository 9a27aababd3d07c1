"""Pictures in, results out: what one session remembers of its photos, and the turns in which all are served.

Photos never leave memory. Kept between two runs of a page are the photos themselves (see `ui.session`), what
was answered, and of the latest few a small picture and the faces' chips, which the photo can give again.
"""

from __future__ import annotations

import hashlib
import io
import os
import threading
import zipfile
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cached_property, partial
from pathlib import PureWindowsPath  # which knows either slash
from typing import Any, Final, Literal, get_args

import cv2
import numpy as np
import streamlit as st
from numpy.typing import NDArray
from streamlit.delta_generator import DeltaGenerator

from agegender import Predictor
from agegender.drawing import BLUR_CONFIDENCE, annotate, pixelate
from agegender.errors import ImageError
from agegender.faces import Face
from agegender.faces.chip import change_margin
from agegender.files import unique_names
from agegender.images import read_image, read_photo
from agegender.prediction import ImageResult, Prediction
from agegender.predictor import FoundFace
from ui.models import load_model
from ui.widgets import encode

EXAMPLE_CREDIT: Final = (
    "Mariachi band in Guadalajara by Elidealista (CC0); Eileen Collins by NASA and Grace Hopper by "
    "James S. Davis, US Navy (public domain)."
)

PHOTOS_A_PAGE: Final = 30
"""Photos looked at together."""

_REMEMBERED: Final = 300
"""Photos whose results a session remembers: a few kilobytes each."""

_MOST_CHIPS: Final = 8
"""Chips, of nearly 200 kB, that a session remembers beyond those of the photo that it saw last."""

_PICTURES: Final = 2
_PREVIEW_SIDE: Final = 1600
_LOOK_SECONDS: Final = 0.5
_NO_CHIP: Final = np.zeros((0, 0, 3), dtype=np.uint8)

COUNTED: Final = "counts of people"
"""Where a session has the latest counts of all its photos; they go when one of these does."""

Memory = Literal["found", "analyses", "chips", "pictures", "explanations", "people"]
"""What a session remembers of photos."""


@dataclass(frozen=True)
class Photo:
    """A picture as it came: a name to call it by, and its bytes."""

    name: str
    data: bytes

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the bytes, in hexadecimal: the photo itself, whatever it is called."""
        return hashlib.sha256(self.data).hexdigest()


@dataclass(frozen=True)
class Settings:
    """How photos are looked at.

    Attributes:
        model: Name of the model.
        min_face: Smallest face to look at, in pixels of the photo.
        min_confidence: How sure the detector has to be of a face, 0 to 1.
    """

    model: str
    min_face: int
    min_confidence: float


@dataclass(frozen=True, eq=False)
class Found:
    """What there is to see in a photo, whatever model is asked about it.

    Attributes:
        size: Width and height of the upright photo, in pixels; ``None`` where it could not be read.
        faces: The first is number 1.
        error: Why it could not be read, or ``None``.
        taken: When the photo was taken, by its camera's clock, where it says so.
    """

    size: tuple[int, int] | None
    faces: tuple[Face, ...] = ()
    error: str | None = None
    taken: datetime | None = None


@dataclass(frozen=True, eq=False)
class Analysis:
    """What a model says of one photo.

    Attributes:
        found: What there is to see.
        settings: How it was looked at.
        predictions: Of each face, without their chips: `with_chips` adds them.
    """

    found: Found
    settings: Settings
    predictions: tuple[Prediction, ...] = ()

    @property
    def size(self) -> tuple[int, int] | None:
        """As `Found`."""
        return self.found.size

    @property
    def error(self) -> str | None:
        """As `Found`."""
        return self.found.error


def analyse(photos: Sequence[Photo], settings: Settings) -> list[Analysis]:
    """Looks at every photo that this session does not remember, with a progress bar where there are many.

    Results are found again by the content of the photo and the settings, so moving another widget costs
    nothing; and faces by what the detector was told, so another model is only asked about them.

    Args:
        photos: What to look at.
        settings: How to look at them.

    Returns:
        One result a photo, in order. A photo that cannot be read has its ``error`` set.

    Raises:
        ModelError: The model cannot be loaded.
    """
    memory, place, analyses = remembered("analyses"), st.empty(), []
    for number, photo in enumerate(photos):
        known, share = (photo.digest, settings) in memory, number / len(photos)
        if len(photos) > 1 and not known:
            place.progress(share, f"Looking at photo {number + 1} of {len(photos)} …")
        with st.spinner("Looking for faces …") if len(photos) == 1 and not known else nullcontext():
            analyses.append(look_at(photo, settings, partial(say_waiting, place, share)))
    place.empty()
    return analyses


def say_waiting(place: DeltaGenerator, share: float, before: int) -> None:
    """Says that photos of others come first, in place of how far the work is."""
    photos = "1 photo of another visitor comes" if before == 1 else f"{before} photos of other visitors come"
    place.progress(share, f"Waiting: {photos} first …")


def look_at(
    photo: Photo, settings: Settings, waiting: Callable[[int], None] = lambda before: None
) -> Analysis:
    """Looks at one photo, or remembers what was seen.

    Args:
        photo: What to look at.
        settings: How to look at it.
        waiting: Called now and then with how many photos of others come first.

    Raises:
        ModelError: The model cannot be loaded.
    """
    analyses, key = remembered("analyses"), (photo.digest, settings)
    if key not in analyses:
        predictor, memory = load_model(settings.model).predictor, remembered("found")
        seen = (photo.digest, settings.min_face, settings.min_confidence)
        with turns().take(waiting):
            if seen not in memory:
                memory[seen] = _find(photo, settings, predictor)
            found: Found = memory[seen]
            predictions = predictor.predict_faces(_chips_of(photo, found))
        bound(memory, seen, _REMEMBERED)
        analyses[key] = Analysis(found, settings, tuple(replace(p, chip=_NO_CHIP) for p in predictions))
    bound(analyses, key, _REMEMBERED)
    analysis: Analysis = analyses[key]
    return analysis


def _find(photo: Photo, settings: Settings, predictor: Predictor) -> Found:
    found, chips, image = find_faces(photo, settings, predictor)
    if image is not None:
        _remember_chips(photo, found, chips)
        _remember_picture(photo, image)
    return found


def find_faces(
    photo: Photo, settings: Settings, predictor: Predictor
) -> tuple[Found, list[FoundFace], NDArray[np.uint8] | None]:
    """Reads a photo and looks for faces in it, and remembers nothing.

    Args:
        photo: What to look at.
        settings: How to look at it.
        predictor: What looks.

    Returns:
        What there is to see, the faces cut out, and the photo's pixels, if it could be read.
    """
    try:
        image, taken = read_photo(photo.data)
    except ImageError as error:
        return Found(None, error=error.reason), [], None
    chips = predictor.find_faces(image, min_confidence=settings.min_confidence, min_face=settings.min_face)
    return Found(image.shape[1::-1], tuple(face for face, _ in chips), taken=taken), chips, image


def _chips_of(photo: Photo, found: Found) -> list[FoundFace]:
    """The faces of a photo, cut out of it anew where that is forgotten."""
    key = (photo.digest, found.faces)
    if found.faces and key not in remembered("chips"):
        image = read_image(photo.data, name=photo.name)
        _remember_chips(photo, found, Predictor.crop_faces(image, found.faces))
    chips: list[FoundFace] = remembered("chips").get(key, [])
    return chips


def _remember_chips(photo: Photo, found: Found, chips: list[FoundFace]) -> None:
    memory, key = remembered("chips"), (photo.digest, found.faces)
    memory[key] = chips
    bound(memory, key, _MOST_CHIPS, len)


def _remember_picture(photo: Photo, image: NDArray[np.uint8]) -> bytes:
    """Keeps a photo as JPEG, shrunk to fit a screen."""
    height, width = image.shape[:2]
    scale = min(1.0, _PREVIEW_SIDE / max(width, height))
    size = max(1, round(scale * width)), max(1, round(scale * height))
    small = image if scale == 1 else cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    memory, key = remembered("pictures"), (photo.digest,)
    memory[key] = encode(np.asarray(small, np.uint8), ".jpg", cv2.IMWRITE_JPEG_QUALITY, 92)
    bound(memory, key, _PICTURES)
    picture: bytes = memory[key]
    return picture


def with_chips(photo: Photo, analysis: Analysis) -> list[Prediction]:
    """The predictions of a photo with the chips that the model saw."""
    return [
        replace(prediction, chip=change_margin(chip.pixels, chip.margin, prediction.margin))
        for prediction, (_, chip) in zip(analysis.predictions, _chips_of(photo, analysis.found), strict=True)
    ]


def preview_of(photo: Photo, analysis: Analysis) -> bytes:
    """A readable photo with its faces marked, as JPEG, shrunk to fit a screen."""
    memory, key = remembered("pictures"), (photo.digest, analysis)
    if key not in memory:
        plain = memory.get((photo.digest,)) or _remember_picture(photo, read_image(photo.data))
        picture = read_image(plain)
        scale = picture.shape[1] / (analysis.size or (1, 1))[0]
        small = [
            replace(p, face=replace(p.face, box=tuple(scale * edge for edge in p.face.box)))
            for p in analysis.predictions
        ]
        memory[key] = encode(annotate(picture, small), ".jpg", cv2.IMWRITE_JPEG_QUALITY, 88)
    bound(memory, key, _PICTURES)
    preview: bytes = memory[key]
    return preview


class Turns:
    """Lets a few threads at a time do something, in the order in which they came.

    Args:
        places: How many at a time.
    """

    def __init__(self, places: int) -> None:
        self._free, self._lock = places, threading.Lock()
        self._waiting: deque[threading.Event] = deque()

    @contextmanager
    def take(self, waiting: Callable[[int], None] = lambda before: None) -> Iterator[None]:
        """Waits for a turn, and takes it for as long as the context lasts.

        Args:
            waiting: Called now and then with how many come first. What it raises ends the waiting.
        """
        gate = threading.Event()
        with self._lock:
            self._waiting.append(gate)
            self._open()
        try:
            while not gate.wait(_LOOK_SECONDS):
                with self._lock:
                    before = self._waiting.index(gate) + 1 if gate in self._waiting else 0
                if before:
                    waiting(before)
            yield
        finally:
            with self._lock:
                if gate.is_set():
                    self._free += 1
                else:
                    self._waiting.remove(gate)
                self._open()

    def _open(self) -> None:
        while self._free and self._waiting:
            self._free -= 1
            self._waiting.popleft().set()


@st.cache_resource(max_entries=1, show_spinner=False)
def turns() -> Turns:
    """Of all visitors: more work at once than there are cores for it would only add up memory."""
    return Turns(max(1, (os.cpu_count() or 1) // 2))


def remembered(what: Memory) -> OrderedDict[Any, Any]:
    """What this session remembers of a kind, by tuples that begin with the photo's digest."""
    memory: OrderedDict[Any, Any] = st.session_state.setdefault(what, OrderedDict())
    return memory


def bound(
    memory: OrderedDict[Any, Any], key: object, limit: int, weigh: Callable[[Any], int] = lambda value: 1
) -> None:
    """Marks an entry as the latest used, and drops the earliest used others while all weigh over a limit."""
    memory.move_to_end(key)
    excess = sum(map(weigh, memory.values())) - limit
    while excess > 0 and len(memory) > 1:
        excess -= weigh(memory.popitem(last=False)[1])


def forget_all_but(photos: Sequence[Photo]) -> None:
    """Drops all that this session remembers of other photos than these."""
    alive = {photo.digest for photo in photos}
    for what in get_args(Memory):
        memory = remembered(what)
        for key in [key for key in memory if key[0] not in alive]:
            del memory[key]
            st.session_state.pop(COUNTED, None)


def records(photos: Sequence[Photo], analyses: Sequence[Analysis]) -> list[dict[str, Any]]:
    """Describes photos and results as the package's exports want them.

    Args:
        photos: The photos.
        analyses: Their results, in the same order.

    Returns:
        One `ImageResult.to_dict` a photo.
    """
    return [
        ImageResult(photo.name, analysis.size, analysis.predictions, analysis.error).to_dict()
        for photo, analysis in zip(photos, analyses, strict=True)
    ]


def annotated_png(photo: Photo, analysis: Analysis) -> bytes:
    """Draws the faces of a readable photo at its own size: a PNG file."""
    return _drawn(read_image(photo.data, name=photo.name), analysis)


def blurred_png(photo: Photo, analysis: Analysis) -> bytes:
    """As `annotated_png`, with all that may be faces made unrecognisable first."""
    image = read_image(photo.data, name=photo.name)
    predictor = load_model(analysis.settings.model).predictor
    found = [face for face, _ in predictor.find_faces(image, min_confidence=BLUR_CONFIDENCE)]
    return _drawn(pixelate(image, [face.box for face in [*found, *analysis.found.faces]]), analysis)


def _drawn(image: NDArray[np.uint8], analysis: Analysis) -> bytes:
    return encode(annotate(image, analysis.predictions), ".png", cv2.IMWRITE_PNG_COMPRESSION, 3)


def annotated_zip(photos: Sequence[Photo], analyses: Sequence[Analysis], *, blur: bool = False) -> bytes:
    """Packs the annotated pictures of all readable photos.

    Args:
        photos: The photos.
        analyses: Their results, in the same order.
        blur: Whether to make faces unrecognisable, as `blurred_png` does.

    Returns:
        A ZIP file of PNG files, each named after its photo.
    """
    readable = [pair for pair in zip(photos, analyses, strict=True) if pair[1].error is None]
    names = unique_names(f"{PureWindowsPath(photo.name).stem}.annotated.png" for photo, _ in readable)
    draw, buffer = blurred_png if blur else annotated_png, io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:  # PNG does not shrink further
        for name, (photo, analysis) in zip(names, readable, strict=True):
            archive.writestr(name, draw(photo, analysis))
    return buffer.getvalue()
