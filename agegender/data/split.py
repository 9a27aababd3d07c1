"""Train, validation and test: decided by what a file shows, not by where it stands.

Every photo gets a number in [0, 1) from a hash of its bytes, and the number decides. So the split needs
no random state and no list, is the same on every machine, and adding other photos moves none. All copies of
a photo take the number of the copy with the smallest digest, so they never straddle. A new near copy can
therefore move copies that were there: where its digest is smaller than theirs, and where it lies near to two
photos that were taken for different ones, which it makes one. `split_hash` tells.

The number also halves the validation split: one half selects the epoch that is kept, the other calibrates
what the kept network answers. A calibration is only as good as the answers it is fitted on are like fresh
ones, and those on the chips that chose the network are not.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from agegender.data.duplicates import Fingerprints, duplicate_groups, file_digests, fingerprint
from agegender.data.table import Dataset
from agegender.errors import DatasetError
from agegender.files import paths_below, read_arrays
from agegender.labels import GENDERS, NetworkTask
from agegender.progress import Progress

SPLITS: Final[tuple[str, ...]] = ("train", "validation", "test")
EXCLUDED: Final = "excluded"
HALVES: Final[tuple[str, ...]] = ("selection", "calibration")
"""Of the validation split: what chooses the epoch, and what the calibration is fitted on."""

VALIDATION_SHARE: Final = 0.1
TEST_SHARE: Final = 0.1

SPLIT_SALT: Final = "agegender-split-133"
"""Mixed into each digest. A hash cannot stratify, but it can be chosen: of many salts, this one leaves the
shares of age bands, genders and ethnicity codes on UTKFace most alike (tools/once/choose_split_salt.py)."""


def split_position(digest: str, salt: str = SPLIT_SALT) -> float:
    """Where a digest falls in [0, 1): the first 8 bytes of SHA-256 over salt and digest."""
    raw = hashlib.sha256(f"{salt}:{digest}".encode("ascii")).digest()
    return int.from_bytes(raw[:8], "big") / 2**64


def _use(position: float) -> str:
    if position < TEST_SHARE:
        return "test"
    if position < TEST_SHARE + VALIDATION_SHARE:
        return HALVES[position >= TEST_SHARE + VALIDATION_SHARE / 2]
    return "train"


def split_by_content(digests: list[str], groups: NDArray[np.int64], salt: str = SPLIT_SALT) -> list[str]:
    """Assigns each file to a split.

    Args:
        digests: SHA-256 hex of each of n files.
        groups: Group number of each file, int64 of shape (n,); a group stays together.
        salt: See `SPLIT_SALT`.

    Returns:
        "train", "validation" or "test" for each file.
    """
    return ["validation" if use in HALVES else use for use in _uses_by_content(digests, groups, salt)]


def _uses_by_content(digests: list[str], groups: NDArray[np.int64], salt: str = SPLIT_SALT) -> list[str]:
    key: dict[int, str] = {}
    for digest, group in zip(digests, groups.tolist(), strict=True):
        key[group] = min(key.get(group, digest), digest)
    uses = {group: _use(split_position(digest, salt)) for group, digest in key.items()}
    return [uses[group] for group in groups.tolist()]


@dataclass(frozen=True, eq=False)
class Partition:
    """A dataset taken apart: which photo each file shows, and what it is used for.

    Attributes:
        dataset: The files.
        digests: SHA-256 of each file's bytes, lower-case hex; empty where it could not be read.
        decodable: Whether its pixels can be decoded, bool of shape (n,). Files that cannot are in a split, so
            that the split does not depend on a decoder, but never among `rows`.
        groups: Number of the photo it shows, int64 of shape (n,); copies have the same.
        uses: Its split, with that of validation named after its half: "train", "selection", "calibration",
            "test"; "dev" where its source says so; or `EXCLUDED`, a file whose photo, from another source, is
            in a split that is measured on. Object of shape (n,).
    """

    dataset: Dataset
    digests: list[str]
    decodable: NDArray[np.bool_]
    groups: NDArray[np.int64]
    uses: NDArray[Any]

    @property
    def names(self) -> pd.Series:
        """The split of each file, aligned with ``dataset.table``; both halves are "validation"."""
        names = np.where(np.isin(self.uses, HALVES), "validation", self.uses)
        return pd.Series(names, index=self.dataset.table.index, name="split", dtype="object")

    @property
    def hash(self) -> str:
        """See `split_hash`."""
        return split_hash(self.digests, self.names)

    @property
    def labels_hash(self) -> str:
        """SHA-256 hex over content and labels of all files, the same for any order and any file names."""
        labels = self.dataset.table[["age_min", "age_max", "gender"]].to_numpy()
        return _hash_of_lines(f"{digest} {row}" for digest, row in zip(self.digests, labels, strict=True))

    @property
    def undecodable(self) -> list[str]:
        """The files whose pixels cannot be decoded."""
        files: list[str] = self.dataset.table["file"][~self.decodable].tolist()
        return files

    def sizes(self) -> Mapping[str, int]:
        """How many files each split has, and each half of validation."""
        counts = pd.concat([self.names, pd.Series(self.uses[np.isin(self.uses, HALVES)])]).value_counts()
        return {str(name): int(size) for name, size in counts.items()}

    def rows(self, name: str, task: NetworkTask | None = None) -> pd.DataFrame:
        """The decodable files of one use.

        Args:
            name: A split, or one of `HALVES`.
            task: What a network learns from the rows, or is measured at.

        Returns:
            Rows of ``dataset.table``, in its order.

        Raises:
            DatasetError: There are none, or what the task asks about is the same of all.
        """
        wanted = np.isin(self.uses, HALVES) if name == "validation" else self.uses == name
        rows = self.dataset.table[wanted & self.decodable]
        if rows.empty:
            raise DatasetError(
                f"of {len(self.uses)} chips in {self.dataset.folder} none is in the {name} split; "
                "a few hundred are needed"
            )
        if task is not None:
            check_labels(rows, task, f"of the {name} split in {self.dataset.folder}")
        return rows

    def files(self, name: str) -> list[Path]:
        """Paths of `rows`."""
        return paths_below(self.dataset.folder, self.rows(name)["file"])


def check_labels(rows: pd.DataFrame, task: NetworkTask, which: str) -> None:
    """Refuses rows from which a task can be neither learnt nor measured, as one answer suits them all.

    Args:
        rows: With ``age`` and ``gender``.
        task: What is to be learnt or measured.
        which: Which rows these are, for the message.

    Raises:
        DatasetError: All have the same gender or, for a network of age, the same age.
    """
    for column in ("age", "gender"):
        labels = rows[column].dropna().unique()
        if task in (column, "both") and len(labels) == 1:
            word = GENDERS[int(labels[0])] if column == "gender" else f"{labels[0]:g} years old"
            raise DatasetError(
                f"all {len(rows)} chips {which} are labelled {word}: there is nothing to tell apart"
            )


def partition(
    dataset: Dataset,
    *,
    prints: Fingerprints | None = None,
    groups: NDArray[np.int64] | None = None,
    cache: Path | None = None,
    progress: Progress | None = None,
) -> Partition:
    """Splits a dataset 80/10/10 by content, duplicates kept together.

    Args:
        dataset: The files.
        prints: Their fingerprints where they are already known; otherwise every file is read once.
        groups: Result of `duplicate_groups` for them, where already known.
        cache: Folder to keep the result in, by the files' contents: comparing 64,000 photos takes minutes.
        progress: Called after each file that is read.

    Returns:
        In the order of ``dataset.table``. Where the source says nothing of a split the content decides. Of a
        source's own "train" a tenth is "validation" and nothing "test"; its "dev" stays.
    """
    digests = file_digests(dataset) if prints is None else prints.digests
    given = dataset.table["given_split"].to_numpy(dtype=object)
    kept = None
    if cache is not None:
        known = "\n".join(f"{digest} {split}" for digest, split in zip(digests, given, strict=True))
        kept = cache / f"{hashlib.sha256(known.encode()).hexdigest()[:24]}.npz"
        stored = read_arrays(kept)
        parts = [stored.get(name, np.empty(0)) for name in ("decodable", "groups", "uses")]
        if all(part.shape == (len(digests),) for part in parts):
            return Partition(dataset, digests, parts[0], parts[1], parts[2].astype(object))
    if prints is None:
        prints = fingerprint(dataset, progress=progress)
    if groups is None:
        groups = duplicate_groups(prints)
    found = Partition(dataset, digests, prints.decodable, groups, _uses(prints, groups, given))
    if kept is not None:
        kept.parent.mkdir(parents=True, exist_ok=True)
        part = kept.with_suffix(".part.npz")
        np.savez_compressed(part, decodable=found.decodable, groups=groups, uses=found.uses.astype(str))
        part.replace(kept)
    return found


def assign_splits(
    dataset: Dataset, *, prints: Fingerprints | None = None, progress: Progress | None = None
) -> pd.Series:
    """The split of each file, aligned with the table, where nothing else of `partition` is wanted."""
    return partition(dataset, prints=prints, progress=progress).names


def _uses(prints: Fingerprints, groups: NDArray[np.int64], given: NDArray[Any]) -> NDArray[Any]:
    digests = np.array(prints.digests, dtype=object)
    uses = given.copy()
    # Without other sources the split of what is split by content is the same as with them.
    for part in (given == "", given == "train"):
        rows = np.flatnonzero(part)
        own = groups if len(rows) == len(given) else duplicate_groups(prints.rows(rows))
        uses[rows] = _uses_by_content(digests[rows].tolist(), own)
    uses[(given == "train") & (uses == "test")] = "train"
    return _without_leaks(uses, groups) if (given != "").any() else uses


def _without_leaks(uses: NDArray[Any], groups: NDArray[np.int64]) -> NDArray[Any]:
    """Leaves out what is trained on here and measured on there: a photo of two sources, or of two parts."""
    rank = pd.Series(uses).map({"train": 0, "selection": 1, "calibration": 1, "dev": 2, "test": 2}).to_numpy()
    highest = np.zeros(groups.max(initial=-1) + 1, dtype=np.int64)
    np.maximum.at(highest, groups, rank)
    uses = np.where(rank < highest[groups], EXCLUDED, uses)
    selecting = np.zeros(len(highest), dtype=bool)
    selecting[groups[uses == "selection"]] = True
    return np.where((uses == "calibration") & selecting[groups], "selection", uses)


def split_hash(digests: list[str], splits: pd.Series) -> str:
    """One hash for a whole split, to state in a model card.

    Args:
        digests: SHA-256 hex of each file.
        splits: Split of each file, aligned.

    Returns:
        SHA-256 hex over the sorted lines ``digest split``; the same for any order and any file names.
    """
    return _hash_of_lines(f"{digest} {split}" for digest, split in zip(digests, splits, strict=True))


def _hash_of_lines(lines: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(sorted(lines)).encode("ascii")).hexdigest()
