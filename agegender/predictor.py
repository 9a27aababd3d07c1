"""`Predictor`: image → faces → chips → one batched inference → predictions."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterable, Iterator, Sequence
from copy import copy
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, ClassVar, TypeGuard, cast, overload

import numpy as np
from numpy.typing import NDArray

from agegender.batch import in_order
from agegender.calibration import AgeCalibration, GenderCalibration
from agegender.errors import EmptyImageError, ImageError, ModelError
from agegender.faces import CHIP_SIZE, Chip, Face, FaceDetector, crop_face
from agegender.faces.chip import MAX_MARGIN, change_margin, resize_chip
from agegender.faces.condition import condition_warnings
from agegender.faces.crop import CHIP_LANDMARKS, check_rgb
from agegender.files import MALFORMED
from agegender.images import read_image
from agegender.labels import GENDERS, Task
from agegender.models.card import read_card, runtime_of
from agegender.models.registry import DEFAULT_MODEL, model_spec
from agegender.places import install_command
from agegender.prediction import AgeEstimate, Answer, GenderEstimate, ImageResult, Prediction

if TYPE_CHECKING:
    from agegender.models.engine import Engine, RawAnswers

Source = str | os.PathLike[str] | bytes | BinaryIO | NDArray[np.uint8]
FoundFace = tuple[Face, Chip]


class Predictor:
    """Finds the faces in a picture and says how old they look and how their gender is perceived.

    Cheap to make: detector and networks load at the first use, once. One predictor may be shared by
    several threads. It is pickled and copied as its name and options; the copy loads anew, and so does a
    predictor in a forked process. TensorFlow does not survive a fork: where it ran before, a prediction in
    the forked process raises a `ModelError`.

    Args:
        model: Name of a model.
        detector: Another face detector to use.
        weights_dir: Where the models are; ``None`` looks in the places that `agegender.places` lists.

    Attributes:
        model: Its name.
        margin: Pixels that its chips show beyond UTKFace's on each side, where those are 200 wide.

    Raises:
        UnknownModelError: No model has that name.

    Examples:
        >>> predictor = agegender.Predictor()
        >>> for face in predictor.predict("family.jpg"):
        ...     print(face.age.years, face.gender.label)
        >>> for image in predictor.predict(agegender.find_images(["holiday/"])):
        ...     print(image.path, image.error or len(image.faces))
    """

    _used_in: ClassVar[int | None] = None
    """The process in which networks ran last, of any predictor."""

    def __init__(
        self,
        model: str = DEFAULT_MODEL,
        *,
        detector: FaceDetector | None = None,
        weights_dir: Path | None = None,
    ) -> None:
        self.margin = model_spec(model, weights_dir).margin
        self.model = model
        self._weights_dir = weights_dir
        self._detector = detector if detector is not None else FaceDetector()
        self._loaded: Engine | None = None
        self._lock = threading.Lock()
        self._process = os.getpid()

    def __reduce__(self) -> tuple[partial[Predictor], tuple[()]]:
        """How to copy and pickle it: by name and options."""
        options: dict[str, Any] = {"detector": self._detector, "weights_dir": self._weights_dir}
        return partial(type(self), self.model, **options), ()

    @property
    def card(self) -> dict[str, Any]:
        """The model's card.

        Raises:
            WeightsNotFoundError: The model has not been trained here.
        """
        return read_card(self.model, self._weights_dir)

    def load(self) -> Engine:
        """Loads the networks, unless they are loaded already. Called for you by the first prediction.

        Returns:
            What answers: the model's light form where it has one, otherwise its Keras networks.

        Raises:
            WeightsNotFoundError: The model has not been trained here.
            ModelError: Its files are damaged, or it needs TensorFlow, which is not installed.
        """
        self._enter_process()
        with self._lock:
            if self._loaded is None:
                self._loaded = load_engine(self.model, self._weights_dir)
            return self._loaded

    @overload
    def predict(  # type: ignore[overload-overlap]  # a str is also an iterable of str, but one picture
        self, source: Source, *, min_confidence: float | None = None, min_face: float = 0.0
    ) -> list[Prediction]: ...

    @overload
    def predict(
        self, source: Iterable[Source], *, min_confidence: float | None = None, min_face: float = 0.0
    ) -> Iterator[ImageResult]: ...

    def predict(
        self,
        source: Source | Iterable[Source],
        *,
        min_confidence: float | None = None,
        min_face: float = 0.0,
    ) -> list[Prediction] | Iterator[ImageResult]:
        """Predicts every face in a picture, or in each of many.

        Args:
            source: A picture: a path, the bytes of a file, a file object, or an upright RGB ``uint8`` array
                of shape (height, width, 3). Or any iterable of pictures.
            min_confidence: Faces the detector is less sure of are left out; ``None`` takes its default.
            min_face: Faces whose box's shorter side is under so many pixels of the picture are left out.

        Returns:
            Of one picture, one prediction a face, from left to right; an empty list where there is none. Of
            many, an iterator over their results, in order. It takes pictures as it needs them, works on as
            many at a time as there are cores, and holds twice as many at most, however many there are. A
            picture that cannot be used has its ``error`` said in its result, and the others go on.

        Raises:
            ImageError: The picture cannot be used, where it is one.
            TypeError: ``source`` is an array, but not of ``uint8``, or nothing of the above.
            ValueError: ``source`` is an array of another shape, or an option is out of range.
            ModelError: As `load`.
        """
        options: dict[str, Any] = {"min_confidence": min_confidence, "min_face": min_face}
        if _is_many(source):
            return in_order(partial(self._predict_of_many, **options), source)
        return self.predict_faces(self.find_faces(cast(Source, source), **options))

    def _predict_of_many(self, source: Source, **options: Any) -> ImageResult:
        size: tuple[int, int] | None = None
        try:
            image = source if isinstance(source, np.ndarray) else read_image(source)
            size = (image.shape[1], image.shape[0]) if image.ndim == 3 else None
            return ImageResult(_name_of(source), size, self.predict(image, **options))
        except ImageError as error:
            return ImageResult(_name_of(source), size, (), error.reason)

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
            Exception: As `predict`.
        """
        image = source if isinstance(source, np.ndarray) else read_image(source)
        self._enter_process()
        confidence = {} if min_confidence is None else {"min_confidence": min_confidence}
        return self.crop_faces(image, self._detector.detect(image, min_face=min_face, **confidence))

    @staticmethod
    def crop_faces(image: NDArray[np.uint8], faces: Iterable[Face]) -> list[FoundFace]:
        """Cuts faces out as `find_faces` does, wide enough for every model.

        Args:
            image: The picture, upright RGB ``uint8`` of shape (height, width, 3).
            faces: What was found in it before.

        Returns:
            Each face with its chip.
        """
        return [(face, crop_face(image, face, MAX_MARGIN)) for face in faces]

    def predict_faces(self, found: Sequence[FoundFace]) -> list[Prediction]:
        """Predicts faces that were found: the second half of `predict`.

        Args:
            found: As `find_faces` of this or of another predictor gives them.

        Returns:
            One prediction a face, in the same order.

        Raises:
            ModelError: As `load`.
        """
        if not found:
            return []
        margin = self.margin
        chips = [change_margin(chip.pixels, chip.margin, margin) for _, chip in found]
        answers = self.predict_chips(np.stack(chips), margin=margin)
        return [
            Prediction(face, pixels, age, gender, chip.warnings, margin)
            for (face, chip), pixels, (age, gender) in zip(found, chips, answers, strict=True)
        ]

    def predict_chip_image(self, source: Source) -> Prediction:
        """Predicts a picture that is a face chip already; no detection runs.

        Args:
            source: As for `predict`; the whole picture in UTKFace's geometry, any size.

        Returns:
            The prediction; its face is the whole picture.

        Raises:
            ImageError: The picture cannot be used, or has no pixels.
            TypeError: As `predict`.
            ValueError: As `predict`.
            ModelError: As `load`.
        """
        image = source if isinstance(source, np.ndarray) else read_image(source)
        check_rgb(image)
        if not image.size:
            raise EmptyImageError("image array", "no pixels")
        height, width = image.shape[:2]
        scale = np.array([width, height]) / CHIP_SIZE
        points = tuple((float(x), float(y)) for x, y in CHIP_LANDMARKS * scale)
        face = Face((0.0, 0.0, float(width), float(height)), 1.0, points)  # type: ignore[arg-type]
        pixels = resize_chip(image, (CHIP_SIZE, CHIP_SIZE))
        chip = Chip(pixels, condition_warnings(pixels))
        return self.predict_faces([(face, chip)])[0]

    def predict_chips(self, chips: NDArray[np.uint8], *, margin: int = 0) -> list[Answer]:
        """Predicts a batch of face chips.

        Args:
            chips: RGB ``uint8`` of shape (n, height, width, 3), UTKFace geometry, any size; n may be 0.
            margin: Pixels that they show beyond UTKFace's on each side, where those are 200 wide.
                What the model sees beyond that is black to it.

        Returns:
            Age and gender of each chip; ``None`` for what the model does not predict.

        Raises:
            TypeError: ``chips`` is no array.
            ValueError: The array is not of that form.
            ModelError: As `load`.
        """
        if not isinstance(chips, np.ndarray):
            raise TypeError(f"chips must be one array, not {type(chips).__name__}: use np.stack")
        if chips.ndim == 4 and len(chips) and not chips.size:
            raise ValueError(f"chips must have pixels, got shape {chips.shape}")
        model = self.load()
        raw = model.answer(change_margin(chips, margin, model.margin) if chips.ndim == 4 else chips)
        try:
            return _estimates(model.card, raw, len(chips))
        except MALFORMED as error:
            raise ModelError(f"the calibration in the card of {self.model!r} is damaged: {error}") from error

    def _enter_process(self) -> None:
        """Notes a fork: threads, which networks work with, stay behind in the process that was forked.

        Raises:
            ModelError: TensorFlow ran in that process: in this one it would wait for its threads forever.
        """
        process = os.getpid()
        if Predictor._used_in not in {None, process} and "tensorflow" in sys.modules:
            raise ModelError(
                "TensorFlow was in use before this process was forked, and does not work after that: predict "
                'in processes of multiprocessing.get_context("spawn"), or fork before the first prediction'
            )
        Predictor._used_in = process
        if self._process != process:
            self._process, self._lock = process, threading.Lock()
            self._loaded, self._detector = None, copy(self._detector)


def load_engine(name: str, weights_dir: Path | None = None) -> Engine:
    """Loads what answers for a published model.

    Args:
        name: The model.
        weights_dir: Where the models are.

    Returns:
        Its light form where its card names one, otherwise its Keras networks.

    Raises:
        UnknownModelError: No such model.
        WeightsNotFoundError: It is not published here.
        ModelError: Its files are damaged, or it needs TensorFlow, which is not installed.
    """
    if runtime_of(read_card(name, weights_dir)) == "LiteRT":
        from agegender.models.light import LightModel

        return LightModel(name, weights_dir)
    try:
        from agegender.models.trained import TrainedModel  # TensorFlow takes seconds to import
    except ModuleNotFoundError as error:
        raise ModelError(
            f"model {name!r} ships no light form and runs on TensorFlow; {error.name} is not installed: "
            f"{install_command('train')}"
        ) from error

    return TrainedModel(name, weights_dir)


def _estimates(card: dict[str, Any], raw: RawAnswers, n: int) -> list[Answer]:
    """Puts what the networks say of n chips into calibrated years and probabilities."""
    ages: list[AgeEstimate | None] = [None] * n
    genders: list[GenderEstimate | None] = [None] * n
    if raw.age is not None:
        calibration = AgeCalibration.from_dict(_fitted(card, "age"))
        found = calibration.answer(raw.age, raw.age_distribution)
        for i in range(n):
            ages[i] = AgeEstimate(
                float(found.years[i]),
                float(found.low[i]),
                float(found.high[i]),
                calibration.coverage,
                None if found.distribution is None else found.distribution[i],
                None if raw.age_range is None else raw.age_range[i],
            )
    if raw.female is not None:
        temperature = GenderCalibration.from_dict(_fitted(card, "gender"))
        for i, p in enumerate(temperature.probability(raw.female).tolist()):
            probability = max(p, 1 - p)
            uncertain = probability < temperature.uncertain_below
            genders[i] = GenderEstimate(GENDERS[int(p >= 0.5)], probability, uncertain)
    return list(zip(ages, genders, strict=True))


def _is_many(source: Source | Iterable[Source]) -> TypeGuard[Iterable[Source]]:
    """Whether this is no picture by itself; paths, bytes, arrays and files can be iterated over, too."""
    one = isinstance(source, str | os.PathLike | bytes | bytearray | memoryview | np.ndarray)
    return isinstance(source, Iterable) and not one and not hasattr(source, "read")


def _name_of(source: Source) -> str:
    if isinstance(source, str | os.PathLike):
        return os.fsdecode(source)
    name = getattr(source, "name", None)
    return name if isinstance(name, str) else ""


def _fitted(card: dict[str, Any], task: Task) -> dict[str, Any]:
    try:
        values: dict[str, Any] = card["calibration"][task]
    except KeyError as error:
        raise ModelError(
            f"model {card.get('name')!r} is not calibrated for {task}: publish it again"
        ) from error
    return values
