"""Calibration: from what a network says to intervals and probabilities that mean what they say.

Fitted on the validation split, stored in the model's card, applied by the predictor. No TensorFlow.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from agegender.errors import ModelError
from agegender.labels import MAX_AGE

COVERAGE: Final = 0.9
_RESIDUAL_BINS: Final = 8
_LOGIT_LIMIT: Final = 30.0

UNCERTAIN_BELOW: Final = 0.75
"""A gender is called only where the call is expected to be right at least three times in four."""


@dataclass(frozen=True)
class AgeCalibration:
    """How an age interval is made.

    Two ways, both measured on the validation split, so that on faces like those the interval holds the
    labelled age with probability ``coverage``, whatever the network's own idea of its spread. The first is
    split-conformal; the second leaves out the correction for a finite sample, which is about 1 % at 1,000
    faces:

    - "distribution": the interval between the quantiles ``lower_tail`` and ``upper_tail`` of the
      predicted distribution over years, where the tails are chosen on the validation split
      (Chernozhukov, Wüthrich and Zhu, "Distributional conformal prediction", 2021, here with each tail on
      its own).
    - "residuals": the prediction plus the quantiles of the validation errors of faces of about the same
      predicted age, linear between ``knots``.

    Attributes:
        method: Which of the two.
        coverage: Share of labelled ages the interval is made to hold, 0 to 1.
        n: Chips it was fitted on.
        split: The split they are of.
        lower_tail, upper_tail: Probabilities, for "distribution".
        knots, lower_offsets, upper_offsets: Years, for "residuals".
    """

    method: Literal["distribution", "residuals"]
    coverage: float
    n: int
    split: str = "validation"
    lower_tail: float = 0.0
    upper_tail: float = 1.0
    knots: tuple[float, ...] = ()
    lower_offsets: tuple[float, ...] = ()
    upper_offsets: tuple[float, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready, for the card."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> AgeCalibration:
        """The inverse of `to_dict`.

        Raises:
            ModelError: Keys are missing or unknown.
        """
        try:
            plain: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
            return cls(**plain)
        except TypeError as error:
            raise ModelError(f"the card's age calibration is not one: {error}") from error

    def interval(
        self, ages: NDArray[np.floating[Any]], distribution: NDArray[np.floating[Any]] | None
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Intervals for n predictions.

        Args:
            ages: Predicted years, shape (n,).
            distribution: Predicted probabilities of years, shape (n, 117); needed by "distribution".

        Returns:
            Lower and upper ends in years, float64 of shape (n,) each, within 0 to ``MAX_AGE`` and never
            excluding the prediction itself.
        """
        ages = np.asarray(ages, dtype=np.float64)
        if self.method == "distribution":
            if distribution is None:
                raise ModelError("this calibration needs the distribution over years")
            low = quantile(distribution, self.lower_tail)
            high = quantile(distribution, self.upper_tail)
        else:
            low = ages + np.interp(ages, self.knots, self.lower_offsets)
            high = ages + np.interp(ages, self.knots, self.upper_offsets)
        return np.clip(np.minimum(low, ages), 0, MAX_AGE), np.clip(np.maximum(high, ages), 0, MAX_AGE)


def _cumulative(distribution: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    # Year k stands for ages from k − ½ to k + ½: below the edge k − ½ lie the years before k.
    sums = np.cumsum(np.asarray(distribution, dtype=np.float64), axis=1)
    return np.concatenate([np.zeros((len(sums), 1)), sums / sums[:, -1:]], axis=1)


def quantile(distribution: NDArray[np.floating[Any]], probability: float) -> NDArray[np.float64]:
    """Quantiles of distributions over years, each year's probability spread evenly over its width.

    Args:
        distribution: Probabilities of the years 0, 1, …, shape (n, years).
        probability: 0 to 1.

    Returns:
        Years, float64 of shape (n,).
    """
    edges = np.arange(distribution.shape[1] + 1) - 0.5
    return np.array([np.interp(probability, row, edges) for row in _cumulative(distribution)])


def probability_below(distribution: NDArray[np.floating[Any]], ages: ArrayLike) -> NDArray[np.float64]:
    """The probability each distribution gives to being younger than an age (its PIT value).

    Args:
        distribution: Shape (n, years).
        ages: Years, shape (n,).

    Returns:
        float64 of shape (n,), 0 to 1.
    """
    edges = np.arange(distribution.shape[1] + 1) - 0.5
    values = np.asarray(ages, dtype=np.float64)
    return np.array(
        [np.interp(a, edges, row) for a, row in zip(values, _cumulative(distribution), strict=True)]
    )


def fit_age(
    labelled: ArrayLike,
    predicted: NDArray[np.floating[Any]],
    distribution: NDArray[np.floating[Any]] | None,
    coverage: float = COVERAGE,
) -> AgeCalibration:
    """Fits the interval on the validation split.

    Args:
        labelled: Labelled years, shape (n,).
        predicted: Predicted years, shape (n,).
        distribution: Predicted distributions, shape (n, 117), or ``None`` for a network without.
        coverage: Share of labels the interval is to hold.

    Returns:
        The calibration: "distribution" where there is one, "residuals" otherwise.
    """
    ages = np.asarray(labelled, dtype=np.float64)
    n, miss = len(ages), (1 - coverage) / 2
    # The conformal correction for a finite sample: the ⌈(n + 1)(1 − miss)⌉-th smallest of n.
    level = min(1.0, np.ceil((n + 1) * (1 - miss)) / n)
    if distribution is not None:
        below = probability_below(distribution, ages)
        upper = float(np.quantile(below, level, method="higher"))
        lower = 1 - float(np.quantile(1 - below, level, method="higher"))
        return AgeCalibration("distribution", coverage, n, lower_tail=lower, upper_tail=upper)
    errors = ages - np.asarray(predicted, dtype=np.float64)
    order = np.argsort(predicted, kind="stable")
    bins = np.array_split(order, max(1, min(_RESIDUAL_BINS, n // 50)))
    return AgeCalibration(
        "residuals",
        coverage,
        n,
        knots=tuple(float(np.median(predicted[rows])) for rows in bins),
        lower_offsets=tuple(float(np.quantile(errors[rows], miss)) for rows in bins),
        upper_offsets=tuple(float(np.quantile(errors[rows], 1 - miss)) for rows in bins),
    )


@dataclass(frozen=True)
class GenderCalibration:
    """How a gender probability is made: the network's logit over a temperature.

    Guo et al., "On calibration of modern neural networks" (2017).

    Attributes:
        temperature: Over 1 where the network was too sure of itself.
        n: Chips it was fitted on.
        split: The split they are of.
        uncertain_below: Where the probability of the likelier label is under this, the answer is
            "uncertain".
    """

    temperature: float
    n: int
    split: str = "validation"
    uncertain_below: float = UNCERTAIN_BELOW

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready, for the card."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> GenderCalibration:
        """The inverse of `to_dict`.

        Raises:
            ModelError: Keys are missing or unknown.
        """
        try:
            return cls(**values)
        except TypeError as error:
            raise ModelError(f"the card's gender calibration is not one: {error}") from error

    def probability(self, female: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
        """Calibrated probability of *female*.

        Args:
            female: The network's own, shape (n,), 0 to 1.

        Returns:
            float64 of shape (n,).
        """
        return 1 / (1 + np.exp(-_logit(female) / self.temperature))


def _logit(probability: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    p = np.asarray(probability, dtype=np.float64)
    with np.errstate(divide="ignore"):
        return np.clip(np.log(p) - np.log1p(-p), -_LOGIT_LIMIT, _LOGIT_LIMIT)


def fit_gender(labelled: ArrayLike, female: NDArray[np.floating[Any]]) -> GenderCalibration:
    """Fits the temperature on the validation split, by likelihood.

    Args:
        labelled: Gender codes, shape (n,): 0 male, 1 female.
        female: The network's probability of *female*, shape (n,).

    Returns:
        The calibration.
    """
    codes, logits = np.asarray(labelled, dtype=np.float64), _logit(female)

    def loss(temperature: float) -> float:
        scaled = logits / temperature
        return float(np.mean(np.logaddexp(0, scaled) - codes * scaled))

    # One smooth valley in one dimension: a fine grid over a twentieth to twenty is exact enough.
    grid = np.geomspace(0.05, 20, 2401)
    best = grid[int(np.argmin([loss(float(t)) for t in grid]))]
    return GenderCalibration(round(float(best), 4), len(codes))
