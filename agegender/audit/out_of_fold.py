"""What to expect of every file of a dataset, from models that saw neither the file nor a copy of it.

A network trained on a photo has learned its label, right or wrong, and cannot doubt it. Here features come
from a network that never saw the dataset, and only closed-form linear models on top learn its labels, in
folds: each fold's files get their answers from a model of the other folds.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.linalg import cho_factor, cho_solve
from scipy.optimize import minimize
from scipy.special import expit

from agegender.audit.suspects import Predictions
from agegender.errors import DatasetError
from agegender.labels import MAX_AGE

FOLDS: Final = 5
LEAST_FILES: Final = 500
"""Fewer files do not show what is usual."""

COVERAGE: Final = 0.9
"""Share of the labelled ages that intervals hold."""

_FILES_PER_KNOT: Final = 500
_PENALTY: Final = 0.06
"""Of the ridge regression, a file: on UTKFace anything from half to three times as much does as well."""


def group_folds(groups: NDArray[np.int64], folds: int = FOLDS, *, seed: int = 0) -> NDArray[np.int64]:
    """Deals groups out to folds at random.

    Args:
        groups: Group of each of n files, 0-based; a group stays together.
        folds: How many.
        seed: Of the draw.

    Returns:
        Fold of each file, int64 of shape (n,), 0-based.
    """
    dealt = np.random.default_rng(seed).permutation(int(groups.max()) + 1) % folds
    return np.asarray(dealt[groups], dtype=np.int64)


def ridge_out_of_fold(
    features: NDArray[np.floating[Any]],
    targets: NDArray[np.floating[Any]],
    folds: NDArray[np.int64],
    *,
    penalty: float = _PENALTY,
) -> NDArray[np.float64]:
    """Ridge regression, each fold predicted by the model of the others.

    Args:
        features: Shape (n, d); brought to mean 0 and standard deviation 1 here.
        targets: Shape (n, t).
        folds: Fold of each row, shape (n,).
        penalty: Weight of the squared coefficients against the mean squared error; the intercept has none.

    Returns:
        float64 of shape (n, t).
    """
    centred = np.asarray(features, dtype=np.float32) - features.mean(axis=0, dtype=np.float64)
    scaled = (centred / (centred.std(axis=0) + 1e-6)).astype(np.float32)
    rows = [np.flatnonzero(folds == fold) for fold in np.unique(folds)]
    parts = [scaled[row] for row in rows]
    # Sums over all rows less those over the fold are sums over the others: each product is made once.
    squares = [part.T @ part for part in parts]
    means = [part.sum(axis=0, dtype=np.float64) for part in parts]
    products = [part.T @ targets[row].astype(np.float32) for part, row in zip(parts, rows, strict=True)]
    sums = [targets[row].sum(axis=0, dtype=np.float64) for row in rows]
    predicted = np.empty(targets.shape, dtype=np.float64)
    for fold, row in enumerate(rows):
        n = len(features) - len(row)
        x_mean, y_mean = (sum(means) - means[fold]) / n, (sum(sums) - sums[fold]) / n
        gram = (sum(squares) - squares[fold]).astype(np.float64) - n * np.outer(x_mean, x_mean)
        gram[np.diag_indices_from(gram)] += penalty * n
        right = (sum(products) - products[fold]).astype(np.float64) - n * np.outer(x_mean, y_mean)
        coefficients = cho_solve(cho_factor(gram, overwrite_a=True, check_finite=False), right)
        predicted[row] = (parts[fold] - x_mean) @ coefficients + y_mean
    return predicted


def logistic_fit(columns: NDArray[np.float64], positive: ArrayLike) -> NDArray[np.float64]:
    """Probabilities of a logistic regression, of the rows it is fitted on.

    On one column of scores this is Platt scaling ("Probabilistic outputs for support vector machines", 1999).

    Args:
        columns: Few against the rows, shape (n, c); an intercept is added.
        positive: Which rows are positive, shape (n,).

    Returns:
        Probabilities of being positive, float64 of shape (n,).
    """
    truth = np.asarray(positive, dtype=np.float64)
    design = np.column_stack([columns, np.ones(len(columns))])

    def loss(weights: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        odds = design @ weights
        value = np.mean(np.logaddexp(0, odds) - truth * odds)
        return float(value), (expit(odds) - truth) @ design / len(design)

    weights = minimize(loss, np.zeros(design.shape[1]), jac=True, method="L-BFGS-B").x
    return np.asarray(expit(design @ weights), dtype=np.float64)


def residual_intervals(
    labelled: NDArray[np.float64], predicted: NDArray[np.float64], *, coverage: float = COVERAGE
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Intervals from the errors of files of about the same predicted age.

    Args:
        labelled: Years, shape (n,).
        predicted: Out-of-fold predictions of them, years, shape (n,).
        coverage: Share of labels to hold, with as many misses below as above.

    Returns:
        Lower and upper ends in years, shape (n,) each, within 0 to ``MAX_AGE``, the prediction between them.
    """
    order = np.argsort(predicted, kind="stable")
    bins = np.array_split(order, max(1, len(order) // _FILES_PER_KNOT))
    knots = [np.median(predicted[rows]) for rows in bins]
    errors = [
        np.quantile((labelled - predicted)[rows], [(1 - coverage) / 2, (1 + coverage) / 2]) for rows in bins
    ]
    below, above = np.array(errors).T
    low = predicted + np.minimum(np.interp(predicted, knots, below), 0)
    high = predicted + np.maximum(np.interp(predicted, knots, above), 0)
    return np.clip(low, 0, MAX_AGE), np.clip(high, 0, MAX_AGE)


def predict_out_of_fold(
    features: NDArray[np.floating[Any]],
    ages: ArrayLike,
    genders: ArrayLike,
    groups: NDArray[np.int64],
    *,
    seed: int = 0,
) -> Predictions:
    """Predicts every file without having seen its photo.

    Age is regressed as √(years + 1), whose errors are about as large for old people as for children. Two
    things are fitted on the out-of-fold answers of all files, which a few numbers cannot memorise: the
    interval, on the errors of files of about the same predicted age; and the probability of *female*, a
    logistic function of the regressed gender whose slope depends on the predicted age, because a baby's face
    says less.

    Args:
        features: Shape (n, d); a row that is not finite belongs to a file that could not be read.
        ages: Labelled years, shape (n,).
        genders: Gender codes, shape (n,).
        groups: Group of duplicates of each file, shape (n,): a photo's copies share a fold.
        seed: Of the folds.

    Returns:
        Predictions for the n files; NaN where there are no features.

    Raises:
        DatasetError: There are fewer than `LEAST_FILES` files with features.
    """
    usable = np.flatnonzero(np.isfinite(features).all(axis=1))
    if len(usable) < LEAST_FILES:
        raise DatasetError(
            f"{len(usable)} readable files are too few to tell usual labels from suspicious ones; "
            f"{LEAST_FILES} are needed"
        )
    years = np.asarray(ages, dtype=np.float64)[usable]
    female = np.asarray(genders)[usable] == 1
    targets = np.stack([np.sqrt(years + 1), np.where(female, 1.0, -1.0)], axis=1)
    answers = ridge_out_of_fold(features[usable], targets, group_folds(groups[usable], seed=seed))
    predicted = np.clip(np.maximum(answers[:, 0], 1) ** 2 - 1, 0, MAX_AGE)
    low, high = residual_intervals(years, predicted)
    size = np.log1p(predicted)
    probability = logistic_fit(np.stack([answers[:, 1], answers[:, 1] * size, size], axis=1), female)
    filled = np.full((4, len(features)), np.nan)
    filled[:, usable] = np.stack([predicted, low, high, probability])
    return Predictions(*filled)
