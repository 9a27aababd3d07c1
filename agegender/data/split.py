"""Train, validation and test: decided by what a file shows, not by where it stands.

Every photo gets a number in [0, 1) from a hash of its bytes, and the number decides. So the split needs
no random state and no list, is the same on every machine, and adding photos moves no other photo. All
copies of a photo take the number of the copy with the smallest digest, so they never straddle; only a new
near copy with a smaller digest can move the copies that were there.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from agegender.data.duplicates import (
    NEAR_DUPLICATE_BITS,
    Fingerprints,
    duplicate_pairs,
    file_digests,
    fingerprint,
    group_pairs,
)
from agegender.data.kept import read_arrays, write_arrays
from agegender.data.table import Dataset
from agegender.faces.face import Face
from agegender.progress import Progress

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
    dataset: Dataset,
    *,
    prints: Fingerprints | None = None,
    pairs: NDArray[np.int64] | None = None,
    progress: Progress | None = None,
) -> pd.Series:
    """Splits a dataset 80/10/10 by content, duplicates kept together.

    What has no split of its own is split by itself, and so is what sources name "train": UTKFace is split in
    the same way whatever is read beside it.

    Args:
        dataset: The files.
        prints: Their fingerprints where they are already known; otherwise every file is read once.
        pairs: Result of `duplicate_pairs` for them, by the whole picture, where already known.
        progress: Called after each file that is read.

    Returns:
        Aligned with ``dataset.table``: "train", "validation" or "test" where the source says nothing. Of a
        source's own "train" a tenth is "validation" and nothing "test"; its "dev" stays.
    """
    if prints is None:
        prints = fingerprint(dataset, progress=progress)
    if pairs is None:
        pairs = duplicate_pairs(prints, progress=progress)
    given = dataset.table["given_split"].to_numpy(dtype=object)
    names, digests = given.copy(), np.array(prints.digests, dtype=object)
    for part in (given == "", given == "train"):
        place = np.cumsum(part) - 1
        inside = place[pairs[:2, part[pairs[0]] & part[pairs[1]]]]
        own = digests[part].tolist()
        names[part] = split_by_content(own, group_pairs(own, inside))
    names[(given == "train") & (names == "test")] = "train"
    return pd.Series(names, index=dataset.table.index, name="split", dtype="object")


@dataclass(frozen=True, eq=False)
class Partition:
    """A dataset taken apart: which photo each file shows, and its split.

    Attributes:
        digests: SHA-256 of each file's bytes, lower-case hex; empty where it could not be read.
        decodable: Whether its pixels can be decoded, bool of shape (n,).
        groups: Number of the photo it shows, int64 of shape (n,); copies have the same.
        names: Its split, as `assign_splits` says.
        leaked: Whether it must not be learned from, because its photo is also, from another source or in
            another part of its own, in a split that is measured on: bool of shape (n,).
    """

    digests: list[str]
    decodable: NDArray[np.bool_]
    groups: NDArray[np.int64]
    names: pd.Series
    leaked: NDArray[np.bool_]


def partition(
    dataset: Dataset,
    *,
    faces: Sequence[Face | None] | None = None,
    cache: Path | None = None,
    progress: Progress | None = None,
) -> Partition:
    """Reads every file and finds copies and splits.

    Args:
        dataset: The files.
        faces: Where they are in them, as `agegender.data.landmarks.find_faces` says of all: copies that are
            cut differently are found by them, which changes ``groups`` and ``leaked`` and no split.
        cache: Folder to keep the result in, by the files' contents: comparing 64,000 photos takes a minute.
        progress: Called as files are read and compared.

    Returns:
        In the order of ``dataset.table``.
    """
    digests = file_digests(dataset)
    kept = None if cache is None else cache / f"{_key(dataset, digests, faces)}.npz"
    found = read_arrays(kept)
    if found.keys() != {"decodable", "groups", "names"}:
        prints = fingerprint(dataset, faces=faces, progress=progress)
        pairs = [duplicate_pairs(prints, progress=progress)]
        names = assign_splits(dataset, prints=prints, pairs=pairs[0])
        if faces is not None:
            pairs.append(duplicate_pairs(prints, by_face=True, progress=progress))
        groups = group_pairs(digests, *pairs)
        found = {"decodable": prints.decodable, "groups": groups, "names": names.to_numpy(dtype=str)}
        if kept is not None:
            write_arrays(kept, found)
    names = pd.Series(found["names"].astype(object), index=dataset.table.index, name="split")
    return Partition(digests, found["decodable"], found["groups"], names, leaks(names, found["groups"]))


def leaks(names: ArrayLike, groups: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Says which files show a photo that is in a split which is looked at later, and so must not be learned.

    Args:
        names: Split of each of n files.
        groups: Number of the photo of each, shape (n,).

    Returns:
        bool of shape (n,): of "train" with a copy in another split, and of "validation" with one in "dev" or
        "test".
    """
    order = {"train": 0, "validation": 1, "dev": 2, "test": 2}
    rank = np.array([order[name] for name in np.asarray(names).tolist()], dtype=np.int64)
    latest = np.zeros(groups.max(initial=-1) + 1, dtype=np.int64)
    np.maximum.at(latest, groups, rank)
    return np.asarray(rank < latest[groups])


def _key(dataset: Dataset, digests: list[str], faces: Sequence[Face | None] | None) -> str:
    """Names all that a partition follows from."""
    key = hashlib.sha256(f"{SPLIT_SALT} {NEAR_DUPLICATE_BITS} {faces is not None}".encode())
    kinds = dataset.table[["given_split", "aligned", "source"]].itertuples(index=False)
    for digest, kind, face in zip(digests, kinds, faces or [None] * len(digests), strict=True):
        key.update(f"{digest} {tuple(kind)} {face and face.landmarks}\n".encode())
    return key.hexdigest()[:24]


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
