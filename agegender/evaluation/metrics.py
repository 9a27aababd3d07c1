"""The figures that say how good predictions are: pure numpy, one definition for cards, pages and commands."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from agegender.labels import AGE_BAND_NAMES, AGE_BANDS, age_band

CS_YEARS: Final = 5
"""A cumulative score counts errors up to so many years, its end included (Geng et al., TPAMI 2007)."""

ECE_BINS: Final = 15
"""Equal-width confidence bins over 0 to 1, as many as Guo et al. use."""

_FEMALE: Final = 1


def age_metrics(labelled: ArrayLike, predicted: ArrayLike, low: ArrayLike, high: ArrayLike) -> dict[str, Any]:
    """Measures age predictions.

    Args:
        labelled: Labelled ages in years, shape (n,).
        predicted: Predicted ages in years, shape (n,).
        low: Lower ends of the predicted intervals in years, shape (n,).
        high: Upper ends, shape (n,); an interval holds both its ends.

    Returns:
        ``mae`` (mean absolute error, years), ``cs5`` (share of errors up to five years), ``bias`` (mean of
        predicted minus labelled, years), ``interval_coverage`` (share of labels inside their interval),
        ``interval_width`` (mean, years) and ``by_band``: ``n`` and ``mae`` of each age band that has
        faces, by labelled age. Every figure is ``None`` for n = 0.

    Raises:
        ValueError: The arrays are not of one shape (n,).
    """
    truth, years, lower, upper = _columns(labelled, predicted, low, high)
    error = np.abs(years - truth)
    return {
        "mae": _mean(error),
        "cs5": _mean(error <= CS_YEARS),
        "bias": _mean(years - truth),
        "interval_coverage": _mean((lower <= truth) & (truth <= upper)),
        "interval_width": _mean(upper - lower),
        "by_band": _by_band(truth, "mae", error),
    }


def range_label_metrics(
    lowest: ArrayLike, highest: ArrayLike, predicted: ArrayLike, low: ArrayLike, high: ArrayLike
) -> dict[str, Any]:
    """Measures age predictions against labels that are ranges of years.

    Args:
        lowest: First year of the labelled range, shape (n,).
        highest: Its last year, included, shape (n,).
        predicted: Predicted ages in years, shape (n,); the nearest whole year counts.
        low: Lower ends of the predicted intervals in years, shape (n,).
        high: Upper ends, shape (n,).

    Returns:
        ``in_range`` (share of predictions inside the labelled range), ``years_outside`` (mean of how far they
        are outside it, 0 inside), ``interval_touches`` (share of intervals that share a year with it) and
        ``interval_holds_middle`` (share that hold its middle). Every figure is ``None`` for n = 0.

    Raises:
        ValueError: The arrays are not of one shape (n,).
    """
    columns = _columns(lowest, highest, predicted, low, high)
    return {name: _mean(of_each) for name, of_each in range_label_faces(*columns).items()}


def range_label_faces(
    first: NDArray[np.float64],
    last: NDArray[np.float64],
    predicted: NDArray[np.float64],
    low: NDArray[np.float64],
    high: NDArray[np.float64],
) -> dict[str, NDArray[np.float64]]:
    """What `range_label_metrics` averages, of each face: float64 of shape (n,), shares as 0 and 1."""
    years = np.floor(predicted + 0.5)
    outside = np.maximum(0, first - years) + np.maximum(0, years - last)
    middle = (first + last) / 2
    found = {
        "in_range": outside == 0,
        "years_outside": outside,
        "interval_touches": (low <= last) & (first <= high),
        "interval_holds_middle": (low <= middle) & (middle <= high),
    }
    return {name: np.asarray(of_each, np.float64) for name, of_each in found.items()}


def gender_metrics(
    labelled: ArrayLike, female: ArrayLike, ages: ArrayLike, uncertain: ArrayLike | None = None
) -> dict[str, Any]:
    """Measures gender predictions.

    Args:
        labelled: UTKFace's codes, 0 male and 1 female, shape (n,).
        female: Predicted probability of *female*, 0 to 1, shape (n,).
        ages: Labelled ages in years, shape (n,), for the bands.
        uncertain: Which faces were answered with "uncertain", bool, shape (n,); ``None`` where the model
            knows no such answer.

    Returns:
        ``accuracy`` (at one half, whether called or not), ``auc``, ``ece`` and ``by_band``: ``n`` and
        ``accuracy`` of each age band that has faces; with ``uncertain`` also ``uncertain_share`` and
        ``accuracy_outside`` (of the faces that were called). Every figure is ``None`` for n = 0, ``auc``
        where only one gender is labelled, and ``accuracy_outside`` where none was called.

    Raises:
        ValueError: The arrays are not of one shape (n,).
    """
    codes, probability, years = _columns(labelled, female, ages)
    positive = codes == _FEMALE
    correct = (probability >= 0.5) == positive
    called: dict[str, Any] = {}
    if uncertain is not None:
        doubtful = _columns(labelled, uncertain)[1].astype(bool)
        called = {"uncertain_share": _mean(doubtful), "accuracy_outside": _mean(correct[~doubtful])}
    return {
        "accuracy": _mean(correct),
        "auc": area_under_roc(positive, probability),
        "ece": expected_calibration_error(np.maximum(probability, 1 - probability), correct),
        **called,
        "by_band": _by_band(years, "accuracy", correct),
    }


def range_metrics(labelled: ArrayLike, answered: ArrayLike) -> dict[str, Any]:
    """Measures answers as age ranges.

    Args:
        labelled: Labelled ages in years, shape (n,).
        answered: Index of the answered range in ``AGE_BANDS``, shape (n,).

    Returns:
        ``accuracy`` (share in the labelled range), ``within_one`` (in it or a neighbouring one) and
        ``confusion``: nine rows of nine counts, rows by the labelled range, columns by the answered one.
        The shares are ``None`` for n = 0.

    Raises:
        ValueError: The arrays are not of one shape (n,).
    """
    years, columns = _columns(labelled, answered)
    rows, size = age_band(years), len(AGE_BANDS)
    counts = np.bincount(rows * size + columns.astype(np.int64), minlength=size * size)
    apart = np.abs(rows - columns)
    return {
        "accuracy": _mean(apart == 0),
        "within_one": _mean(apart <= 1),
        "confusion": counts.reshape(size, size).tolist(),
    }


def area_under_roc(positive: ArrayLike, score: ArrayLike) -> float | None:
    """The probability that a random positive scores above a random negative, ties counting half.

    Computed from ranks: this is the Mann-Whitney U statistic over the number of pairs (Hanley & McNeil,
    Radiology 143, 1982).

    Args:
        positive: Which samples are positive, bool, shape (n,).
        score: Any increasing score, shape (n,).

    Returns:
        0 to 1; ``None`` where one of the two classes is missing or a score is NaN.

    Raises:
        ValueError: The arrays are not of one shape (n,).
    """
    flags, scores = _columns(positive, score)
    mask = flags.astype(bool)
    positives = int(mask.sum())
    negatives = mask.size - positives
    if not positives or not negatives or np.isnan(scores).any():
        return None
    _, place, counts = np.unique(scores, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)  # the highest rank, from 1, in each group of ties
    ranks = (last - (counts - 1) / 2)[place]
    u = ranks[mask].sum() - positives * (positives + 1) / 2
    return float(u / (positives * negatives))


def expected_calibration_error(
    confidence: ArrayLike, correct: ArrayLike, *, bins: int = ECE_BINS
) -> float | None:
    """How far stated confidence is from observed accuracy, averaged over the samples.

    ECE of Guo, Pleiss, Sun & Weinberger, "On Calibration of Modern Neural Networks", ICML 2017, equation 3:
    the sum over equal-width bins of (share of samples) × |accuracy − mean confidence|. Each bin holds its
    upper edge.

    Args:
        confidence: Probability of the predicted label, 0 to 1, shape (n,).
        correct: Whether the predicted label is the labelled one, shape (n,).
        bins: How many bins divide 0 to 1. With two labels, those under one half stay empty.

    Returns:
        0 to 1; ``None`` for n = 0 or where a confidence is NaN.

    Raises:
        ValueError: The arrays are not of one shape (n,).
    """
    table = reliability(confidence, correct, bins=bins)
    n = sum(row["n"] for row in table)
    return sum(row["n"] * abs(row["accuracy"] - row["confidence"]) for row in table) / n if n else None


def reliability(confidence: ArrayLike, correct: ArrayLike, *, bins: int = ECE_BINS) -> list[dict[str, Any]]:
    """What a reliability diagram shows: observed accuracy at each level of stated confidence.

    Args:
        confidence: Probability of the predicted label, 0 to 1, shape (n,).
        correct: Whether the predicted label is the labelled one, shape (n,).
        bins: How many equal-width bins divide 0 to 1. Each holds its upper edge.

    Returns:
        A row for each bin that holds samples, in order: ``low`` and ``high`` (its edges), ``n``,
        ``confidence`` (mean) and ``accuracy``. Empty for n = 0 or where a confidence is NaN.

    Raises:
        ValueError: The arrays are not of one shape (n,).
    """
    stated, right = _columns(confidence, correct)
    if np.isnan(stated).any():
        return []
    index = np.clip(np.ceil(stated * bins).astype(np.int64) - 1, 0, bins - 1)
    return [
        {
            "low": float(bin_ / bins),
            "high": float((bin_ + 1) / bins),
            "n": int((index == bin_).sum()),
            "confidence": float(stated[index == bin_].mean()),
            "accuracy": float(right[index == bin_].mean()),
        }
        for bin_ in np.unique(index)
    ]


def _by_band(ages: NDArray[np.float64], name: str, values: NDArray[Any]) -> dict[str, dict[str, Any]]:
    """Averages values over each age band that has faces, in the order of the bands."""
    bands = age_band(ages)
    return {
        band: {"n": int((bands == index).sum()), name: _mean(values[bands == index])}
        for index, band in enumerate(AGE_BAND_NAMES)
        if (bands == index).any()
    }


def _columns(*arrays: ArrayLike) -> list[NDArray[np.float64]]:
    """Converts arrays to float64 and checks that they are columns of one length."""
    columns = [np.asarray(array, dtype=np.float64) for array in arrays]
    shapes = [column.shape for column in columns]
    if columns[0].ndim != 1 or len(set(shapes)) != 1:
        raise ValueError(f"expected arrays of one shape (n,), received {shapes}")
    return columns


def _mean(values: NDArray[Any]) -> float | None:
    return float(np.mean(values)) if values.size else None
