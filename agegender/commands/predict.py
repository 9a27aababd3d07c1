"""`python -m agegender predict`: photos in; words, JSON, CSV and annotated copies out."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from PIL import Image

from agegender.batch import in_order, stop_on_signal
from agegender.commands import (
    JPEG_SUFFIXES,
    OK,
    SOME_FAILED,
    STANDARD_OUTPUT,
    complain,
    prepare_outputs,
    progress_bar,
    save_picture,
    say,
    write_all,
    write_json,
)
from agegender.drawing import BLUR_CONFIDENCE, annotate, pixelate
from agegender.errors import ConfigError, ModelError, reason_of
from agegender.export import (
    NO_FACE,
    faces_csv,
    predictions_document,
    write_atomically,
)
from agegender.files import unique_names
from agegender.images import find_images, read_image
from agegender.prediction import ImageResult, Prediction
from agegender.runtime import without_chatter
from agegender.wording import describe

if TYPE_CHECKING:
    from agegender.predictor import Predictor

_KEPT_SUFFIXES: Final = JPEG_SUFFIXES | {".png"}


@dataclass(frozen=True)
class Outputs:
    """Where results go; words are printed when nothing is set.

    Attributes:
        json: A file, or "-" for standard output.
        csv: A file.
        annotated: A folder for annotated copies.
        blur: Whether faces are made unrecognisable in these.
    """

    json: str | None = None
    csv: str | None = None
    annotated: Path | None = None
    blur: bool = False

    def __post_init__(self) -> None:
        if self.blur and self.annotated is None:
            raise ConfigError("--blur is for copies: name a folder for them with --annotate")

    @property
    def in_words(self) -> bool:
        """Whether results are to be printed for people."""
        return self.json is None and self.csv is None and self.annotated is None


def run(
    *,
    paths: Sequence[str],
    model: str | None,
    chips: bool,
    json: str | None,
    csv: str | None,
    annotate: Path | None,
    blur: str | None,
) -> int:
    """Predicts every picture that the paths name.

    Returns:
        0, or 1 where some pictures failed.

    Raises:
        ConfigError: Nothing matches, or an output would replace an input.
        ModelError: The model is unknown or not trained.
    """
    patterns, outputs = paths, Outputs(json=json, csv=csv, annotated=annotate, blur=blur is not None)
    found = find_images(patterns)
    if outputs.annotated is not None:
        found = without_copies(found, patterns, outputs.annotated)
    if not found:
        raise ConfigError(f"no picture matches {' '.join(map(repr, patterns))}")
    check_outputs(found, outputs)

    from agegender.predictor import Predictor  # after the checks: it imports TensorFlow

    predictor = Predictor() if model is None else Predictor(model)
    return predict_files(found, predictor, chips=chips, outputs=outputs)


def predict_files(paths: Sequence[Path], predictor: Predictor, *, chips: bool, outputs: Outputs) -> int:
    """Predicts pictures, as many at a time as there are cores, and writes what was asked for.

    A picture that fails is named on standard error and recorded with its error; the rest goes on. Words and
    records are in the order of the pictures. Whatever ends the run early, ``Ctrl-C`` or an error, what is
    done by then is written and said.

    Args:
        paths: The pictures.
        predictor: The model.
        chips: Whether each picture already is a face chip.
        outputs: Where results go.

    Returns:
        0, or 1 where some pictures failed.

    Raises:
        ModelError: The model is unknown or not trained; nothing has been written then.
        OSError: An output cannot be written; the others are.
        KeyboardInterrupt: The run was stopped by a signal.
    """
    # A model that cannot be loaded is one error for the run, not one for each picture, and not hidden by
    # pictures without faces.
    with without_chatter():
        predictor.predict_chips(np.zeros((1, 200, 200, 3), np.uint8))

    copies = annotated_paths(paths, outputs.annotated) if outputs.annotated is not None else {}

    def predict(path: Path) -> tuple[dict[str, Any], list[Prediction]]:
        return _predict_one(path, predictor, chips=chips, copy=copies.get(path), blur=outputs.blur)

    records: list[dict[str, Any]] = []
    try:
        with (
            stop_on_signal() as stop,
            progress_bar(len(paths), "Predicting", "photo") as bar,
            closing(in_order(predict, paths, stop)) as answers,
        ):
            for record, faces in answers:
                records.append(record)
                if record["error"] is not None:
                    complain(f"{record['path']}: {record['error']}")
                elif outputs.in_words:
                    _print_faces(record["path"], faces)
                bar.update()
    finally:
        if len(records) < len(paths):
            complain(f"stopped after {len(records)} of {len(paths)} photos")
        if records:
            write_all(*_table_writers(predictor.model, records, outputs))

    failed = sum(record["error"] is not None for record in records)
    if not outputs.in_words:
        found = sum(len(record["faces"]) for record in records)
        complain(f"photos: {len(records)}, faces: {found}, failed: {failed}")
    if stop.is_set():
        raise KeyboardInterrupt
    return SOME_FAILED if failed else OK


def annotated_paths(
    paths: Sequence[Path], folder: Path, kept: Collection[str] = _KEPT_SUFFIXES, other: str = ".png"
) -> dict[Path, Path]:
    """Names the annotated copies.

    Copies keep their place below the folder that the pictures have in common, so equal names in two folders
    stay apart.

    Args:
        paths: The pictures, or videos.
        folder: Where the copies go.
        kept: Endings of formats in which copies are written, too: these keep their names.
        other: What is appended to any other name.

    Returns:
        The copy's path for each picture, all different as `unique_names` makes them.
    """
    wanted = [
        relative if relative.suffix.lower() in kept else relative.with_name(f"{relative.name}{other}")
        for relative in _below_common_folder(paths)
    ]
    names = unique_names(path.as_posix() for path in wanted)
    return {path: folder / name for path, name in zip(paths, names, strict=True)}


def check_outputs(paths: Sequence[Path], outputs: Outputs, copies: Mapping[Path, Path] | None = None) -> None:
    """Makes sure, before the work, that results can be written and meet neither each other nor a picture.

    Args:
        paths: The pictures, or videos.
        outputs: Where results go.
        copies: Paths of the annotated copies, where these are not those of pictures.

    Raises:
        ConfigError: Two outputs meet, one is a picture, or one cannot be written.
    """
    files = {"--json": outputs.json, "--csv": outputs.csv}
    prepare_outputs(files, {"--annotate": outputs.annotated}, inputs=paths)
    if outputs.annotated is None:
        return
    targets = (copies or annotated_paths(paths, outputs.annotated)).values()
    folders = {folder.resolve() for folder in {parent for copy in targets for parent in copy.parents}}
    for option, target in files.items():
        if target not in {None, STANDARD_OUTPUT} and Path(target).resolve() in folders:
            raise ConfigError(f"{option} {target} has to be a folder for annotated copies")
    read = {path.resolve() for path in paths}
    for copy in targets:
        if copy.resolve() in read:  # through a link
            raise ConfigError(f"{copy} is a link to one of the pictures; name another folder for the copies")


def without_copies(
    paths: Sequence[Path], patterns: Sequence[str], folder: Path, what: str = "pictures"
) -> list[Path]:
    """Leaves out what lies where the annotated copies go: copies of earlier runs would be drawn upon again.

    Raises:
        ConfigError: One of these was named by itself, or nothing else is left.
    """
    place = folder.resolve()
    inside = {path for path in paths if path.resolve().is_relative_to(place)}
    named = inside & {Path(os.path.expanduser(pattern)) for pattern in patterns}  # noqa: PTH111 - see find_images
    if named or (inside and len(inside) == len(paths)):
        raise ConfigError(
            f"{min(named or inside)} lies in {folder}, where annotated copies would mix with the {what}; "
            "name another folder for them"
        )
    if inside:
        complain(f"left out: {len(inside)} {what} in {folder}, where the annotated copies go")
    return [path for path in paths if path not in inside]


def _below_common_folder(paths: Sequence[Path]) -> list[Path]:
    absolute = [Path(os.path.abspath(path)) for path in paths]  # noqa: PTH100 - takes ".." out, follows no link
    try:
        common = os.path.commonpath([path.parent for path in absolute])
    except ValueError:  # several drives of a Windows machine have nothing in common
        return [Path(path.name) for path in absolute]
    return [path.relative_to(common) for path in absolute]


def _predict_one(
    path: Path, predictor: Predictor, *, chips: bool, copy: Path | None, blur: bool
) -> tuple[dict[str, Any], list[Prediction]]:
    """Reads a picture, predicts it and draws its copy; what goes wrong ends up in the record's error."""
    size: tuple[int, int] | None = None
    faces: list[Prediction] = []
    problem: str | None = None
    try:
        pixels = read_image(path)
        size = (pixels.shape[1], pixels.shape[0])
        faces = [predictor.predict_chip_image(pixels)] if chips else predictor.predict(pixels)
        if copy is not None and blur:
            found = [face for face, _ in predictor.find_faces(pixels, min_confidence=BLUR_CONFIDENCE)]
            pixels = pixelate(pixels, [face.box for face in [*found, *(one.face for one in faces)]])
        if copy is not None:
            save_picture(Image.fromarray(annotate(pixels, faces)), copy)
    except ModelError:
        raise
    except Exception as error:  # not only the expected ones: one picture must not stop the others
        problem = reason_of(error)
    return ImageResult(str(path), size, faces, problem).to_dict(), faces


def _table_writers(
    model: str, records: Sequence[dict[str, Any]], outputs: Outputs
) -> Iterator[Callable[[], None]]:
    csv, json = outputs.csv, outputs.json
    if csv is not None:
        yield lambda: write_atomically(csv, faces_csv(records))
    if json is not None:
        yield lambda: write_json(predictions_document(model, records), json)


def _print_faces(path: str, faces: Sequence[Prediction]) -> None:
    if not faces:
        say(f"{path}: {NO_FACE}")
    for number, face in enumerate(faces, start=1):
        say(f"{path}: face {number}: {describe(face)}")
