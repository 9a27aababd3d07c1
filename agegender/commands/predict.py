"""`python -m agegender predict`: photos in; words, JSON, CSV and annotated copies out."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

from agegender.batch import in_order, stop_on_signal
from agegender.commands import complain, load_predictor, progress_bar, save_picture, say
from agegender.commands.outputs import (
    Outputs,
    Record,
    annotated_paths,
    check_outputs,
    say_done,
    without_copies,
    writing,
)
from agegender.drawing import BLUR_CONFIDENCE, annotate, pixelate
from agegender.errors import ConfigError, ModelError, reason_of
from agegender.export import (
    NO_FACE,
    faces_csv,
    predictions_document,
)
from agegender.images import find_images, read_image
from agegender.prediction import ImageResult, Prediction
from agegender.wording import describe

if TYPE_CHECKING:
    from agegender.predictor import Predictor


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

    return predict_files(found, load_predictor(model), chips=chips, outputs=outputs)


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
        OSError: An output cannot be written; the others are.
        KeyboardInterrupt: The run was stopped by a signal.
    """
    copies = annotated_paths(paths, outputs.annotated) if outputs.annotated is not None else {}

    def predict(path: Path) -> tuple[dict[str, Any], list[Prediction]]:
        return _predict_one(path, predictor, chips=chips, copy=copies.get(path), blur=outputs.blur)

    records: list[Record] = []
    with (
        writing(
            records,
            outputs,
            total=len(paths),
            what="photos",
            table=faces_csv,
            document=partial(predictions_document, predictor.model),
        ),
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
    code = say_done(records, outputs, "photos", "faces", "faces")
    if stop.is_set():
        raise KeyboardInterrupt
    return code


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


def _print_faces(path: str, faces: Sequence[Prediction]) -> None:
    if not faces:
        say(f"{path}: {NO_FACE}")
    for number, face in enumerate(faces, start=1):
        say(f"{path}: face {number}: {describe(face)}")
