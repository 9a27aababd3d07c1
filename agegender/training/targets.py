"""From labels to what a network is trained on: resolved conflicts, distributions, a teacher's answers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtr

from agegender.errors import ConfigError
from agegender.faces.face import Face
from agegender.files import paths_below
from agegender.labels import AGE_BANDS, MAX_AGE, age_band
from agegender.progress import Progress
from agegender.training.config import TrainingConfig
from agegender.training.teacher import teacher_answers

RANGE_NOISE_YEARS: Final = 0.5
RANGE_NOISE_SHARE: Final = 0.06
"""Of 47 byte-identical pairs in FairFace 14 were given different ranges: about what this much noise makes."""


def resolve_conflicts(table: pd.DataFrame, groups: NDArray[np.int64]) -> pd.DataFrame:
    """Settles what several copies of one photo say, for training.

    Copies are kept, being different crops and encodings of one face, but all take one label: the mean of
    their ages (of ranges the mean of each end), and the gender most of them have. Where genders are even, the
    rows' gender is NaN: they teach age only, and a network that answers gender, alone or beside age, is not
    trained on them. Validation and test keep their labels as they are.

    Args:
        table: Rows with ``age``, ``age_min``, ``age_max`` and ``gender``, of the training split.
        groups: Group of each row, shape (n,).

    Returns:
        A copy with these as floats.
    """
    resolved = table.copy()
    for column in ("age", "age_min", "age_max"):
        resolved[column] = table[column].groupby(groups).transform("mean").astype(float)
    share = table["gender"].groupby(groups).transform("mean").astype(float)
    resolved["gender"] = np.where(share == 0.5, np.nan, np.round(share))
    return resolved


def age_distribution_targets(ages: ArrayLike, sigma: float) -> NDArray[np.float32]:
    """Label distributions: a discrete Gaussian around each labelled age.

    Gao et al., "Deep Label Distribution Learning with Label Ambiguity" (2017), equation 3.

    Args:
        ages: Years, shape (n,).
        sigma: Standard deviation in years.

    Returns:
        float32 of shape (n, MAX_AGE + 1), rows summing to 1.
    """
    distance = np.arange(MAX_AGE + 1)[None, :] - np.asarray(ages, dtype=np.float64)[:, None]
    weights = np.exp(-0.5 * (distance / sigma) ** 2)
    return (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)


def age_range_targets(low: ArrayLike, high: ArrayLike) -> NDArray[np.float32]:
    """How likely each year would have been given a label that is a range of years.

    Those who label by range err most at its ends. Someone of age k is seen as k plus normal noise, whose
    standard deviation grows with the age: `RANGE_NOISE_YEARS` + `RANGE_NOISE_SHARE` · k.

    Args:
        low: Lowest labelled year, shape (n,).
        high: Highest labelled year, included, shape (n,); ``MAX_AGE`` is open above.

    Returns:
        float32 of shape (n, MAX_AGE + 1), each 0 to 1; rows sum to about the range's years.
    """
    years = np.arange(MAX_AGE + 1, dtype=np.float64)[None, :]
    noise = RANGE_NOISE_YEARS + RANGE_NOISE_SHARE * years
    first = np.asarray(low, dtype=np.float64)[:, None] - 0.5
    last = np.asarray(high, dtype=np.float64)[:, None] + 0.5
    below = np.where(first <= 0, 0.0, ndtr((first - years) / noise))
    upto = np.where(last > MAX_AGE, 1.0, ndtr((last - years) / noise))
    return np.asarray(upto - below, dtype=np.float32)


def age_ends(config: TrainingConfig, table: pd.DataFrame) -> NDArray[np.float64]:
    """Lowest and highest year of each label, both included; of what is open above, as far as the recipe says.

    Args:
        config: The recipe.
        table: Rows with ``age_min`` and ``age_max``.

    Returns:
        Years, shape (n, 2).
    """
    low, high = table[["age_min", "age_max"]].to_numpy(np.float64).T
    return np.stack(
        [low, np.where(low < high, np.maximum(low, np.minimum(high, config.oldest)), high)], axis=1
    )


def make_targets(
    config: TrainingConfig,
    table: pd.DataFrame,
    outputs: list[str],
    folder: Path | None = None,
    *,
    faces: Sequence[Face | None] | None = None,
    teacher_cache: Path | None = None,
    progress: Progress | None = None,
) -> dict[str, NDArray[np.float32]]:
    """What each output of a network should answer for each row.

    Args:
        config: The recipe.
        table: Rows with ``file``, ``age``, ``age_min``, ``age_max`` and ``gender``.
        outputs: Names from `agegender.models.system.OUTPUTS`.
        folder: Where the files are, when the recipe's teacher should be asked; ``None`` for labels alone.
        faces: Where the faces are in them; see `teacher_answers`.
        teacher_cache: Folder that keeps the teacher's answers; see `teacher_answers`.
        progress: Called as the teacher answers.

    Returns:
        float32 arrays of first dimension n: ``age_distribution`` (n, 117), ``age_range`` (n, 9),
        ``age`` (n, 2): lowest and highest year, ``female`` (n, 1).

    Raises:
        UnknownModelError: There is no such teacher.
        WeightsNotFoundError: It has no weights here.
        ConfigError: It answers none of the outputs, or age ranges are to be learned from other ranges.
    """
    ages = table["age"].to_numpy(np.float64)
    ends = age_ends(config, table)
    ranged = ends[:, 0] < ends[:, 1]
    if ranged.any() and "age_range" in outputs:
        raise ConfigError("the nine age ranges are learned from exact ages, and some labels here are ranges")
    bands = age_band(ages)
    distributions = age_distribution_targets(ages, config.age_sigma)
    distributions[ranged] = age_range_targets(*ends[ranged].T)
    everything: dict[str, NDArray[Any]] = {
        "age_distribution": distributions,
        "age_range": np.eye(len(AGE_BANDS))[bands],
        "age": ends,
        "female": table["gender"].to_numpy(np.float64)[:, None],
    }
    if folder is not None and config.teacher is not None:
        files = paths_below(folder, table["file"])
        taught = teacher_answers(config.teacher, files, faces=faces, cache=teacher_cache, progress=progress)
        share, common = config.teacher_weight, set(outputs) & taught.keys()
        if not common:
            raise ConfigError(f"teacher {config.teacher!r} answers none of {', '.join(outputs)}")
        for name in common:
            mixed = (1 - share) * everything[name] + share * taught[name]
            # A range is no distribution that could be mixed with one: its rows keep their label.
            keeps = ranged[:, None] & (name != "female")
            everything[name] = np.where(keeps, everything[name], mixed)
    return {name: everything[name].astype(np.float32) for name in outputs}


def balance_weights(config: TrainingConfig, table: pd.DataFrame) -> NDArray[np.float32] | None:
    """Weight of each chip in the loss under the recipe's ``balance``.

    The inverse square root lies between no correction, which neglects the rare, and the inverse, which
    lets a hundred old people outvote ten thousand of thirty.

    Args:
        config: The recipe.
        table: The training rows, with ``age`` and ``gender``.

    Returns:
        float32 of shape (n,) with mean 1, or ``None`` where the recipe does not balance.
    """
    if config.balance == "none":
        return None
    bands = pd.Series(age_band(table["age"]), index=table.index)
    keys = {"age": [bands], "gender": [table["gender"]], "both": [bands, table["gender"]]}[config.balance]
    counts = bands.groupby(keys, dropna=False).transform("size").to_numpy(np.float64)
    weights = 1 / np.sqrt(counts)
    return np.asarray(weights / weights.mean(), dtype=np.float32)
