"""Figures by group with confidence intervals, beside what a fixed answer would score: pure numpy and pandas.

Confidence intervals are percentile bootstraps (Efron and Tibshirani, "An Introduction to the Bootstrap",
1993, chapter 13) over people, not files: all copies of a photo are drawn together, because their errors are
one error counted twice.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from agegender.evaluation.metrics import CS_YEARS
from agegender.labels import AGE_BAND_NAMES, GENDERS, age_band, group_codes

RESAMPLES: Final = 1000
BOOTSTRAP_SEED: Final = 20
CONFIDENCE: Final = 0.95

LEAST_FACES: Final = 20
"""A group of fewer faces gets its number and no figures: they would say more of chance than of the group."""

ADULTS: Final = (21, 60)
"""Years, both included: one of the two usual ways to cut UTKFace leaves out all others."""

_FEMALE: Final = 1
_DECIMALS: Final = 4

Figures = dict[str, Any]


@dataclass(frozen=True)
class Baseline:
    """What to say of every face when one may not look at it: the bar that a model has to clear.

    Attributes:
        age: Median labelled age of the training split, in years.
        gender: Its most common gender label.
    """

    age: float
    gender: str


def fit_baseline(train: pd.DataFrame) -> Baseline:
    """The best fixed answers for a training split.

    Args:
        train: One row a chip with the columns ``age`` (years) and ``gender`` (codes).

    Returns:
        The median, which no other fixed age beats in mean absolute error, and the most common gender.
    """
    codes = np.bincount(train["gender"].to_numpy(np.int64), minlength=len(GENDERS))
    return Baseline(float(np.median(train["age"])), GENDERS[int(codes.argmax())])


def measure_groups(
    faces: pd.DataFrame,
    baseline: Baseline,
    *,
    clusters: ArrayLike | None = None,
    resamples: int = RESAMPLES,
    seed: int = BOOTSTRAP_SEED,
) -> dict[str, Any]:
    """Measures a model overall, by age band, gender and the source's ethnic groups, and by each two of these.

    Args:
        faces: Labels and predictions as in `Evaluation.faces`. Column ``uncertain`` (bool), where present,
            says which genders were not called.
        baseline: The fixed answers to measure on the same faces.
        clusters: Which photo each face is of, shape (n,); those of one number are drawn together. ``None``
            takes each for its own.
        resamples: Bootstrap samples.
        seed: Of the resampling; the same seed on the same faces gives the same intervals.

    Returns:
        JSON-ready, floats rounded to four decimals: how it was measured, and under "overall", "adults" (of
        `ADULTS` years, for the sake of papers that measure on them alone), "by_age",
        "by_gender", "by_ethnicity", "by_age_and_gender", "by_age_and_ethnicity" and
        "by_gender_and_ethnicity" the figures of each group that has faces, named like "0-4", "female" or
        "0-4, female". A group's figures are ``n`` and, from `LEAST_FACES` faces on, "age" and "gender",
        where each figure is ``{"value", "low", "high"}``, except those of the baseline, which have no
        interval. Groups are those of the labels.

    Raises:
        ValueError: ``clusters`` is not of shape (n,).
    """
    table = faces.reset_index(drop=True)
    photos = np.arange(len(table)) if clusters is None else np.asarray(clusters)
    if photos.shape != (len(table),):
        raise ValueError(f"expected clusters of shape ({len(table)},), received {photos.shape}")
    quantities = _quantities(table, baseline)
    draws = _draws(photos, resamples, seed)
    document: dict[str, Any] = {
        "confidence": CONFIDENCE,
        "method": "percentile bootstrap over photos, copies drawn together",
        "resamples": resamples,
        "seed": seed,
        "least_faces": LEAST_FACES,
        "baseline": {**asdict(baseline), "split": "train"},
        "overall": _figures(np.ones(len(table), dtype=bool), quantities, draws),
        "adults": {
            "ages": list(ADULTS),
            **_figures(table["age"].between(*ADULTS).to_numpy(), quantities, draws),
        },
    }
    for name, members in _groupings(table):
        document[name] = {
            group: _figures(mask, quantities, draws) for group, mask in members.items() if mask.any()
        }
    return document


@dataclass(frozen=True, eq=False)
class _Quantity:
    """A mean over faces: ``of_each`` over those where ``counted``, both of shape (n,)."""

    of_each: NDArray[np.float64]
    counted: NDArray[np.bool_]
    interval: bool = True


def _quantities(table: pd.DataFrame, baseline: Baseline) -> dict[str, dict[str, _Quantity]]:
    """Everything that is measured of a group, by task and name; all of it means over faces."""
    every = np.ones(len(table), dtype=bool)
    found: dict[str, dict[str, _Quantity]] = {}
    if "predicted_age" in table:
        age, low, high = (table[name].to_numpy(np.float64) for name in ("age", "low", "high"))
        error = table["predicted_age"].to_numpy(np.float64) - age
        fixed = np.abs(baseline.age - age)
        found["age"] = {
            "mae": _Quantity(np.abs(error), every),
            "cs5": _Quantity((np.abs(error) <= CS_YEARS).astype(np.float64), every),
            "bias": _Quantity(error, every),
            "interval_coverage": _Quantity(((low <= age) & (age <= high)).astype(np.float64), every),
            "interval_width": _Quantity(high - low, every),
            "baseline_mae": _Quantity(fixed, every, interval=False),
            "baseline_cs5": _Quantity((fixed <= CS_YEARS).astype(np.float64), every, interval=False),
        }
    if "female" in table:
        codes = table["gender"].to_numpy(np.int64)
        right = ((table["female"].to_numpy() >= 0.5) == (codes == _FEMALE)).astype(np.float64)
        fixed = (codes == GENDERS.index(baseline.gender)).astype(np.float64)
        gender = {"accuracy": _Quantity(right, every)}
        if "uncertain" in table:
            uncertain = table["uncertain"].to_numpy(bool)
            gender["uncertain_share"] = _Quantity(uncertain.astype(np.float64), every)
            gender["accuracy_outside"] = _Quantity(right, ~uncertain)
        found["gender"] = {**gender, "baseline_accuracy": _Quantity(fixed, every, interval=False)}
    return found


def _groupings(table: pd.DataFrame) -> Iterator[tuple[str, dict[str, NDArray[np.bool_]]]]:
    """Each way of grouping: its name, and which faces are in each group."""
    codes: Mapping[str, tuple[NDArray[np.int64], tuple[str, ...]]] = {
        "age": (age_band(table["age"].to_numpy()), AGE_BAND_NAMES),
        "gender": (table["gender"].to_numpy(np.int64), GENDERS),
        "ethnicity": group_codes(table["group"]),
    }
    single = {
        key: {name: column == code for code, name in enumerate(names)}
        for key, (column, names) in codes.items()
    }
    for key, members in single.items():
        yield f"by_{key}", members
    for one, other in (("age", "gender"), ("age", "ethnicity"), ("gender", "ethnicity")):
        both = {
            f"{name}, {second}": mask & also
            for name, mask in single[one].items()
            for second, also in single[other].items()
        }
        yield f"by_{one}_and_{other}", both


def _draws(photos: NDArray[Any], resamples: int, seed: int) -> NDArray[np.float32]:
    """How often each face is in each bootstrap sample, float32 of shape (resamples, n)."""
    names, place = np.unique(photos, return_inverse=True)
    if not len(names):
        return np.zeros((resamples, 0), np.float32)
    rng = np.random.default_rng(seed)
    counts = rng.multinomial(len(names), np.full(len(names), 1 / len(names)), size=resamples)
    return counts.astype(np.float32)[:, place]


def _figures(
    mask: NDArray[np.bool_], quantities: dict[str, dict[str, _Quantity]], draws: NDArray[np.float32]
) -> Figures:
    """The figures of the faces in a group."""
    n = int(mask.sum())
    figures: Figures = {"n": n}
    if n < LEAST_FACES:
        return figures
    for task, measured in quantities.items():
        figures[task] = {name: _mean(quantity, mask, draws) for name, quantity in measured.items()}
    return figures


def _mean(quantity: _Quantity, group: NDArray[np.bool_], draws: NDArray[np.float32]) -> Any:
    mask = group & quantity.counted
    values = quantity.of_each[mask]
    value = round(float(values.mean()), _DECIMALS) if values.size else None
    if not quantity.interval:
        return value
    if value is None:
        return {"value": None, "low": None, "high": None}
    counts = draws[:, mask]
    drawn = counts.sum(axis=1)
    some = drawn > 0  # a sample may hold none of a small group
    means = counts[some] @ values / drawn[some]
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(means, (tail, 1 - tail)) if means.size else (value, value)
    return {"value": value, "low": round(float(low), _DECIMALS), "high": round(float(high), _DECIMALS)}
