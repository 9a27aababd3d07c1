"""`FaceFollower`: frames in, people out, wherever the frames come from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from agegender.calibration import UNCERTAIN_BELOW, GenderCalibration
from agegender.drawing import BLUR_CONFIDENCE
from agegender.faces import Face
from agegender.faces.chip import change_margin, resize_chip
from agegender.prediction import AgeEstimate, GenderEstimate, Prediction
from agegender.video.pooling import Pool, chip_quality
from agegender.video.tracking import Box, Tracker

if TYPE_CHECKING:
    from agegender.predictor import FoundFace

BEST_CHIP: Final = 96
"""Side of the chip that a track keeps, in pixels: there may be many tracks."""

_MOMENTS: Final = 128
"""At most so many points of a track's history are kept, evenly over all of it."""

_AGAIN_SECONDS: Final = 1.0


class FramePredictor(Protocol):
    """What following needs of `agegender.Predictor`."""

    @property
    def card(self) -> dict[str, Any]:
        """The model's card."""

    def find_faces(
        self, source: NDArray[np.uint8], *, min_confidence: float | None = None
    ) -> list[FoundFace]:
        """The faces of a frame with their chips."""

    def predict_faces(self, found: Sequence[FoundFace]) -> list[Prediction]:
        """What the model says of them."""


@dataclass(frozen=True, eq=False)
class Look:
    """What was found in one frame.

    Attributes:
        time: Of the frame, in seconds.
        faces: Who is in it, by the number of their track: where, and the answer pooled over the track so far.
        hidden: Where the tracks are expected whose faces were not found, in pixels.
        unsure: What the detector is not sure is a face, and belongs to no track.
        cut: Whether a scene begins with it.
    """

    time: float
    faces: Mapping[int, Prediction]
    hidden: Mapping[int, Box] = field(default_factory=dict)
    unsure: tuple[Face, ...] = ()
    cut: bool = False

    def to_dict(self) -> dict[str, Any]:
        """The look as plain values: ``time`` in seconds, ``faces`` as of a photo, each with its ``track``."""
        faces = [{"track": number} | face.to_dict() for number, face in self.faces.items()]
        return {"time": round(self.time, 3), "faces": faces}


@dataclass(frozen=True, eq=False)
class Track:
    """One person, as long as they can be followed.

    Attributes:
        number: From 1 on, in the order in which they came.
        first: When the face was first found, in seconds.
        last: When last.
        frames: In how many frames it was.
        worth: How many frames that know nothing of each other these are worth; see `agegender.video.pooling`.
        age: Pooled over these frames; ``None`` where the model does not predict age.
        gender: Pooled likewise.
        best: The face on its best chip, and what the model says of that alone. The chip is `BEST_CHIP` wide.
        best_time: When that was.
        history: float32 of shape (n, 5): time, the years that one frame says, and what was pooled by then:
            years and the interval's ends. NaN where the model does not predict age. At most 128 rows.
    """

    number: int
    first: float
    last: float
    frames: int
    worth: float
    age: AgeEstimate | None
    gender: GenderEstimate | None
    best: Prediction
    best_time: float
    history: NDArray[np.float32]

    @property
    def pooled(self) -> Prediction:
        """The face on its best chip, with the pooled answer."""
        return replace(self.best, age=self.age, gender=self.gender)

    def to_dict(self) -> dict[str, Any]:
        """The track as plain values.

        Returns:
            ``track``, ``first``, ``last`` and ``best_time`` in seconds, ``frames``, ``worth``, then ``box``
            (of the best chip), ``age``, ``age_interval``, ``gender``, ``gender_probability`` and ``warnings``
            as `Prediction.to_dict` has them, age and gender pooled.
        """
        pooled = self.pooled.to_dict()
        del pooled["confidence"]
        return {
            "track": self.number,
            "first": round(self.first, 3),
            "last": round(self.last, 3),
            "best_time": round(self.best_time, 3),
            "frames": self.frames,
            "worth": round(self.worth, 2),
        } | pooled


@dataclass(eq=False)
class _Person:
    """A track while it goes on.

    Attributes:
        alone: Whether it was seen only once where it could have been seen twice.
    """

    pool: Pool
    first: float
    alone: bool
    last: float = 0.0
    quality: float = 0.0
    best: Prediction | None = None
    best_time: float = 0.0
    history: list[tuple[float, ...]] = field(default_factory=list)
    stride: int = 1

    def add(self, time: float, prediction: Prediction, quality: float) -> Prediction:
        """Takes in one frame; returns the face with what is pooled by now."""
        answer = prediction.age, prediction.gender
        self.pool.add(time, answer, quality)
        self.last = time
        age, gender = self.pool.answer()
        # Larger faces first where quality is the same: it does not grow any more from 40 px on.
        grade = quality * (1 + min(prediction.face.size, 400.0) / 400.0)
        if self.best is None or grade > self.quality:
            chip = resize_chip(change_margin(prediction.chip, prediction.margin, 0), (BEST_CHIP, BEST_CHIP))
            self.quality, self.best, self.best_time = grade, replace(prediction, chip=chip, margin=0), time
        if (self.pool.frames - 1) % self.stride == 0:
            if age is None or prediction.age is None:
                self.history.append((time, *4 * (np.nan,)))
            else:
                self.history.append((time, prediction.age.years, age.years, age.low, age.high))
            if len(self.history) > _MOMENTS:
                self.history, self.stride = self.history[::2], 2 * self.stride
        return replace(prediction, age=age, gender=gender)

    def track(self, number: int) -> Track:
        """What is known by now."""
        assert self.best is not None  # nobody begins without a face
        age, gender = self.pool.answer()
        history = np.array(self.history, np.float32).reshape(-1, 5)
        frames, worth = self.pool.frames, self.pool.worth
        return Track(
            number, self.first, self.last, frames, worth, age, gender, self.best, self.best_time, history
        )


class FaceFollower:
    """Follows people through frames, and pools what a model says of each.

    Not to be shared by threads; the predictor may be.

    Args:
        predictor: Finds the faces and answers for them.
        sure: Only a face that the detector is at least so sure of is somebody new, 0 to 1; ``None`` takes the
            detector's default.
        remember: Whether `tracks` gives those who have left, too.

    Examples:
        >>> follower = FaceFollower(agegender.Predictor())
        >>> for time, frame in frames:
        ...     look = follower.look(frame, time)
        >>> for track in follower.tracks():
        ...     print(track.number, track.age.years, track.first, track.last)
    """

    def __init__(
        self, predictor: FramePredictor, *, sure: float | None = None, remember: bool = True
    ) -> None:
        self._predictor, self._remember = predictor, remember
        self._tracker = Tracker() if sure is None else Tracker(sure)
        self._people: dict[int, _Person] = {}
        self._done: list[Track] = []
        self._time = -np.inf
        self._uncertain_below: float | None = None

    def look(self, frame: NDArray[np.uint8], time: float, *, cut: bool = False) -> Look:
        """Looks at a frame.

        Args:
            frame: Upright RGB ``uint8`` of shape (height, width, 3), of the same size each time.
            time: In seconds; not before that of the last frame. Frames may be left out between.
            cut: Whether another scene may have begun since the last frame; see `Tracker.update`.

        Returns:
            Who is in it.

        Raises:
            ModelError: As `Predictor.predict`.
            ValueError: ``time`` goes back, or ``frame`` is of another shape.
        """
        floor = min(BLUR_CONFIDENCE, self._tracker.sure)  # less sure ones may go on a track
        found = self._predictor.find_faces(frame, min_confidence=floor)
        numbers = self._tracker.update(
            time, [face for face, _ in found], [chip for _, chip in found], cut=cut
        )
        again = not cut and time - self._time <= _AGAIN_SECONDS
        ours = [(n, one) for n, one in zip(numbers, found, strict=True) if n is not None]
        answers = self._predictor.predict_faces([one for _, one in ours])
        faces: dict[int, Prediction] = {}
        for (number, (face, chip)), prediction in zip(ours, answers, strict=True):
            if number not in self._people:
                self._people[number] = _Person(Pool(self._threshold()), time, again)
            faces[number] = self._people[number].add(time, prediction, chip_quality(face, chip))
        hidden = self._tracker.missed(time)
        for number in [number for number in self._people if number not in faces]:
            self._people[number].alone |= again
            if number not in hidden:
                self._finish(number)
        self._time = time
        unsure = tuple(face for n, (face, _) in zip(numbers, found, strict=True) if n is None)
        return Look(time, dict(sorted(faces.items())), hidden, unsure, cut)

    def tracks(self) -> list[Track]:
        """Everybody so far, in the order in which they came.

        Left out is a face that was found once only, where there was a frame less than a second before or
        after it: such faces are mostly the detector's mistakes.
        """
        running = [person.track(number) for number, person in self._people.items() if self._counts(person)]
        return sorted([*self._done, *running], key=lambda track: track.number)

    def _finish(self, number: int) -> None:
        person = self._people.pop(number)
        if self._remember and self._counts(person):
            self._done.append(person.track(number))

    @staticmethod
    def _counts(person: _Person) -> bool:
        return person.pool.frames > 1 or not person.alone

    def _threshold(self) -> float:
        if self._uncertain_below is None:
            fitted = self._predictor.card.get("calibration", {}).get("gender")
            self._uncertain_below = (
                UNCERTAIN_BELOW if fitted is None else GenderCalibration.from_dict(fitted).uncertain_below
            )
        return self._uncertain_below
