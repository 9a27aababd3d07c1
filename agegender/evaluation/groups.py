"""Figures by group with confidence intervals, beside what a fixed answer would score: pure numpy and pandas.

Confidence intervals are percentile bootstraps (Efron and Tibshirani, "An Introduction to the Bootstrap",
1993, chapter 13) over people, not files: all copies of a photo are drawn together, because their errors are
one error counted twice.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from agegender.evaluation.metrics import CS_YEARS, range_label_faces
from agegender.labels import AGE_BAND_NAMES, GENDERS, age_band, group_codes, say_years

if TYPE_CHECKING:
    import pandas as pd

RESAMPLES: Final = 1000
BOOTSTRAP_SEED: Final = 20
CONFIDENCE: Final = 0.95

LEAST_FACES: Final = 20
"""A group of fewer faces gets its number and no figures: they would say more of chance than of the group."""

ADULTS: Final = (21, 60)
"""Years, both included: one of the two usual ways to cut UTKFace leaves out all others."""

CHILDREN: Final = (0, 9)
"""Years, both included: of these, gender is hardest to tell."""

TEENAGERS: Final = (10, 19)
"""Years, both included, as FairFace has them: these are taken for adults most."""

_STAGES: Final = {"adults": ADULTS, "children": CHILDREN, "teenagers": TEENAGERS}

_FEMALE: Final = 1
_DECIMALS: Final = 4

Figures = dict[str, Any]


@dataclass(frozen=True)
class Baseline:
    """What to say of every face when one may not look at it: the bar that a model has to clear.

    Attributes:
        age: Median labelled age of the training split, in years.
        gender: Its most common gender label.
        split: What they were taken from.
    """

    age: float
    gender: str
    split: str = "train"


def fit_baseline(rows: pd.DataFrame, split: str = "train") -> Baseline:
    """The best fixed answers for a split.

    Args:
        rows: One row a chip with the columns ``age`` (years) and ``gender`` (codes).
        split: Its name.

    Returns:
        The median, which no other fixed age beats in mean absolute error, and the most common gender.
    """
    codes = np.bincount(rows["gender"].to_numpy(np.int64), minlength=len(GENDERS))
    return Baseline(float(np.median(rows["age"])), GENDERS[int(codes.argmax())], split)


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
        `ADULTS` years, for the sake of papers that measure on them alone), "children" (of `CHILDREN`),
        "teenagers" (of `TEENAGERS`), "by_age", "by_gender", "by_ethnicity", "by_age_and_gender",
        "by_age_and_ethnicity" and "by_gender_and_ethnicity" the figures of each group that has faces, named
        like "0-4", "female" or "0-4, female". A group's figures are ``n`` and, from `LEAST_FACES` faces on,
        "age" and "gender", where each figure is ``{"value", "low", "high"}``, except those of the baseline,
        which have no interval. Groups are those of the labels; where all ages are ranges, those are the
        groups of age.

        Errors in years are of faces with an exact age. Where labels are ranges, "age" has the figures of
        `range_label_metrics` too, and ``bias_outside``: by how many years the prediction is over (or, below
        zero, under) the range on average. "ethnicity_gap" has under "gender" how far ``accuracy`` of the
        worst ethnic group lies below that of the best, both named: with few faces a group, chance alone
        makes several points of it, and its interval says so.

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
        "baseline": asdict(baseline),
        "overall": _figures(np.ones(len(table), dtype=bool), quantities, draws),
    }
    low, high = table.get("age_min", table["age"]), table.get("age_max", table["age"])
    for name, (first, last) in _STAGES.items():
        mask = (low >= first).to_numpy() & (high <= last).to_numpy()
        document[name] = {"ages": [first, last], **_figures(mask, quantities, draws)}
    for name, members in _groupings(table):
        document[name] = {
            group: _figures(mask, quantities, draws) for group, mask in members.items() if mask.any()
        }
        if name == "by_ethnicity" and "gender" in quantities:
            document["ethnicity_gap"] = {"gender": _gap(members, quantities["gender"]["accuracy"], draws)}
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
        predicted = table["predicted_age"].to_numpy(np.float64)
        first, last = (table.get(end, table["age"]).to_numpy(np.float64) for end in ("age_min", "age_max"))
        exact = first == last
        error = predicted - age
        fixed = np.abs(baseline.age - age)
        found["age"] = {
            "mae": _Quantity(np.abs(error), exact),
            "cs5": _Quantity((np.abs(error) <= CS_YEARS).astype(np.float64), exact),
            "bias": _Quantity(error, exact),
            "interval_coverage": _Quantity(((low <= age) & (age <= high)).astype(np.float64), exact),
            "interval_width": _Quantity(high - low, every),
            "baseline_mae": _Quantity(fixed, exact, interval=False),
            "baseline_cs5": _Quantity((fixed <= CS_YEARS).astype(np.float64), exact, interval=False),
        }
        if not exact.all():
            within = range_label_faces(first, last, predicted, low, high)
            outside = np.floor(predicted + 0.5)
            within["bias_outside"] = outside - np.clip(outside, first, last)
            found["age"] |= {name: _Quantity(of_each, ~exact) for name, of_each in within.items()}
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
        "age": _age_groups(table),
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


def _age_groups(table: pd.DataFrame) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """The nine bands, or the labels' own ranges where there is nothing else."""
    if "age_min" in table and (table["age_min"] < table["age_max"]).all():
        ranges = table[["age_min", "age_max"]].astype(int).apply(tuple, axis=1)
        names = sorted(set(ranges))
        codes = ranges.map({ends: code for code, ends in enumerate(names)}).to_numpy(np.int64)
        return codes, tuple(say_years(*ends).replace("–", "-") for ends in names)
    return age_band(table["age"].to_numpy()), AGE_BAND_NAMES


def _gap(
    members: Mapping[str, NDArray[np.bool_]], quantity: _Quantity, draws: NDArray[np.float32]
) -> Figures | None:
    """How far the worst group is behind the best; ``None`` for fewer than two groups of enough faces."""
    groups = {name: mask for name, mask in members.items() if mask.sum() >= LEAST_FACES}
    if len(groups) < 2:
        return None
    means = {name: float(quantity.of_each[mask].mean()) for name, mask in groups.items()}
    best, worst = max(means, key=lambda name: means[name]), min(means, key=lambda name: means[name])
    drawn = [
        draws[:, mask] @ quantity.of_each[mask] / np.maximum(draws[:, mask].sum(axis=1), 1)
        for mask in (groups[best], groups[worst])
    ]
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(drawn[0] - drawn[1], (tail, 1 - tail))
    ends = {"value": means[best] - means[worst], "low": float(low), "high": float(high)}
    return {"best": best, "worst": worst, **{key: round(end, _DECIMALS) for key, end in ends.items()}}


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
