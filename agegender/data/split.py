"""Train, validation and test: decided by what a file shows, not by where it stands.

Every photo gets a number in [0, 1) from a hash of its bytes, and the number decides. So the split needs
no random state and no list, is the same on every machine, and adding photos moves no other photo. All
copies of a photo take the number of the copy with the smallest digest, so they never straddle; only a new
near copy with a smaller digest can move the copies that were there.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from agegender.data.duplicates import Fingerprints, duplicate_groups, file_digests, fingerprint
from agegender.data.table import Dataset
from agegender.files import read_arrays
from agegender.progress import Progress

SPLITS: Final[tuple[str, ...]] = ("train", "validation", "test")
EXCLUDED: Final = "excluded"
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
    dataset: Dataset,
    *,
    prints: Fingerprints | None = None,
    groups: NDArray[np.int64] | None = None,
    progress: Progress | None = None,
) -> pd.Series:
    """Splits a dataset 80/10/10 by content, duplicates kept together.

    Args:
        dataset: The files.
        prints: Their fingerprints where they are already known; otherwise every file is read once.
        groups: Result of `duplicate_groups` for them, where already known.
        progress: Called after each file that is read.

    Returns:
        Aligned with ``dataset.table``: "train", "validation" or "test" where the source says nothing. Of a
        source's own "train" a tenth is "validation" and nothing "test"; its "dev" stays. `EXCLUDED` is a file
        whose photo, from another source, is in a split that is measured on.
    """
    if prints is None:
        prints = fingerprint(dataset, progress=progress)
    table = dataset.table
    given = table["given_split"].to_numpy(dtype=object)
    digests = np.array(prints.digests, dtype=object)
    names = given.copy()
    if groups is None:
        groups = duplicate_groups(prints)
    # Without other sources the split of what is split by content is the same as with them.
    for part in (given == "", given == "train"):
        rows = np.flatnonzero(part)
        own = groups if len(rows) == len(given) else duplicate_groups(prints.rows(rows))
        names[rows] = split_by_content(digests[rows].tolist(), own)
    names[(given == "train") & (names == "test")] = "train"
    if (given != "").any():
        names = _without_leaks(names, groups)
    return pd.Series(names, index=table.index, name="split", dtype="object")


@dataclass(frozen=True, eq=False)
class Partition:
    """A dataset taken apart: which photo each file shows, and its split.

    Attributes:
        digests: SHA-256 of each file's bytes, lower-case hex; empty where it could not be read.
        decodable: Whether its pixels can be decoded, bool of shape (n,).
        groups: Number of the photo it shows, int64 of shape (n,); copies have the same.
        names: Its split, as `assign_splits` says.
    """

    digests: list[str]
    decodable: NDArray[np.bool_]
    groups: NDArray[np.int64]
    names: pd.Series


def partition(dataset: Dataset, *, cache: Path | None = None, progress: Progress | None = None) -> Partition:
    """Reads every file and finds copies and splits.

    Args:
        dataset: The files.
        cache: Folder to keep the result in, by the files' contents: comparing 64,000 photos takes minutes.
        progress: Called after each file that is read.

    Returns:
        In the order of ``dataset.table``.
    """
    digests = file_digests(dataset)
    known = zip(digests, dataset.table["given_split"], strict=True)
    kept = None
    if cache is not None:
        key = hashlib.sha256("\n".join(f"{digest} {given}" for digest, given in known).encode()).hexdigest()
        kept = cache / f"{key[:24]}.npz"
        found = read_arrays(kept)
        parts = [found.get(name, np.empty(0)) for name in ("decodable", "groups", "names")]
        if all(part.shape == (len(digests),) for part in parts):
            names = pd.Series(parts[2].astype(object), index=dataset.table.index, name="split")
            return Partition(digests, parts[0], parts[1], names)
    prints = fingerprint(dataset, progress=progress)
    groups = duplicate_groups(prints)
    result = Partition(
        digests, prints.decodable, groups, assign_splits(dataset, prints=prints, groups=groups)
    )
    if kept is not None:
        kept.parent.mkdir(parents=True, exist_ok=True)
        part = kept.with_suffix(".part.npz")
        np.savez_compressed(
            part, decodable=result.decodable, groups=groups, names=result.names.to_numpy(dtype=str)
        )
        part.replace(kept)
    return result


def _without_leaks(names: NDArray[Any], groups: NDArray[np.int64]) -> NDArray[Any]:
    """Leaves out what is trained on here and measured on there: a photo of two sources, or of two parts."""
    rank = pd.Series(names).map({"train": 0, "validation": 1, "dev": 2, "test": 2}).to_numpy()
    highest = np.zeros(groups.max(initial=-1) + 1, dtype=np.int64)
    np.maximum.at(highest, groups, rank)
    return np.where(rank < highest[groups], EXCLUDED, names)


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
