"""One answer for a face that was looked at many times; docs/video.md says it for people.

Frame i of a track, at time tᵢ, says years mᵢ with the distribution pᵢ and the interval [lᵢ, hᵢ], and fᵢ for
the probability of *female*. Its weight is

    wᵢ = qᵢ aᵢ        aᵢ = tanh((tᵢ - tᵢ₋₁) / 2τ),  a₁ = a₂

where qᵢ is `chip_quality`. For errors that are correlated by ρ = exp(-Δt/τ) from one frame to the next, a
first order autoregression, the mean of n frames is known as well as that of

    n* = 1 + Σ (1 - ρᵢ) / (1 + ρᵢ) = 1 + Σ aᵢ        over i = 2 … n

independent ones (its generalised least squares estimate). So a hundred frames of one second are worth no more
than five of it, and it does not matter how often a face is looked at.

Age and gender are the frames' weighted means: of distributions for the age, whose mean is the answer, and of
probabilities for the gender: a linear opinion pool, which is never surer than its surest member.

The interval is at no time narrower than those of single faces, which are all that a card was calibrated on:

    low = m - √(A² + z²s² / N)     A = Σ wᵢ (mᵢ - lᵢ) / Σ wᵢ,    N = n* (Σ wᵢ)² / (Σ aᵢ Σ wᵢqᵢ)

and likewise for its other end, where s² is the weighted variance of mᵢ, z the normal quantile of the
interval's coverage, and N is n* less what uneven weights cost (Kish, "Survey Sampling", 1965). What frames
disagree on widens it, less and less as they become more; they never make it narrower than one frame's, since
what a face looks older or younger by, it does in all of its frames.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from statistics import NormalDist
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from agegender.calibration import UNCERTAIN_BELOW
from agegender.faces import Chip, Face
from agegender.faces.condition import BLURRED, DARK, sharpness
from agegender.faces.crop import SMALL
from agegender.labels import GENDERS, MAX_AGE
from agegender.prediction import AgeEstimate, Answer, GenderEstimate

CORRELATION_SECONDS: Final = 2.0
"""τ, over which errors of one face are correlated. Chosen, not measured: about as long as people hold a
look."""

_ENOUGH_PIXELS: Final = 40.0
_ENOUGH_SHARPNESS: Final = 5.0
"""From here on size and sharpness do not change the error; below, its mean square grows about as these fall
(docs/measurements/pooling.json)."""

_WARNED: Final = 0.4
"""Weight of a chip with a warning about its pose, its place or what covers it. Covered chips' mean error is
1.6 times that of good ones (the default model's metrics.json, "patch"), the square of which is one over
0.4."""

_IN_THE_MEASURES: Final = frozenset({SMALL, BLURRED, DARK})


def chip_quality(face: Face, chip: Chip) -> float:
    """How much a chip's answer is worth beside others of the same face: the inverse of its mean square error.

    Args:
        face: Where it was.
        chip: What was cut out.

    Returns:
        1 for a good chip; less, but over 0, for a small or blurred one, and where its crop warns.
    """
    luma = np.asarray(cv2.cvtColor(chip.pixels, cv2.COLOR_RGB2GRAY), np.uint8)
    size = min(1.0, face.size / _ENOUGH_PIXELS)
    sharp = min(1.0, sharpness(luma) / _ENOUGH_SHARPNESS)
    warned: float = _WARNED ** sum(warning not in _IN_THE_MEASURES for warning in chip.warnings)
    return max(0.01, size * sharp * warned)


_HEAD: Final = 8
"""So many figures of a frame stand before those of its distribution."""


@dataclass(eq=False)
class Pool:
    """The answers for one face, pooled as the module says; however many, they take up the same memory.

    Attributes:
        uncertain_below: Where the pooled probability of the likelier gender is under this, the answer is
            "uncertain", as the model's card has it.
        frames: How many answers there are.
    """

    uncertain_below: float = UNCERTAIN_BELOW
    frames: int = 0
    _last: float = 0.0
    _independent: float = 0.0
    _sums: NDArray[np.float64] = field(default_factory=lambda: np.zeros(1))
    _of: Answer = (None, None)

    def add(self, time: float, answer: Answer, quality: float) -> None:
        """Takes in what was said of the face in one frame.

        Args:
            time: Of the frame, in seconds; not before that of the last one.
            answer: What a model said of it, always the same one.
            quality: Of the frame, over 0, as `chip_quality` gives it.
        """
        news = math.tanh((time - self._last) / (2 * CORRELATION_SECONDS)) if self.frames else 1.0
        news = max(news, 1e-6)  # of two frames of one instant the second adds next to nothing
        if self.frames == 1:
            self._sums *= news  # the first counts as much as the second
        self._sums = self._sums + quality * news * _figures(answer, quality)
        self.frames, self._last, self._of = self.frames + 1, time, answer
        self._independent += news

    @property
    def worth(self) -> float:
        """How many frames that know nothing of each other the answers are worth: from 1 to `frames`."""
        if not self.frames:
            return 0.0
        news, weight, square = self._sums[:3]
        return max(1.0, float(self._independent * weight**2 / (news * square)))

    def answer(self) -> Answer:
        """The pooled answer; that of the one frame where there is one.

        Raises:
            ValueError: There is none yet.
        """
        if not self.frames:
            raise ValueError("nothing was added to this pool")
        if self.frames == 1:
            return self._of
        age, gender = self._of
        means = self._sums / self._sums[1]
        return (
            None if age is None else self._age(age, means),
            None if gender is None else self._gender(float(means[7])),
        )

    def _age(self, like: AgeEstimate, means: NDArray[np.float64]) -> AgeEstimate:
        mean, square, below, above = (float(value) for value in means[3:7])
        years = math.floor(mean + 0.5)
        deviation = math.sqrt(max(0.0, square - mean**2) / self.worth)
        apart = NormalDist().inv_cdf((1 + like.coverage) / 2) * deviation
        tiny = 1e-6  # what sums of floats are off by
        low = math.floor(years - math.hypot(below, apart) + tiny)
        high = math.ceil(years + math.hypot(above, apart) - tiny)
        end = _HEAD if like.distribution is None else _HEAD + len(like.distribution)
        return AgeEstimate(
            float(years),
            float(max(0, low)),
            float(min(MAX_AGE, high)),
            like.coverage,
            None if like.distribution is None else means[_HEAD:end].astype(np.float32),
            None if like.ranges is None else means[end:].astype(np.float32),
        )

    def _gender(self, female: float) -> GenderEstimate:
        probability = max(female, 1 - female)
        return GenderEstimate(GENDERS[int(female >= 0.5)], probability, probability < self.uncertain_below)


def _figures(answer: Answer, quality: float) -> NDArray[np.float64]:
    """What is averaged: the frame's figures, then its distribution and its ranges where it has them."""
    age, gender = answer
    figures = [1 / quality, 1.0, quality, 0.0, 0.0, 0.0, 0.0, 0.0 if gender is None else gender.female]
    parts: list[NDArray[np.floating]] = [np.array(figures)]
    if age is not None:
        years = age.years
        if age.distribution is not None:  # the years before they were rounded
            years = float(age.distribution.astype(np.float64) @ np.arange(len(age.distribution)))
        parts[0][3:7] = years, years**2, age.years - age.low, age.high - age.years
        parts += [values for values in (age.distribution, age.ranges) if values is not None]
    return np.concatenate(parts, dtype=np.float64)
