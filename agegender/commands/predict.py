"""`python -m agegender predict`: photos in; words, JSON, CSV and annotated copies out."""

from __future__ import annotations

import io
import os
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from agegender.annotate import annotate
from agegender.commands import OK, SOME_FAILED, complain, prepare_output, progress_bar, say, write_json
from agegender.errors import AgeGenderError, ConfigError, ImageError, ModelError
from agegender.export import (
    NO_FACE,
    faces_table,
    image_record,
    predictions_document,
    to_csv,
    write_atomically,
)
from agegender.files import escape_name
from agegender.images import find_images, read_image
from agegender.prediction import Prediction
from agegender.wording import describe

JPEG_QUALITY: Final = 92
_JPEG_SUFFIXES: Final = frozenset({".jpg", ".jpeg"})
_KEPT_SUFFIXES: Final = _JPEG_SUFFIXES | {".png"}

Pixels = NDArray[np.uint8]


class PhotoPredictor(Protocol):
    """What this command needs of `agegender.Predictor`."""

    @property
    def model(self) -> str:
        """Name of the model."""

    def predict(self, source: Pixels) -> list[Prediction]:
        """Every face of a photo."""

    def predict_chip_image(self, source: Pixels) -> Prediction:
        """The one face of a picture that is a chip."""

    def predict_chips(self, chips: Pixels) -> Sequence[Any]:
        """Estimates for chips of shape (n, h, w, 3)."""


@dataclass(frozen=True)
class Outputs:
    """Where results go; words are printed when nothing is set.

    Attributes:
        json: A file, or "-" for standard output.
        csv: A file.
        annotated: A folder for annotated copies.
    """

    json: str | None = None
    csv: str | None = None
    annotated: Path | None = None

    @property
    def in_words(self) -> bool:
        """Whether results are to be printed for people."""
        return self.json is None and self.csv is None and self.annotated is None


def run(patterns: Sequence[str], *, model: str | None, chips: bool, outputs: Outputs) -> int:
    """Predicts every picture that the patterns name.

    Args:
        patterns: Files, folders and globs.
        model: Name of the model; ``None`` takes the default one.
        chips: Whether each picture already is a face chip.
        outputs: Where results go.

    Returns:
        0, or 1 where some pictures failed.

    Raises:
        ConfigError: Nothing matches, or an output would replace an input.
        ModelError: The model is unknown or not trained.
    """
    paths = find_images(patterns)
    if not paths:
        raise ConfigError(f"no picture matches {' '.join(map(repr, patterns))}")
    check_outputs(paths, outputs)

    from agegender.predictor import Predictor  # after the checks: it imports TensorFlow

    predictor = Predictor() if model is None else Predictor(model)
    return predict_files(paths, predictor, chips=chips, outputs=outputs)


def predict_files(paths: Sequence[Path], predictor: PhotoPredictor, *, chips: bool, outputs: Outputs) -> int:
    """Predicts pictures one by one and writes what was asked for.

    A picture that fails is named on standard error and recorded with its error; the rest goes on.

    Args:
        paths: The pictures.
        predictor: The model.
        chips: Whether each picture already is a face chip.
        outputs: Where results go.

    Returns:
        0, or 1 where some pictures failed.

    Raises:
        ModelError: The model is unknown or not trained; nothing has been written then.
    """
    # A model that cannot be loaded is one error for the run, not one for each picture, and not hidden by
    # pictures without faces.
    predictor.predict_chips(np.zeros((1, 200, 200, 3), np.uint8))

    copies = annotated_paths(paths, outputs.annotated) if outputs.annotated is not None else {}
    records: list[dict[str, Any]] = []
    with progress_bar(len(paths), "Predicting", "photo") as bar:
        for path, pixels in read_ahead(paths):
            record, faces = _predict_one(path, pixels, predictor, chips=chips, copy=copies.get(path))
            records.append(record)
            if record["error"] is not None:
                complain(f"{record['path']}: {record['error']}")
            elif outputs.in_words:
                _print_faces(path, faces)
            bar.update()

    _write_tables(predictor.model, records, outputs)
    failed = sum(record["error"] is not None for record in records)
    if not outputs.in_words:
        found = sum(len(record["faces"]) for record in records)
        complain(f"photos: {len(records)}, faces: {found}, failed: {failed}")
    return SOME_FAILED if failed else OK


def read_ahead(paths: Iterable[Path]) -> Iterator[tuple[Path, Pixels | Exception]]:
    """Decodes pictures in a thread, one ahead of the caller.

    Args:
        paths: The pictures.

    Yields:
        Each path with its pixels, RGB ``uint8`` of shape (h, w, 3), or with the error it gave.
    """

    def read(path: Path) -> Pixels | Exception:
        try:
            return read_image(path)
        except Exception as error:  # handed over: the caller tells files that fail from those that do not
            return error

    with ThreadPoolExecutor(1) as pool:
        waiting = None
        for path in paths:
            following = (path, pool.submit(read, path))
            if waiting is not None:
                yield waiting[0], waiting[1].result()
            waiting = following
        if waiting is not None:
            yield waiting[0], waiting[1].result()


def annotated_paths(paths: Sequence[Path], folder: Path) -> dict[Path, Path]:
    """Names the annotated copies.

    Copies keep their place below the folder that the pictures have in common, so equal names in two folders
    stay apart. JPEG and PNG keep their name; any other format gets ".png" appended.

    Args:
        paths: The pictures.
        folder: Where the copies go.

    Returns:
        The copy's path for each picture: all different, ignoring case, and none of them a picture itself.
    """
    inputs = {path.resolve() for path in paths}
    used: set[str] = set()
    copies: dict[Path, Path] = {}
    for path, relative in zip(paths, _below_common_folder(paths), strict=True):
        kept = relative.suffix.lower() in _KEPT_SUFFIXES
        wanted = folder / (relative if kept else relative.with_name(f"{relative.name}.png"))
        copy, count = wanted, 1
        while str(copy).casefold() in used or copy.resolve() in inputs:
            extra = "annotated" if count == 1 else f"annotated-{count}"
            copy, count = wanted.with_name(f"{wanted.stem}-{extra}{wanted.suffix}"), count + 1
        used.add(str(copy).casefold())
        copies[path] = copy
    return copies


def check_outputs(paths: Sequence[Path], outputs: Outputs) -> None:
    """Makes sure, before the work, that results can be written and replace no picture.

    Args:
        paths: The pictures.
        outputs: Where results go.

    Raises:
        ConfigError: An output is one of the pictures, or cannot be written.
    """
    inputs = {path.resolve() for path in paths}
    for target in (outputs.json, outputs.csv):
        prepare_output(target)
        if target is not None and Path(target).resolve() in inputs:
            raise ConfigError(f"{target} is one of the pictures; write the results to another file")
    if outputs.annotated is not None:
        prepare_output(outputs.annotated / "any.png")


def _below_common_folder(paths: Sequence[Path]) -> list[Path]:
    absolute = [Path(os.path.abspath(path)) for path in paths]  # noqa: PTH100 - takes ".." out, follows no link
    try:
        common = os.path.commonpath([path.parent for path in absolute])
    except ValueError:  # several drives of a Windows machine have nothing in common
        return [Path(path.name) for path in absolute]
    return [path.relative_to(common) for path in absolute]


def _predict_one(
    path: Path, pixels: Pixels | Exception, predictor: PhotoPredictor, *, chips: bool, copy: Path | None
) -> tuple[dict[str, Any], list[Prediction]]:
    """Predicts a picture and draws its copy; whatever goes wrong ends up in the record's error."""
    size: tuple[int, int] | None = None
    faces: list[Prediction] = []
    problem: str | None = None
    try:
        if isinstance(pixels, Exception):
            raise pixels
        size = (pixels.shape[1], pixels.shape[0])
        faces = [predictor.predict_chip_image(pixels)] if chips else predictor.predict(pixels)
        if copy is not None:
            _write_picture(copy, annotate(pixels, faces))
    except ModelError:
        raise
    except Exception as error:  # not only the expected ones: one picture must not stop the others
        problem = _reason(error)
    return image_record(str(path), size, faces, error=problem), faces


def _write_picture(path: Path, pixels: Pixels) -> None:
    buffer = io.BytesIO()
    image = Image.fromarray(pixels)
    if path.suffix.lower() in _JPEG_SUFFIXES:
        image.save(buffer, "JPEG", quality=JPEG_QUALITY)
    else:
        image.save(buffer, "PNG")
    write_atomically(path, buffer.getvalue())


def _write_tables(model: str, records: Sequence[dict[str, Any]], outputs: Outputs) -> None:
    if outputs.csv is not None:
        write_atomically(outputs.csv, to_csv(faces_table(records)))
    if outputs.json is not None:
        write_json(predictions_document(model, records), outputs.json)


def _print_faces(path: Path, faces: Sequence[Prediction]) -> None:
    if not faces:
        say(f"{escape_name(path)}: {NO_FACE}")
    for number, face in enumerate(faces, start=1):
        say(f"{escape_name(path)}: face {number}: {describe(face)}")


def _reason(error: Exception) -> str:
    """Says what is wrong with a picture, without its name: that stands beside it."""
    if isinstance(error, ImageError):
        return error.reason
    if isinstance(error, AgeGenderError):
        return str(error)
    if isinstance(error, OSError):
        return error.strerror or str(error)
    return f"unexpected {type(error).__name__}: {error}"
