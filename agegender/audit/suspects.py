"""Labels that do not fit the face, by the answers of models that never saw it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from agegender.labels import GENDERS, say_years

AGE_EXCESS: Final = 2.0
"""An age is suspicious where it is this many times as far from the prediction as the interval reaches. With
90 % intervals that is beyond 3.3 standard deviations, were errors Gaussian."""

LEAST_AGE_ERROR: Final = 5.0
"""Years. Around toddlers intervals are so narrow that the excess alone would flag what nobody can see."""

GENDER_DOUBT: Final = 0.98
"""A gender is suspicious where the other one has at least this probability."""


@dataclass(frozen=True, eq=False)
class Predictions:
    """What is expected of each of n files by a model that saw neither the file nor a copy of it.

    Attributes:
        age: Years, float64 of shape (n,).
        low, high: Ends of the 90 % interval in years, ``low ≤ age ≤ high``.
        female: Calibrated probability of *female*, 0 to 1.
    """

    age: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    female: NDArray[np.float64]


def find_suspects(table: pd.DataFrame, predictions: Predictions) -> pd.DataFrame:
    """Ranks the labels that are far from what their files' predictions expect.

    A suspicion is not a verdict: unusual faces, and everything the model is blind to, look the same to it
    as wrong labels. Somebody has to look.

    Args:
        table: n rows with ``file``, ``age_min``, ``age_max`` and ``gender``. Of a range the nearest year is
            compared with the prediction.
        predictions: Of the same rows; labels without, where they are NaN, are not doubted.

    Returns:
        One row a suspicious file, the most suspicious first: ``row`` (position in ``table``), ``file``,
        ``age_excess`` (distance from the prediction over the interval's reach on that side),
        ``other_gender`` (probability of the gender that is not the label), ``age_suspicious``,
        ``gender_suspicious``, ``surprise`` and ``reasons`` (words). ``surprise`` adds −log₁₀ of the share of
        all files that are at least as far off, over what is suspicious: 3 is one file in a thousand.
    """
    low, high = (table[name].to_numpy(np.int64) for name in ("age_min", "age_max"))
    error = np.clip(predictions.age, low, high) - predictions.age
    reach = np.where(error > 0, predictions.high - predictions.age, predictions.age - predictions.low)
    # A label beyond an end that the range of ages cuts to nothing is no reason to divide by nothing.
    excess = np.abs(error) / np.maximum(reach, 1.0)
    labelled_female = table["gender"].to_numpy() == 1
    other = np.where(labelled_female, 1 - predictions.female, predictions.female)
    odd_age = (excess >= AGE_EXCESS) & (np.abs(error) >= LEAST_AGE_ERROR)
    odd_gender = other >= GENDER_DOUBT
    surprise = odd_age * _surprise(excess) + odd_gender * _surprise(other)

    rows = np.flatnonzero(odd_age | odd_gender)
    rows = rows[np.argsort(-surprise[rows], kind="stable")]
    reasons = []
    for row in rows.tolist():
        words = []
        if odd_age[row]:
            span = f"{predictions.low[row]:.0f}–{predictions.high[row]:.0f}"
            times = f"{excess[row]:.1f} times as far off as usual"
            label = say_years(int(low[row]), int(high[row]))
            words.append(f"labelled {label}, looks {predictions.age[row]:.0f} ({span}): {times}")
        if odd_gender[row]:
            label, seen = GENDERS[int(labelled_female[row])], GENDERS[int(not labelled_female[row])]
            words.append(f"labelled {label}, looks {seen} ({100 * other[row]:.1f} %)")
        reasons.append("; ".join(words))
    return pd.DataFrame(
        {
            "row": rows,
            "file": table["file"].to_numpy()[rows],
            "age_excess": excess[rows],
            "other_gender": other[rows],
            "age_suspicious": odd_age[rows],
            "gender_suspicious": odd_gender[rows],
            "surprise": surprise[rows],
            "reasons": pd.Series(reasons, dtype="object"),
        }
    )


def _surprise(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """−log₁₀ of the share of values that are at least as large; NaN counts for nothing and gets 0."""
    known = np.isfinite(values)
    in_order = np.sort(values[known])
    at_least = len(in_order) - np.searchsorted(in_order, values[known], side="left")
    surprise = np.zeros(len(values))
    surprise[known] = -np.log10(at_least / max(len(in_order), 1))
    return surprise
