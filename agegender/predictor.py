"""`Predictor`: image → faces → chips → one batched inference → predictions."""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from agegender.calibration import AgeCalibration, GenderCalibration
from agegender.errors import ModelError
from agegender.faces import CHIP_SIZE, Chip, Face, FaceDetector, crop_face
from agegender.faces.crop import CHIP_LANDMARKS
from agegender.images import read_image
from agegender.labels import GENDERS, Task
from agegender.models.card import WEIGHTS_DIR, read_card
from agegender.models.registry import DEFAULT_MODEL, model_spec
from agegender.prediction import AgeEstimate, GenderEstimate, Prediction

if TYPE_CHECKING:
    from agegender.models.trained import TrainedModel

Source = str | os.PathLike[str] | bytes | BinaryIO | NDArray[np.uint8]
Answer = tuple[AgeEstimate | None, GenderEstimate | None]
FoundFace = tuple[Face, Chip]


class Predictor:
    """Finds the faces in a picture and says how old they look and how their gender is perceived.

    Cheap to make: detector and networks load at the first use, once. One predictor may be shared by
    several threads.

    Args:
        model: Name of a model.
        detector: Another face detector to use.
        weights_dir: Where the models are.

    Raises:
        UnknownModelError: No model has that name.

    Example:
        >>> predictor = agegender.Predictor()
        >>> for prediction in predictor.predict("family.jpg"):
        ...     print(prediction.age.years, prediction.gender.label)
    """

    def __init__(
        self,
        model: str = DEFAULT_MODEL,
        *,
        detector: FaceDetector | None = None,
        weights_dir: Path = WEIGHTS_DIR,
    ) -> None:
        model_spec(model, weights_dir)
        self.model = model
        self._weights_dir = weights_dir
        self._detector = detector if detector is not None else FaceDetector()
        self._loaded: TrainedModel | None = None
        self._lock = threading.Lock()

    @property
    def card(self) -> dict[str, Any]:
        """The model's card.

        Raises:
            WeightsNotFoundError: The model has not been trained here.
        """
        return read_card(self.model, self._weights_dir)

    def load(self) -> TrainedModel:
        """Loads the networks, unless they are loaded already. Called for you by the first prediction.

        Raises:
            WeightsNotFoundError: The model has not been trained here.
            ModelError: Its files are damaged.
        """
        with self._lock:
            if self._loaded is None:
                # TensorFlow takes seconds to import: only when there is something to predict.
                from agegender.models.trained import TrainedModel

                self._loaded = TrainedModel(self.model, self._weights_dir)
            return self._loaded

    def predict(
        self, source: Source, *, min_confidence: float | None = None, min_face: float = 0.0
    ) -> list[Prediction]:
        """Predicts every face in a picture.

        Args:
            source: A path, the bytes of a file, a file object, or an upright RGB ``uint8`` array of shape
                (height, width, 3).
            min_confidence: Faces the detector is less sure of are left out; ``None`` takes its default.
            min_face: Faces whose box's shorter side is under so many pixels of the picture are left out.

        Returns:
            One prediction a face, from left to right; an empty list where there is none.

        Raises:
            ImageError: The picture cannot be used.
            WeightsNotFoundError: The model has not been trained here.
        """
        return self.predict_faces(self.find_faces(source, min_confidence=min_confidence, min_face=min_face))

    def find_faces(
        self, source: Source, *, min_confidence: float | None = None, min_face: float = 0.0
    ) -> list[FoundFace]:
        """Finds the faces in a picture: the first half of `predict`, which is the same for every model.

        Args:
            source: As for `predict`.
            min_confidence: As for `predict`.
            min_face: As for `predict`.

        Returns:
            Each face with its chip, from left to right.

        Raises:
            ImageError: The picture cannot be used.
        """
        image = source if isinstance(source, np.ndarray) else read_image(source)
        confidence = {} if min_confidence is None else {"min_confidence": min_confidence}
        faces = self._detector.detect(image, min_face=min_face, **confidence)
        return [(face, crop_face(image, face)) for face in faces]

    def predict_faces(self, found: Sequence[FoundFace]) -> list[Prediction]:
        """Predicts faces that were found: the second half of `predict`.

        Args:
            found: As `find_faces` of this or of another predictor gives them.

        Returns:
            One prediction a face, in the same order.

        Raises:
            WeightsNotFoundError: The model has not been trained here.
        """
        if not found:
            return []
        answers = self.predict_chips(np.stack([chip.pixels for _, chip in found]))
        return [
            Prediction(face, chip.pixels, age, gender, chip.warnings)
            for (face, chip), (age, gender) in zip(found, answers, strict=True)
        ]

    def predict_chip_image(self, source: Source) -> Prediction:
        """Predicts a picture that is a face chip already; no detection runs.

        Args:
            source: As for `predict`; the whole picture in UTKFace's geometry, any size.

        Returns:
            The prediction; its face is the whole picture.

        Raises:
            ImageError: The picture cannot be used.
            WeightsNotFoundError: The model has not been trained here.
        """
        from agegender.faces.chip import resize_chip

        image = source if isinstance(source, np.ndarray) else read_image(source)
        height, width = image.shape[:2]
        scale = np.array([width, height]) / CHIP_SIZE
        points = tuple((float(x), float(y)) for x, y in CHIP_LANDMARKS * scale)
        face = Face((0.0, 0.0, float(width), float(height)), 1.0, points)  # type: ignore[arg-type]
        chip = Chip(resize_chip(image, (CHIP_SIZE, CHIP_SIZE)), ())
        return self.predict_faces([(face, chip)])[0]

    def predict_chips(self, chips: NDArray[np.uint8]) -> list[Answer]:
        """Predicts a batch of face chips.

        Args:
            chips: RGB ``uint8`` of shape (n, height, width, 3), UTKFace geometry, any size; n may be 0.

        Returns:
            Age and gender of each chip; ``None`` for what the model does not predict.

        Raises:
            ValueError: The array is not of that form.
            WeightsNotFoundError: The model has not been trained here.
        """
        model = self.load()
        raw = model.answer(chips)
        ages: list[AgeEstimate | None] = [None] * len(chips)
        genders: list[GenderEstimate | None] = [None] * len(chips)
        if raw.age is not None:
            calibration = AgeCalibration.from_dict(_fitted(model.card, "age"))
            found = calibration.answer(raw.age, raw.age_distribution)
            for i in range(len(chips)):
                ages[i] = AgeEstimate(
                    float(found.years[i]),
                    float(found.low[i]),
                    float(found.high[i]),
                    calibration.coverage,
                    None if found.distribution is None else found.distribution[i],
                    None if raw.age_range is None else raw.age_range[i],
                )
        if raw.female is not None:
            temperature = GenderCalibration.from_dict(_fitted(model.card, "gender"))
            for i, p in enumerate(temperature.probability(raw.female).tolist()):
                probability = max(p, 1 - p)
                uncertain = probability < temperature.uncertain_below
                genders[i] = GenderEstimate(GENDERS[int(p >= 0.5)], probability, uncertain)
        return list(zip(ages, genders, strict=True))


def _fitted(card: dict[str, Any], task: Task) -> dict[str, Any]:
    try:
        values: dict[str, Any] = card["calibration"][task]
    except KeyError as error:
        raise ModelError(
            f"model {card.get('name')!r} is not calibrated for {task}: publish it again"
        ) from error
    return values
