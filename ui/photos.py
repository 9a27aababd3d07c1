"""Pictures in, results out: the model all visitors share, and what one session remembers.

Photos never leave memory. Kept between two runs of a page are the photos themselves (see `ui.session`), and
for the latest few a small preview and the faces' chips.
"""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections import Counter, OrderedDict
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import cached_property
from pathlib import PurePath
from typing import Any, Final, Literal, get_args

import numpy as np
import streamlit as st
from numpy.typing import NDArray
from PIL import Image
from starlette.formparsers import MultiPartParser

from agegender import Predictor
from agegender.annotate import annotate
from agegender.errors import ImageError
from agegender.export import image_record
from agegender.images import read_image
from agegender.prediction import Prediction
from agegender.runtime import prepare_tensorflow

EXAMPLE_CREDIT: Final = (
    "Mariachi band in Guadalajara by Elidealista (CC0); Eileen Collins by NASA and Grace Hopper by "
    "James S. Davis, US Navy (public domain)."
)

MAX_PHOTOS: Final = 30
"""Photos looked at together."""

_REMEMBERED: Final = MAX_PHOTOS + 2  # a full upload, the example and a snapshot
_PREVIEW_SIDE: Final = 1600

Memory = Literal["analyses", "explanations", "answers"]
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
class Analysis:
    """What was seen in one photo.

    Attributes:
        size: Width and height of the upright photo, in pixels; ``None`` where it could not be read.
        predictions: Its faces; the first is number 1.
        preview: The annotated photo as JPEG, shrunk to fit a screen; empty where it could not be read.
        error: Why it could not be read, or ``None``.
    """

    size: tuple[int, int] | None
    predictions: tuple[Prediction, ...]
    preview: bytes
    error: str | None = None


def keep_uploads_in_memory() -> None:
    """Stops the web server from passing uploads over 1 MB through a temporary file on disk.

    Starlette, which receives them, knows 0 as "no limit"; ``server.maxUploadSize`` still bounds each file.
    """
    MultiPartParser.spool_max_size = 0


@st.cache_resource(max_entries=2, show_spinner="Loading the model. Only the first photo waits for it …")
def load_predictor(model: str) -> Predictor:
    """Gives the one predictor of a model that all visitors share, with everything it needs loaded.

    Args:
        model: Name of the model.

    Raises:
        ModelError: The model is unknown, or its weights are missing or damaged.
    """
    prepare_tensorflow()
    predictor = Predictor(model)
    blank = np.zeros((1, 200, 200, 3), dtype=np.uint8)
    predictor.predict_chips(blank)
    predictor.predict(blank[0])
    return predictor


def analyse(photos: Sequence[Photo], settings: Settings) -> list[Analysis]:
    """Looks at every photo that this session does not remember, with a progress bar where there are many.

    Results are found again by the content of the photo and the settings, so moving another widget costs
    nothing, and the latest `_REMEMBERED` are kept.

    Args:
        photos: What to look at.
        settings: How to look at them.

    Returns:
        One result a photo, in order. A photo that cannot be read has its ``error`` set.

    Raises:
        ModelError: The model cannot be loaded.
    """
    memory = remembered("analyses")
    bar = st.empty()
    analyses = []
    for number, photo in enumerate(photos):
        key = (photo.digest, settings)
        if key not in memory:
            predictor = load_predictor(settings.model)
            if len(photos) > 1:
                bar.progress(number / len(photos), f"Looking at photo {number + 1} of {len(photos)} …")
            with st.spinner("Looking for faces …") if len(photos) == 1 else nullcontext():
                memory[key] = _look_at(photo, settings, predictor)
        analyses.append(memory[key])
        bound(memory, key, _REMEMBERED)
    bar.empty()
    return analyses


def remembered(what: Memory) -> OrderedDict[Any, Any]:
    """What this session remembers of a kind, by tuples that begin with the photo's digest."""
    memory: OrderedDict[Any, Any] = st.session_state.setdefault(what, OrderedDict())
    return memory


def bound(memory: OrderedDict[Any, Any], key: object, limit: int) -> None:
    """Marks an entry as the latest used and drops the earliest used beyond a limit."""
    memory.move_to_end(key)
    while len(memory) > limit:
        memory.popitem(last=False)


def forget_all_but(photos: Sequence[Photo]) -> None:
    """Drops all that this session remembers of other photos than these."""
    alive = {photo.digest for photo in photos}
    for what in get_args(Memory):
        memory = remembered(what)
        for key in [key for key in memory if key[0] not in alive]:
            del memory[key]


def records(photos: Sequence[Photo], analyses: Sequence[Analysis]) -> list[dict[str, Any]]:
    """Describes photos and results as the package's exports want them.

    Args:
        photos: The photos.
        analyses: Their results, in the same order.

    Returns:
        One `agegender.export.image_record` a photo.
    """
    return [
        image_record(photo.name, analysis.size, analysis.predictions, analysis.error)
        for photo, analysis in zip(photos, analyses, strict=True)
    ]


def annotated_png(photo: Photo, analysis: Analysis) -> bytes:
    """Draws the faces of a readable photo at its own size.

    Args:
        photo: The photo.
        analysis: Its result.

    Returns:
        A PNG file.
    """
    drawn = annotate(read_image(photo.data, name=photo.name), analysis.predictions)
    return _encode(drawn, "PNG", compress_level=3)


def annotated_zip(photos: Sequence[Photo], analyses: Sequence[Analysis]) -> bytes:
    """Packs the annotated pictures of all readable photos.

    Args:
        photos: The photos.
        analyses: Their results, in the same order.

    Returns:
        A ZIP file of PNG files, each named after its photo.
    """
    uses: Counter[str] = Counter()
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:  # PNG does not shrink further
        for photo, analysis in zip(photos, analyses, strict=True):
            if analysis.error is None:
                stem = PurePath(photo.name).stem
                uses[stem] += 1
                copy = f" ({uses[stem]})" if uses[stem] > 1 else ""
                archive.writestr(f"{stem}{copy}.annotated.png", annotated_png(photo, analysis))
    return buffer.getvalue()


def _look_at(photo: Photo, settings: Settings, predictor: Predictor) -> Analysis:
    try:
        image = read_image(photo.data, name=photo.name)
    except ImageError as error:
        return Analysis(size=None, predictions=(), preview=b"", error=error.reason)
    predictions = tuple(
        predictor.predict(image, min_confidence=settings.min_confidence, min_face=settings.min_face)
    )
    height, width = image.shape[:2]
    preview = _encode(annotate(image, predictions), "JPEG", shrink=True, quality=88)
    return Analysis(size=(width, height), predictions=predictions, preview=preview)


def _encode(image: NDArray[np.uint8], file_format: str, *, shrink: bool = False, **options: int) -> bytes:
    picture = Image.fromarray(image)
    if shrink:
        picture.thumbnail((_PREVIEW_SIDE, _PREVIEW_SIDE))
    buffer = io.BytesIO()
    picture.save(buffer, file_format, **options)
    return buffer.getvalue()
