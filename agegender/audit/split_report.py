"""Is a split fair and tight: are its parts alike, and does any photo lie in two of them?

What a split by chance would have done is worked out, not simulated. Let each file of a dataset be dealt to
part i with probability pᵢ, whatever its copies do, and let a photo be there k times. Then

    the photo lies in two parts or more with probability  1 − Σ pᵢᵏ,
    a file is in the test part while a copy is in training with probability  p_test (1 − (1 − p_train)ᵏ⁻¹),

and sums of these over photos and files are what to expect.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from agegender.data.split import SPLITS, TEST_SHARE, VALIDATION_SHARE
from agegender.labels import AGE_BAND_NAMES, GENDERS, age_band, group_codes

SHARES: Final = (1 - VALIDATION_SHARE - TEST_SHARE, VALIDATION_SHARE, TEST_SHARE)
"""Of the files in each of `split.SPLITS`, as they are asked for."""

Quality = Literal["age", "gender", "ethnicity"]
QUALITIES: Final[tuple[Quality, ...]] = ("age", "gender", "ethnicity")
"""What parts of a split are compared by."""


@dataclass(frozen=True)
class Leak:
    """What a split by chance would do to the copies of a dataset, on average.

    Attributes:
        photos: Photos that are there more than once.
        files: Files that show them.
        torn: How many of these photos would lie in more than one part.
        leaked: How many test files would have a copy in the training part.
        share: The same as a share of all test files.
    """

    photos: int
    files: int
    torn: float
    leaked: float
    share: float


def expected_leak(copies: ArrayLike, shares: tuple[float, float, float] = SHARES) -> Leak:
    """Works out what a split by chance would leak.

    Args:
        copies: How many files show the photo of each of n files, itself included, shape (n,).
        shares: Of train, validation and test.

    Returns:
        What to expect.
    """
    per_file = np.asarray(copies, dtype=np.int64)
    several = per_file[per_file > 1].astype(np.float64)
    together = sum(share**several for share in shares)
    leaked = float(shares[2] * (1 - (1 - shares[0]) ** (several - 1)).sum())
    # A photo that is there k times is in the sum k times.
    photos, torn = (1 / several).sum(), ((1 - together) / several).sum()
    return Leak(
        round(float(photos)), len(several), float(torn), leaked, leaked / max(shares[2] * len(per_file), 1)
    )


def straddling_photos(groups: ArrayLike, splits: ArrayLike) -> int:
    """Counts the photos whose files lie in more than one part of a split.

    Args:
        groups: Group of duplicates of each of n files, shape (n,).
        splits: Part of each file, shape (n,).

    Returns:
        How many; a tight split has none.
    """
    parts = pd.Series(np.asarray(splits)).groupby(np.asarray(groups)).nunique()
    return int((parts > 1).sum())


def split_names(splits: pd.Series) -> tuple[str, ...]:
    """The parts of a split: train, validation and test, and dev where a source has one."""
    return (*SPLITS, "dev") if (splits == "dev").any() else SPLITS


def split_balance(faces: pd.DataFrame, quality: Quality) -> pd.DataFrame:
    """Compares the parts of a split by one label.

    Args:
        faces: One row a file with ``age`` (years), ``gender`` (code), ``group`` (words) and ``split``.
        quality: Which label; ages by band.

    Returns:
        One row a value of the label and a part, "dev" last and only where there is one: ``value`` (word),
        ``split``, ``files``, ``share`` (of the part's files, 0 to 1), and ``low`` and ``high``: between these
        the share of a part of that size would lie 19 times of 20 if it were drawn by chance from all files.
    """
    names, codes = _coded(faces, quality)
    parts = split_names(faces["split"])
    part = faces["split"].map({name: index for index, name in enumerate(parts)}).to_numpy(np.int64)
    counts = np.zeros((len(names), len(parts)), dtype=np.int64)
    np.add.at(counts, (codes, part), 1)
    sizes = np.maximum(counts.sum(axis=0), 1)
    overall = counts.sum(axis=1, keepdims=True) / max(len(faces), 1)
    # Drawing n of N without putting back: hypergeometric, whose spread is the binomial one times √(1 − n/N).
    reach = 1.96 * np.sqrt(overall * (1 - overall) / sizes * (1 - sizes / max(len(faces), 1)))
    index = pd.MultiIndex.from_product([names, parts], names=["value", "split"])
    return index.to_frame(index=False).assign(
        files=counts.ravel(),
        share=(counts / sizes).ravel(),
        low=np.clip(overall - reach, 0, 1).ravel(),
        high=np.clip(overall + reach, 0, 1).ravel(),
    )


def _coded(faces: pd.DataFrame, quality: Quality) -> tuple[tuple[str, ...], NDArray[np.int64]]:
    if quality == "age":
        return AGE_BAND_NAMES, age_band(faces["age"])
    if quality == "gender":
        return GENDERS, faces["gender"].to_numpy(np.int64)
    codes, names = group_codes(faces["group"], with_unknown=True)
    return names, codes
