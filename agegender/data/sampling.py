"""How often each picture comes in an epoch: by source, age, gender and group, as stated weights say."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from agegender.errors import ConfigError
from agegender.labels import GENDERS, MAX_AGE


@dataclass(frozen=True)
class SamplingRule:
    """Pictures that match come ``weight`` times as often; a picture's weight is the product of its rules'.

    Attributes:
        weight: Factor of at least 0.
        source: Name of a source, or ``None`` for all.
        group: The source's word for a group, or ``None`` for all.
        gender: "male" or "female", or ``None`` for both.
        age_from, age_to: Years, both included: the middle of a range counts.
    """

    weight: float
    source: str | None = None
    group: str | None = None
    gender: str | None = None
    age_from: int = 0
    age_to: int = MAX_AGE

    def __post_init__(self) -> None:
        number = isinstance(self.weight, (int, float)) and not isinstance(self.weight, bool)
        if not number or not 0 <= self.weight <= sys.float_info.max:
            raise ConfigError(f"a sampling weight must be a number of at least 0, not {self.weight!r}")
        ages = (self.age_from, self.age_to)
        whole = all(isinstance(age, int) and not isinstance(age, bool) for age in ages)
        if not whole or not 0 <= self.age_from <= self.age_to:
            raise ConfigError(f"ages {ages[0]!r} to {ages[1]!r} of a sampling rule are no range of years")
        for name in (self.source, self.group):
            if name is not None and not isinstance(name, str):
                raise ConfigError(f"source and group of a sampling rule are text, not {name!r}")
        if self.gender is not None and self.gender not in GENDERS:
            raise ConfigError(f"gender {self.gender!r} of a sampling rule is none of {', '.join(GENDERS)}")

    def matches(self, table: pd.DataFrame) -> NDArray[np.bool_]:
        """Which rows of a dataset's table it is about, shape (n,)."""
        matching = (table["age"] >= self.age_from) & (table["age"] <= self.age_to)
        if self.source is not None:
            matching &= table["source"] == self.source
        if self.group is not None:
            matching &= table["group"] == self.group
        if self.gender is not None:
            matching &= table["gender"] == GENDERS.index(self.gender)
        return matching.to_numpy(dtype=bool)


def sampling_shares(
    rules: Sequence[SamplingRule], table: pd.DataFrame, epoch_chips: int | None
) -> NDArray[np.float64] | None:
    """How often each row is wanted in an epoch.

    Args:
        rules: Of the recipe.
        table: n training rows.
        epoch_chips: How many pictures an epoch has; ``None`` for as many as there are rows, each rule then
            moving shares between them.

    Returns:
        Shape (n,), summing to the pictures of an epoch; ``None`` where there is no rule and no such number.

    Raises:
        ConfigError: A rule matches no row, or nothing is left.
    """
    if not rules and epoch_chips is None:
        return None
    weights = np.ones(len(table))
    for rule in rules:
        matching = rule.matches(table)
        if not matching.any():
            raise ConfigError(f"no training picture matches the sampling rule {dataclasses.asdict(rule)}")
        weights[matching] *= rule.weight
    if weights.sum() <= 0:
        raise ConfigError("the sampling rules leave no picture to train on")
    return weights * ((epoch_chips or len(table)) / weights.sum())


def sample_rows(shares: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.int64]:
    """Systematic sampling: row i comes ⌊share⌋ or ⌈share⌉ times, on average its share.

    That is where shares sum to a whole number; others are brought to the nearest one. Madow, "On the theory
    of systematic sampling, II" (1949): one random start, equal steps along the summed shares, the rows in
    random order.

    Args:
        shares: Shape (n,), each at least 0.
        rng: Where all randomness comes from.

    Returns:
        Row numbers, shape (rounded sum of shares,).
    """
    order = rng.permutation(len(shares))
    sums = np.cumsum(shares[order])
    wanted = round(float(sums[-1]))
    points = (np.arange(wanted) + rng.random()) * (sums[-1] / wanted)
    return order[np.searchsorted(sums, points, side="right").clip(max=len(shares) - 1)].astype(np.int64)
