"""How far two labels of one photo differ, and the floor that sets on the error of any model.

A photo that is in the dataset more than once was labelled more than once. Whatever a model answers for it,
it cannot please both labels. Let a and b be independent labels of a photo, and m the median of the labels
it could have got: the answer with the least expected error. Then, with D = E|a − b|,

    D / 2  ≤  E|a − m|  ≤  D    for any distribution of labels:

on the left because |a − b| ≤ |a − m| + |b − m|, on the right because no other answer, a second label
included, is closer to a on average than m. For Gaussian errors E|a − m| = D / √2: the floor stated here.

Likewise let two labels of gender differ with probability p. If every photo is mislabelled with the same
probability e, then p = 2 e (1 − e), and no model is right more often than 1 − e = (1 + √(1 − 2 p)) / 2: the
ceiling stated here. If all doubt sits in a few photos that nobody can tell, it is as low as 1 − p.

Labels of copies are not quite independent: UTKFace's began as one model's answers, which people checked,
and some may have been copied along with their photo. So the true floor is more likely higher than lower.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from itertools import combinations
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from agegender.data.duplicates import Fingerprints, mirrored
from agegender.labels import AGE_BAND_NAMES, age_band

RESAMPLES: Final = 2000
_INTERVAL: Final = (0.025, 0.975)
_COUNTS: Final = ("pairs", "age_gap", "over5", "over10", "gender_differs", "ethnicity_differs")


@dataclass(frozen=True)
class Estimate:
    """A figure with its 95 % bootstrap interval, in the figure's own unit."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, eq=False)
class LabelNoise:
    """What pairs of labels of one photo say about the labels of all.

    Attributes:
        groups: Photos that are there more than once.
        pairs: Pairs of files that show one photo; a photo with k files has k (k − 1) / 2.
        age_gap: Mean difference of a pair's ages, in years.
        over5, over10: Share of pairs whose ages differ by more than 5 and 10 years.
        gender_differs, ethnicity_differs: Share of pairs whose labels differ.
        age_floor: The least mean absolute error any model can have, in years, were errors Gaussian.
        age_floor_reweighted: The same if photos had the ages of the whole dataset, not those of its copies.
        age_floor_bounds: What the floor lies between whatever the distribution of errors, in years.
        gender_ceiling: The best accuracy any model can have, were every photo equally hard.
        gender_ceiling_least: What it is at least, however unequal they are.
        by_band: Index: age bands, by the mean of a pair's ages; columns: ``pairs``, ``age_gap`` (years),
            ``gender_differs`` (share). Bands without pairs are left out.
    """

    groups: int
    pairs: int
    age_gap: Estimate
    over5: Estimate
    over10: Estimate
    gender_differs: Estimate
    ethnicity_differs: Estimate
    age_floor: Estimate
    age_floor_reweighted: Estimate
    age_floor_bounds: tuple[float, float]
    gender_ceiling: Estimate
    gender_ceiling_least: float
    by_band: pd.DataFrame

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {**asdict(self), "by_band": self.by_band.to_dict(orient="index")}


def label_pairs(table: pd.DataFrame, groups: NDArray[np.int64], prints: Fingerprints) -> pd.DataFrame:
    """Lists every two files of one group.

    Args:
        table: n rows with ``age``, ``age_min``, ``age_max``, ``gender``, ``group`` and ``source``.
        groups: Group of each row, shape (n,).
        prints: Fingerprints of the rows' files.

    Returns:
        One row a pair: ``first`` and ``second`` (positions in ``table``), ``photo``, ``bits`` (distance of
        the hashes, mirrored or not, of 256), ``same_bytes``, ``age`` (mean of the two labels, years),
        ``age_gap`` (years; of ranges those between them, 0 where they share one), ``exact`` (whether neither
        age is a range), ``ages_differ``, ``gender_differs``, and ``ethnicity_differs``, which two sources,
        having words of their own, cannot.
    """
    order = np.argsort(groups, kind="stable")
    ends = np.flatnonzero(np.diff(groups[order])) + 1
    members = [part.tolist() for part in np.split(order, ends) if len(part) > 1]
    pairs = np.array([pair for part in members for pair in combinations(part, 2)], dtype=np.int64)
    first, second = pairs.reshape(-1, 2).T
    digests = np.array(prints.digests, dtype=object)
    ages = table["age"].to_numpy(np.float64)
    left, right = prints.hashes[first], prints.hashes[second]

    def differs(column: str) -> NDArray[np.bool_]:
        codes = table[column].to_numpy()
        return np.asarray(codes[first] != codes[second])

    low, high = (table[name].to_numpy(np.float64) for name in ("age_min", "age_max"))
    between = np.maximum(low[first], low[second]) - np.minimum(high[first], high[second])
    known = (table["group"] != "").to_numpy(bool)
    comparable = known[first] & known[second] & ~differs("source")
    return pd.DataFrame(
        {
            "first": first,
            "second": second,
            "photo": groups[first],
            "bits": np.minimum((left != right).sum(axis=1), (mirrored(left) != right).sum(axis=1)),
            "same_bytes": (digests[first] == digests[second]).astype(bool),
            "age": (ages[first] + ages[second]) / 2,
            "age_gap": np.maximum(between, 0),
            "exact": (low == high)[first] & (low == high)[second],
            "ages_differ": differs("age_min") | differs("age_max"),
            "gender_differs": differs("gender"),
            "ethnicity_differs": comparable & differs("group"),
        }
    )


def estimate_label_noise(
    pairs: pd.DataFrame, ages: ArrayLike, *, resamples: int = RESAMPLES, seed: int = 0
) -> LabelNoise | None:
    """Estimates the noise of all labels from pairs of labels of one photo.

    Args:
        pairs: Result of `label_pairs`.
        ages: Labelled years of the whole dataset, for the floor at its ages.
        resamples: Of the bootstrap. Photos are drawn, not pairs: pairs of one photo are not independent.
        seed: Of the bootstrap.

    Returns:
        The estimate; ``None`` where no photo is there twice.
    """
    if pairs.empty:
        return None
    shares = np.bincount(age_band(ages), minlength=len(AGE_BAND_NAMES)) / np.size(ages)
    sums = _sums_by_photo(pairs)
    rng = np.random.default_rng(seed)
    draws = rng.multinomial(len(sums), np.full(len(sums), 1 / len(sums)), size=resamples)
    point, spread = _figures(sums.sum(axis=0)[None], shares), _figures(draws @ sums, shares)

    def estimate(name: str) -> Estimate:
        low, high = np.quantile(spread[name], _INTERVAL)
        return Estimate(float(point[name][0]), float(low), float(high))

    gap = float(point["age_gap"][0])
    by_band = pairs.groupby(age_band(pairs["age"]))[["age_gap", "gender_differs"]].mean()
    by_band.insert(0, "pairs", np.bincount(age_band(pairs["age"]))[by_band.index])
    by_band.index = pd.Index([AGE_BAND_NAMES[band] for band in by_band.index], name="band")
    return LabelNoise(
        groups=len(sums),
        pairs=len(pairs),
        age_floor_bounds=(gap / 2, gap),
        gender_ceiling_least=1 - float(point["gender_differs"][0]),
        by_band=by_band,
        **{name: estimate(name) for name in point},
    )


def _sums_by_photo(pairs: pd.DataFrame) -> NDArray[np.float64]:
    """Sums over each photo's pairs: of `_COUNTS`, then of pairs in each band, then of gaps in each band."""
    values = pairs.assign(pairs=1.0, over5=pairs["age_gap"] > 5, over10=pairs["age_gap"] > 10)
    in_band = np.eye(len(AGE_BAND_NAMES))[age_band(pairs["age"])]
    gap_in_band = in_band * pairs["age_gap"].to_numpy(np.float64)[:, None]
    columns = np.hstack([values[list(_COUNTS)].to_numpy(np.float64), in_band, gap_in_band])
    return pd.DataFrame(columns).groupby(pairs["photo"].to_numpy()).sum().to_numpy(np.float64)


def _figures(totals: NDArray[np.float64], shares: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
    """The figures of the sample, or of each resample.

    Args:
        totals: Columns of `_sums_by_photo`, summed over photos, shape (r, columns).
        shares: Of the dataset's files in each age band, shape (bands,).

    Returns:
        Each figure's values, shape (r,).
    """
    counts = totals[:, : len(_COUNTS)]
    in_band, gap_in_band = np.split(totals[:, len(_COUNTS) :], 2, axis=1)
    figures = dict(zip(_COUNTS[1:], (counts[:, 1:] / counts[:, :1]).T, strict=True))
    # A band whose labels were never compared takes the average of those that were.
    known = shares * (in_band > 0)
    gap = (known * gap_in_band / np.maximum(in_band, 1)).sum(axis=1) / known.sum(axis=1)
    figures["age_floor"] = figures["age_gap"] / np.sqrt(2)
    figures["age_floor_reweighted"] = gap / np.sqrt(2)
    # Labels that differ more often than chance have no such e; chance is then the ceiling.
    figures["gender_ceiling"] = (1 + np.sqrt(np.maximum(1 - 2 * figures["gender_differs"], 0))) / 2
    return figures
