"""Files that look most alike to a network and are not known as copies: where duplicates may have been missed.

A difference hash loses a photo that was cropped differently or painted over; features of a network do not,
but they take two photos of one person, or two babies, for alike too. So this finds pairs to look at, and
decides nothing.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

MOST_ALIKE: Final = 60
_ROWS: Final = 1024


def most_alike(
    features: NDArray[np.floating[Any]], groups: NDArray[np.int64], *, count: int = MOST_ALIKE
) -> pd.DataFrame:
    """Finds the pairs of files with the most similar features, known copies left out.

    Args:
        features: Shape (n, d); rows that are not finite take no part.
        groups: Group of duplicates of each file, shape (n,).
        count: How many pairs.

    Returns:
        At most ``count`` rows, the most alike first: ``first`` < ``second`` (rows of ``features``) and
        ``similarity``, the cosine of the features brought to mean 0 and standard deviation 1.
    """
    usable = np.flatnonzero(np.isfinite(features).all(axis=1))
    scaled = np.asarray(features[usable], dtype=np.float32)
    scaled = (scaled - scaled.mean(axis=0)) / (scaled.std(axis=0) + 1e-6)
    scaled /= np.linalg.norm(scaled, axis=1, keepdims=True) + 1e-6
    known = groups[usable]
    best = np.zeros((3, 0))
    for start in range(0, len(usable), _ROWS):
        block = scaled[start : start + _ROWS]
        cosine = block @ scaled[start:].T
        # Copies, the file itself among them; and what an earlier row of the block has already been asked.
        cosine[known[start : start + _ROWS, None] == known[None, start:]] = -np.inf
        cosine[np.tril_indices(len(block))] = -np.inf
        full = best.shape[1] == count
        least = best[2, -1] if full else _nth_largest(cosine, count)
        i, j = np.nonzero(cosine >= max(least, -1.0))
        best = np.hstack([best, [start + i, start + j, cosine[i, j]]])
        best = best[:, np.argsort(-best[2], kind="stable")[:count]]
    first, second = usable[best[:2].astype(np.int64)]
    return pd.DataFrame({"first": first, "second": second, "similarity": best[2]})


def _nth_largest(values: NDArray[np.float32], n: int) -> float:
    return float(np.partition(values, -n, axis=None)[-n]) if values.size > n else -np.inf
