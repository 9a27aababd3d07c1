"""How well a model holds on photos worse than UTKFace's: the same chips, damaged in seven fixed ways.

Photos that people bring are darker, blurrier, more turned and more covered than UTKFace. Each corruption
imitates one such photo, at one strength that never changes, so that models can be compared. The idea is that
of Hendrycks and Dietterich, "Benchmarking neural network robustness to common corruptions and perturbations",
ICLR 2019.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import PurePosixPath
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from agegender.errors import DatasetError
from agegender.faces.chip import CHIP_SIZE, resize_chip
from agegender.faces.crop import CHIP_LANDMARKS, check_rgb, crop_face
from agegender.faces.face import Face
from agegender.prediction import ChipPredictor
from agegender.progress import Progress

if TYPE_CHECKING:  # a card that tells of corruptions needs no tables
    import pandas as pd

    from agegender.data.table import Dataset
    from agegender.evaluation.evaluate import Evaluation

CORRUPTION_SEED: Final = 20

Pixels = NDArray[np.uint8]

_BRIGHTNESS: Final = 0.15
_BLUR_SIGMA: Final = 5.0
_LOW_RESOLUTION: Final = 20
_JPEG_QUALITY: Final = 8
_PATCH_SIDE: Final = 130
_PATCH_GREY: Final = 128
_LANDMARK_SIGMA: Final = 10.0
_ROTATION: Final = 30.0


@dataclass(frozen=True)
class Corruption:
    """One way to damage a chip.

    Attributes:
        title: For people, with its strength in pixels of a 200×200 chip.
        apply: From a chip and a random generator to the damaged chip; both are uint8 RGB of shape
            (200, 200, 3).
    """

    title: str
    apply: Callable[[Pixels, np.random.Generator], Pixels]


def _darken(chip: Pixels, rng: np.random.Generator) -> Pixels:
    return np.rint(chip * _BRIGHTNESS).astype(np.uint8)


def _blur(chip: Pixels, rng: np.random.Generator) -> Pixels:
    return np.asarray(cv2.GaussianBlur(chip, (0, 0), _BLUR_SIGMA), dtype=np.uint8)


def _lower_resolution(chip: Pixels, rng: np.random.Generator) -> Pixels:
    # Averaged down, as a sensor does, and linear up, as most software shows a small picture.
    small = cv2.resize(chip, (_LOW_RESOLUTION, _LOW_RESOLUTION), interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.resize(small, (CHIP_SIZE, CHIP_SIZE), interpolation=cv2.INTER_LINEAR), np.uint8)


def _compress(chip: Pixels, rng: np.random.Generator) -> Pixels:
    # OpenCV writes and reads BGR. In the wrong order JPEG would spend its bits on the wrong colours.
    bgr = cv2.cvtColor(chip, cv2.COLOR_RGB2BGR)
    _, encoded = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
    decoded = np.asarray(cv2.imdecode(encoded, cv2.IMREAD_COLOR))
    return np.asarray(cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB), dtype=np.uint8)


def _cover(chip: Pixels, rng: np.random.Generator) -> Pixels:
    left, top = rng.integers(0, CHIP_SIZE - _PATCH_SIDE + 1, 2)
    covered = chip.copy()
    covered[top : top + _PATCH_SIDE, left : left + _PATCH_SIDE] = _PATCH_GREY
    return covered


def _crop_again(chip: Pixels, rng: np.random.Generator) -> Pixels:
    jittered = CHIP_LANDMARKS + rng.normal(0.0, _LANDMARK_SIGMA, CHIP_LANDMARKS.shape)
    side = float(CHIP_SIZE)
    points = tuple((float(x), float(y)) for x, y in jittered)
    return crop_face(chip, Face((0.0, 0.0, side, side), 1.0, points)).pixels  # type: ignore[arg-type]


def _rotate(chip: Pixels, rng: np.random.Generator) -> Pixels:
    angle = _ROTATION if rng.random() < 0.5 else -_ROTATION
    middle = (CHIP_SIZE - 1) / 2  # OpenCV counts from pixel centres
    matrix = cv2.getRotationMatrix2D((middle, middle), angle, 1.0)
    rotated = cv2.warpAffine(chip, matrix, (CHIP_SIZE, CHIP_SIZE), borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(rotated, dtype=np.uint8)


CORRUPTIONS: Final[Mapping[str, Corruption]] = MappingProxyType(
    {
        "brightness": Corruption(f"brightness × {_BRIGHTNESS}", _darken),
        "blur": Corruption(f"Gaussian blur σ {_BLUR_SIGMA:.0f} px", _blur),
        "low_resolution": Corruption(f"down to {_LOW_RESOLUTION} px and back", _lower_resolution),
        "jpeg": Corruption(f"JPEG quality {_JPEG_QUALITY}", _compress),
        "patch": Corruption(f"grey patch {_PATCH_SIDE}×{_PATCH_SIDE} px", _cover),
        "landmarks": Corruption(f"landmarks jittered by {_LANDMARK_SIGMA:.0f} px", _crop_again),
        "rotation": Corruption(f"rotation by {_ROTATION:.0f}°", _rotate),
    }
)
"""The seven, by the names that reports and cards use.

- ``brightness``: every value times 0.15, rounded.
- ``blur``: Gaussian, σ 5 px.
- ``low_resolution``: averaged down to 20×20 px, interpolated linearly back to 200×200.
- ``jpeg``: written and read again at quality 8 of libjpeg's scale, colour at half the resolution.
- ``patch``: a square of 130×130 px and value 128, wholly inside the chip, every place equally likely.
- ``landmarks``: `CHIP_LANDMARKS`, each coordinate moved by its own normal error of σ 10 px, cropped again by
  `crop_face`, as if a detector had been that far off; black where the chip ends, as in any crop.
- ``rotation``: by 30° about the centre, either way with equal probability; the border is repeated outwards.
"""


def corrupt(chip: Pixels, name: str, rng: np.random.Generator) -> Pixels:
    """Damages one chip; the chip itself stays as it is.

    Args:
        chip: RGB, uint8, shape (200, 200, 3): strengths are in pixels of a chip of that size.
        name: A key of `CORRUPTIONS`.
        rng: Where place, jitter and direction come from. The others take nothing from it.

    Returns:
        A new array of the same shape and type.

    Raises:
        KeyError: No corruption has that name.
        TypeError: If ``chip`` is not a uint8 array.
        ValueError: If its shape is not (200, 200, 3).
    """
    if name not in CORRUPTIONS:
        raise KeyError(f"no corruption {name!r}; there are {', '.join(CORRUPTIONS)}")
    check_rgb(chip)
    if chip.shape[:2] != (CHIP_SIZE, CHIP_SIZE):
        raise ValueError(f"a chip to corrupt must be {CHIP_SIZE}×{CHIP_SIZE} px, got shape {chip.shape}")
    return CORRUPTIONS[name].apply(chip, rng)


def corruption_stream(file: str, name: str, seed: int = CORRUPTION_SEED) -> np.random.Generator:
    """The random numbers of one corruption of one file.

    They depend on nothing else, so that neither the order of files, nor which others are measured, nor
    another corruption changes what happens to a chip.

    Args:
        file: Path of the file; only its last part counts, so that folders may move.
        name: A key of `CORRUPTIONS`.
        seed: Of the whole report.

    Returns:
        A fresh generator.
    """
    key = f"{seed}/{name}/{PurePosixPath(file).name}"
    digest = hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()
    return np.random.default_rng(int.from_bytes(digest[:16], "big"))


def evaluate_corruptions(
    predictor: ChipPredictor,
    dataset: Dataset,
    rows: pd.DataFrame,
    *,
    clean: Evaluation,
    seed: int = CORRUPTION_SEED,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Measures a model on chips under each of the seven corruptions.

    Memory does not grow with the number of chips: each corruption is a pass over the files in batches.

    Args:
        predictor: The model.
        dataset: Where the chips are.
        rows: Which rows of ``dataset.table``; chips of another size are brought to 200×200 px first.
        clean: What `evaluate` said of the same rows without detection: the figures to compare with. Files
            it could not read are left out here too.
        seed: Of all randomness.
        progress: Called with (chips done, chips in all) over all seven.

    Returns:
        JSON-ready, floats rounded to four decimals::

            {"seed": 20, "chip_size": 200,
             "by_kind": {"brightness": {"age": {"mae", "mae_ratio", "cs5", "bias", "interval_coverage",
                                                "interval_width"},
                                        "gender": {"accuracy", "points_lost", "auc", "ece",
                                                   "uncertain_share", "accuracy_outside"}}, …},
             "mean": {"mae_ratio", "gender_points_lost"}}

        ``mae_ratio`` is the mean absolute error over the clean one, ``points_lost`` the clean accuracy minus
        this one in percentage points, and ``mean`` the plain average of each over the seven; the other
        figures are those of `measure`. What the model does not predict is missing; without any readable
        chip, that is everything. A ratio to a clean error of 0 is ``None``, and so is its mean.

    Raises:
        DatasetError: A file that was read for ``clean`` cannot be read any more.
        ValueError: ``clean`` is not of this model and these rows.
        ModelError: The model's weights are missing.
    """
    from agegender.evaluation.evaluate import evaluate, measure, rounded

    chips = rows[rows["file"].isin(clean.faces["file"])]
    if clean.model != predictor.model or clean.no_face or len(chips) != len(clean.faces):
        raise ValueError(
            f"the clean evaluation must be of {predictor.model!r} on these {len(rows)} files, without "
            f"detection; got one of {clean.model!r} with {len(clean.faces)} faces, "
            f"{len(clean.no_face)} files without a face, and {len(chips)} files in common"
        )
    reference = measure(clean.faces)
    by_kind = {}
    for index, name in enumerate(CORRUPTIONS):
        result = evaluate(
            predictor,
            dataset,
            chips,
            change=partial(_corrupt_file, name=name, seed=seed),
            progress=None if progress is None else partial(_advance, progress, index * len(chips)),
        )
        if len(result.faces) != len(chips):
            raise DatasetError(
                f"{len(chips) - len(result.faces)} files of {dataset.folder} could be read at first and not "
                f"under {name!r}; did the folder change?"
            )
        by_kind[name] = _compared(measure(result.faces), reference)

    mean = {}
    if "age" in reference:
        mean["mae_ratio"] = _mean([kind["age"]["mae_ratio"] for kind in by_kind.values()])
    if "gender" in reference:
        mean["gender_points_lost"] = _mean([kind["gender"]["points_lost"] for kind in by_kind.values()])
    document = {"seed": seed, "chip_size": CHIP_SIZE, "by_kind": by_kind, "mean": mean}
    return dict(rounded(document))


def _corrupt_file(file: str, chip: Pixels, *, name: str, seed: int) -> Pixels:
    chip = resize_chip(chip, (CHIP_SIZE, CHIP_SIZE))
    return corrupt(chip, name, corruption_stream(file, name, seed))


def _advance(progress: Progress, before: int, _what: str, done: int, total: int) -> None:
    """Turns the progress of one corruption into that of all."""
    progress("Corrupting", before + done, total * len(CORRUPTIONS))


def _compared(figures: dict[str, Any], reference: dict[str, Any]) -> dict[str, dict[str, float | None]]:
    """Sets figures against the clean ones, without those of the age bands."""
    compared: dict[str, dict[str, float | None]] = {}
    if "age" in reference:
        age, clean = figures["age"], reference["age"]["mae"]
        ratio = {"mae": age["mae"], "mae_ratio": age["mae"] / clean if clean else None}
        compared["age"] = ratio | _without_bands(age)
    if "gender" in reference:
        gender = figures["gender"]
        lost = 100 * (reference["gender"]["accuracy"] - gender["accuracy"])
        compared["gender"] = {"accuracy": gender["accuracy"], "points_lost": lost} | _without_bands(gender)
    return compared


def _without_bands(figures: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in figures.items() if key != "by_band"}


def _mean(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return math.fsum(known) / len(known) if len(known) == len(values) else None
