"""Train, validation and test: decided by what a file shows, not by where it stands.

Every photo gets a number in [0, 1) from a hash of its bytes, and the number decides. So the split needs
no random state and no list, is the same on every machine, and adding photos moves no other photo. All
copies of a photo take the number of the copy with the smallest digest, so they never straddle; only a new
near copy with a smaller digest can move the copies that were there.
"""

from __future__ import annotations

import hashlib
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from agegender.data.duplicates import Fingerprints, Progress, duplicate_groups, fingerprint
from agegender.data.table import Dataset

SPLITS: Final[tuple[str, ...]] = ("train", "validation", "test")
VALIDATION_SHARE: Final = 0.1
TEST_SHARE: Final = 0.1

SPLIT_SALT: Final = "agegender-split-133"
"""Mixed into each digest. A hash cannot stratify, but it can be chosen: of many salts, this one leaves the
shares of age bands, genders and ethnicity codes on UTKFace most alike (tools/once/choose_split_salt.py)."""


def split_position(digest: str, salt: str = SPLIT_SALT) -> float:
    """Where a digest falls in [0, 1): the first 8 bytes of SHA-256 over salt and digest."""
    raw = hashlib.sha256(f"{salt}:{digest}".encode("ascii")).digest()
    return int.from_bytes(raw[:8], "big") / 2**64


def _split_name(position: float) -> str:
    if position < TEST_SHARE:
        return "test"
    return "validation" if position < TEST_SHARE + VALIDATION_SHARE else "train"


def split_by_content(digests: list[str], groups: NDArray[np.int64], salt: str = SPLIT_SALT) -> list[str]:
    """Assigns each file to a split.

    Args:
        digests: SHA-256 hex of each of n files.
        groups: Group number of each file, int64 of shape (n,); a group stays together.
        salt: See `SPLIT_SALT`.

    Returns:
        "train", "validation" or "test" for each file.
    """
    key: dict[int, str] = {}
    for digest, group in zip(digests, groups.tolist(), strict=True):
        key[group] = min(key.get(group, digest), digest)
    names = {group: _split_name(split_position(digest, salt)) for group, digest in key.items()}
    return [names[group] for group in groups.tolist()]


def assign_splits(
    dataset: Dataset, *, prints: Fingerprints | None = None, progress: Progress | None = None
) -> pd.Series:
    """Splits a dataset 80/10/10 by content, duplicates kept together.

    Args:
        dataset: The files.
        prints: Their fingerprints where they are already known; otherwise every file is read once.
        progress: Called after each file that is read.

    Returns:
        "train", "validation" or "test", aligned with ``dataset.table``.
    """
    if prints is None:
        prints = fingerprint(dataset, progress=progress)
    names = split_by_content(prints.digests, duplicate_groups(prints))
    return pd.Series(names, index=dataset.table.index, name="split", dtype="object")


def split_hash(digests: list[str], splits: pd.Series) -> str:
    """One hash for a whole split, to state in a model card.

    Args:
        digests: SHA-256 hex of each file.
        splits: Split of each file, aligned.

    Returns:
        SHA-256 hex over the sorted lines ``digest split``; the same for any order and any file names.
    """
    lines = sorted(f"{digest} {split}" for digest, split in zip(digests, splits, strict=True))
    return hashlib.sha256("\n".join(lines).encode("ascii")).hexdigest()
