"""Calibration: from what a network says to answers, intervals and probabilities that mean what they say.

Fitted on the calibration half of the validation split, which neither trained the network nor chose its epoch;
stored in the model's card, applied by the predictor. No TensorFlow.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from agegender.errors import ModelError
from agegender.labels import AGE_BANDS, MAX_AGE, age_band

COVERAGE: Final = 0.9

_LEAST_BAND: Final = 30
"""With fewer labelled faces an age band has no threshold of its own."""

_SHARPNESS_RANGE: Final = (0.2, 5.0)
_LEAST_PROBABILITY: Final = 1e-12
_RESIDUAL_BINS: Final = 8
_LOGIT_LIMIT: Final = 30.0

UNCERTAIN_BELOW: Final = 0.75
"""A gender is called only where the call is expected to be right at least three times in four."""


@dataclass(frozen=True, eq=False)
class AgeAnswers:
    """Calibrated answers for n faces.

    Attributes:
        years: The point estimates, float64 of shape (n,), 0 to ``MAX_AGE``.
        low, high: Ends of the intervals in years, float64 of shape (n,) each, with ``low`` ≤ ``years`` ≤
            ``high``; an interval holds both its ends.
        distribution: Probability of each year, float32 of shape (n, 117), or ``None``.
    """

    years: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    distribution: NDArray[np.float32] | None


@dataclass(frozen=True)
class AgeCalibration:
    """How an age and its interval are made of what the network says.

    **The age.** Labels are whole years, and so are answers: the mean of the distribution ``p ** sharpness``,
    renormalised, to the nearest year. A network trained on labels with a spread says a wider distribution
    than the errors are; ``sharpness`` is fitted by likelihood, as a temperature is. A network that says only
    a number has it rounded.

    **The interval** is made to hold the labelled age of a share ``coverage`` of faces like those that it was
    fitted on, in one of two ways:

    - "bands", for networks with a distribution, is label-conditional conformal prediction (Vovk,
      "Conditional validity of inductive conformal predictors", 2012). A year is inside where the distribution
      gives at least the threshold of the year's age band to both sides, to "so old or younger" and to "so old
      or older"; the interval goes from the first such year to the last. A band's threshold is the conformal
      quantile over the faces labelled in it. So in each band of at least 30 faces the expected share of fresh
      ones held is at least ``coverage``; about that it scatters from fit to fit, by 3 points with 100 faces
      and by 5 with 35 (standard deviations). A band of fewer takes the threshold of all. Of a label that is
      a range every year counts alike, as if the age were drawn from it: people are seldom as far from what
      they look as that, so intervals fitted on ranges are rather too wide than too narrow.
    - "residuals", for networks that say a number, is not conformal, only built of the same quantiles: the
      prediction plus those of the errors of faces of about the same predicted age, linear between ``knots``.
      It holds about ``coverage`` of all faces. Of those labelled in one band it may hold far fewer, where the
      network takes them for older or younger; a card states how many.

    Attributes:
        method: Which of them.
        coverage: Share of labelled ages the interval is made to hold, 0 to 1.
        n: Chips it was fitted on.
        split: What they were taken from.
        ranges_n: How many of these chips are labelled with a range of years.
        sharpness: Exponent of the probabilities; over 1 makes the distribution narrower.
        band_tails: Threshold of each of the nine age bands, probabilities, for "bands".
        knots, lower_offsets, upper_offsets: Years, for "residuals".
    """

    method: Literal["bands", "residuals"]
    coverage: float
    n: int
    split: str = "calibration"
    ranges_n: int = 0
    sharpness: float = 1.0
    band_tails: tuple[float, ...] = ()
    knots: tuple[float, ...] = ()
    lower_offsets: tuple[float, ...] = ()
    upper_offsets: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        parts = {"bands": self.band_tails, "residuals": self.knots}
        if self.method not in parts:
            raise ModelError(f"the card's age calibration is of an unknown method {self.method!r}")
        if not parts[self.method] or (self.method == "bands" and len(self.band_tails) != len(AGE_BANDS)):
            raise ModelError(f"the card's age calibration lacks the figures of its method {self.method!r}")

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready, for the card: what the method uses."""
        unused: dict[str, tuple[str, ...]] = {
            "bands": ("knots", "lower_offsets", "upper_offsets"),
            "residuals": ("band_tails", "sharpness"),
        }
        return {key: value for key, value in asdict(self).items() if key not in unused[self.method]}

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

    def answer(
        self, ages: NDArray[np.floating[Any]], distribution: NDArray[np.floating[Any]] | None
    ) -> AgeAnswers:
        """Answers for n faces.

        Args:
            ages: The network's own years, shape (n,).
            distribution: Its probabilities of years, shape (n, 117); ``None`` where it says only a number.

        Returns:
            Ages, intervals and the distribution the ages come from.

        Raises:
            ModelError: The calibration is of a distribution, and there is none.
        """
        if self.method == "bands" and distribution is None:
            raise ModelError("this calibration needs the distribution over years")
        years = np.clip(np.asarray(ages, dtype=np.float64), 0, MAX_AGE)
        sharp: NDArray[np.float32] | None = None
        if distribution is not None:
            sharp = sharpen(distribution, self.sharpness).astype(np.float32)
            if self.sharpness != 1:
                years = sharp.astype(np.float64) @ np.arange(sharp.shape[1])
        years = np.floor(years + 0.5)
        if distribution is None or self.method == "residuals":
            # Labels are whole, so whatever is beyond the last whole year holds none.
            low = np.ceil(years + np.interp(years, self.knots, self.lower_offsets))
            high = np.floor(years + np.interp(years, self.knots, self.upper_offsets))
        else:
            tails = _smaller_tails(sharpen(distribution, 1.0))
            low, high = _hull(tails >= np.array(self.band_tails)[_BAND_OF_YEAR], years)
        low = np.clip(np.minimum(low, years), 0, MAX_AGE)
        high = np.clip(np.maximum(high, years), 0, MAX_AGE)
        return AgeAnswers(years, low, high, sharp)


_BAND_OF_YEAR: Final = age_band(np.arange(MAX_AGE + 1))


def sharpen(distribution: NDArray[np.floating[Any]], sharpness: float) -> NDArray[np.float64]:
    """Raises probabilities to a power and renormalises them.

    For a softmax this divides the logits by the temperature ``1 / sharpness`` (Guo et al., 2017).

    Args:
        distribution: Probabilities, shape (n, years).
        sharpness: The exponent, over 0.

    Returns:
        float64 of shape (n, years); rows sum to 1.
    """
    powers = np.clip(np.asarray(distribution, dtype=np.float64), _LEAST_PROBABILITY, None) ** sharpness
    return np.asarray(powers / powers.sum(axis=1, keepdims=True), dtype=np.float64)


def _smaller_tails(distribution: NDArray[np.float64]) -> NDArray[np.float64]:
    """For each year the smaller of P(so old or younger) and P(so old or older), shape (n, years)."""
    younger = np.cumsum(distribution, axis=1)
    older = np.cumsum(distribution[:, ::-1], axis=1)[:, ::-1]
    return np.minimum(younger, older)


def _hull(
    inside: NDArray[np.bool_], years: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """First and last year that is inside, and the answer with them: shape (n,) each."""
    some = inside.any(axis=1)
    first = np.where(some, inside.argmax(axis=1), years)
    last = np.where(some, inside.shape[1] - 1 - inside[:, ::-1].argmax(axis=1), years)
    return np.minimum(first, years).astype(np.float64), np.maximum(last, years).astype(np.float64)


def fit_age(
    labelled: ArrayLike,
    predicted: NDArray[np.floating[Any]],
    distribution: NDArray[np.floating[Any]] | None,
    coverage: float = COVERAGE,
    weights: ArrayLike | None = None,
) -> AgeCalibration:
    """Fits answer and interval on chips that neither trained the network nor chose its epoch.

    Args:
        labelled: Labelled years, whole, shape (n,); or of shape (n, 2), the lowest and the highest year of
            each label, both included.
        predicted: The network's own years, shape (n,).
        distribution: Its distributions, shape (n, 117), or ``None`` for a network without.
        coverage: Share of labels the interval is to hold.
        weights: How much each chip counts, shape (n,), over 0; ``None`` for alike. Only intervals of
            "bands" take them.

    Returns:
        The calibration: "bands" where there is a distribution, "residuals" otherwise.

    Raises:
        ModelError: Labels are ranges, and there is no distribution: of a range nobody knows the error.
    """
    ends = np.asarray(labelled, dtype=np.int64)
    low, high = (ends, ends) if ends.ndim == 1 else ends.T
    ranges_n = int((low < high).sum())
    if distribution is None:
        if ranges_n:
            raise ModelError("intervals of a network that says only a number are fitted on exact ages")
        return _fit_residuals(low, predicted, coverage)
    counts = np.ones(len(low)) if weights is None else np.asarray(weights, dtype=np.float64)
    return AgeCalibration(
        "bands",
        coverage,
        len(low),
        ranges_n=ranges_n,
        sharpness=_fit_sharpness(low, high, distribution),
        band_tails=_fit_band_tails(low, high, distribution, coverage, counts),
    )


def _fit_sharpness(
    low: NDArray[np.int64], high: NDArray[np.int64], distribution: NDArray[np.floating[Any]]
) -> float:
    """The exponent under which the labels are likeliest; of exact ones the likelihood has a single peak."""
    from scipy.optimize import minimize_scalar  # here: it takes long to import, and predicting needs none

    logs = np.log(np.clip(np.asarray(distribution, dtype=np.float64), _LEAST_PROBABILITY, None))
    years = np.arange(logs.shape[1])
    labelled = (years >= low[:, None]) & (years <= high[:, None])

    def loss(sharpness: float) -> float:
        powers = np.exp(sharpness * logs)
        return float(np.mean(np.log(powers.sum(axis=1)) - np.log(powers.sum(axis=1, where=labelled))))

    found = minimize_scalar(loss, bounds=_SHARPNESS_RANGE, method="bounded", options={"xatol": 1e-3})
    return round(float(found.x), 3)


def _fit_band_tails(
    low: NDArray[np.int64],
    high: NDArray[np.int64],
    distribution: NDArray[np.floating[Any]],
    coverage: float,
    weights: NDArray[np.float64],
) -> tuple[float, ...]:
    """Thresholds of the nine bands, of the smaller tail of each face at each year of its label."""
    tails = _smaller_tails(sharpen(distribution, 1.0))
    lengths = high - low + 1
    faces = np.repeat(np.arange(len(low)), lengths)
    years = low[faces] + np.arange(len(faces)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    own, shares = tails[faces, years], 1 / lengths[faces]
    bands, least = age_band(years), min(_LEAST_BAND, len(low))
    members = [bands == band for band in range(len(AGE_BANDS))]
    members = [mask if shares[mask].sum() >= least else np.ones(len(years), bool) for mask in members]
    return tuple(
        -_conformal_quantile(-own[mask], coverage, (shares * weights[faces])[mask], shares[mask].sum())
        for mask in members
    )


def _conformal_quantile(
    scores: NDArray[np.floating[Any]],
    share: float,
    weights: NDArray[np.float64] | None = None,
    n: float | None = None,
) -> float:
    """The ⌈(n + 1) · share⌉-th smallest of n scores, the highest where that is over n.

    A fresh score is at most that with probability ``share`` or more, if n is large enough for it (Vovk,
    Gammerman and Shafer, "Algorithmic Learning in a Random World", 2005). With weights it is the score up to
    which their sum reaches that share, a fresh one of average weight counted in (Tibshirani, Foygel Barber,
    Candès and Ramdas, "Conformal prediction under covariate shift", 2019). Where one face has several scores,
    ``n`` says how many faces there are.
    """
    order, n = np.argsort(scores, kind="stable"), len(scores) if n is None else n
    shares = np.ones(len(scores)) if weights is None else weights[order] * (n / weights.sum())
    reached = np.cumsum(shares) >= share * (n + 1) - 1e-9  # of floating point
    rank = int(np.argmax(reached)) if reached.any() else len(scores) - 1
    return float(scores[order][rank])


def _fit_residuals(
    ages: NDArray[np.int64], predicted: NDArray[np.floating[Any]], coverage: float
) -> AgeCalibration:
    years = np.floor(np.clip(np.asarray(predicted, dtype=np.float64), 0, MAX_AGE) + 0.5)
    errors, n, one_sided = ages.astype(np.float64) - years, len(ages), (1 + coverage) / 2
    order = np.argsort(years, kind="stable")
    bins = np.array_split(order, max(1, min(_RESIDUAL_BINS, n // 50)))
    return AgeCalibration(
        "residuals",
        coverage,
        n,
        knots=tuple(float(np.median(years[rows])) for rows in bins),
        lower_offsets=tuple(-_conformal_quantile(-errors[rows], one_sided) for rows in bins),
        upper_offsets=tuple(_conformal_quantile(errors[rows], one_sided) for rows in bins),
    )


@dataclass(frozen=True)
class GenderCalibration:
    """How a gender probability is made: the network's logit over a temperature.

    Guo et al., "On calibration of modern neural networks" (2017).

    Attributes:
        temperature: Over 1 where the network was too sure of itself.
        n: Chips it was fitted on.
        split: What they were taken from.
        uncertain_below: Where the probability of the likelier label is under this, the answer is
            "uncertain".
    """

    temperature: float
    n: int
    split: str = "calibration"
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
    """Fits the temperature by likelihood, on chips that neither trained the network nor chose its epoch.

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
