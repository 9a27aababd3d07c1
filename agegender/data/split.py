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
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from agegender.data.duplicates import Fingerprints, Progress, duplicate_groups, fingerprint
from agegender.data.table import Dataset
from agegender.errors import DatasetError
from agegender.labels import GENDERS, NetworkTask

SPLITS: Final[tuple[str, ...]] = ("train", "validation", "test")
VALIDATION_SHARE: Final = 0.1
TEST_SHARE: Final = 0.1

SPLIT_SALT: Final = "agegender-split-133"
"""Mixed into each digest. A hash cannot stratify, but it can be chosen: of many salts, this one leaves the
shares of age bands, genders and ethnicity codes on UTKFace most alike (tools/choose_split_salt.py)."""


def split_position(digest: str, salt: str = SPLIT_SALT) -> float:
    """Where a digest falls in [0, 1): the first 8 bytes of SHA-256 over salt and digest."""
    raw = hashlib.sha256(f"{salt}:{digest}".encode("ascii")).digest()
    return int.from_bytes(raw[:8], "big") / 2**64


def _split_name(position: float) -> str:
    if position < TEST_SHARE:
        return "test"
    return "validation" if position < TEST_SHARE + VALIDATION_SHARE else "train"


def _is_calibration(position: float) -> bool:
    return TEST_SHARE + VALIDATION_SHARE / 2 <= position < TEST_SHARE + VALIDATION_SHARE


def split_by_content(digests: list[str], groups: NDArray[np.int64], salt: str = SPLIT_SALT) -> list[str]:
    """Assigns each file to a split.

    Args:
        digests: SHA-256 hex of each of n files.
        groups: Group number of each file, int64 of shape (n,); a group stays together.
        salt: See `SPLIT_SALT`.

    Returns:
        "train", "validation" or "test" for each file.
    """
    return [_split_name(position) for position in _positions(digests, groups, salt)]


def _positions(digests: list[str], groups: NDArray[np.int64], salt: str) -> list[float]:
    """Of each file the position of its group, which is that of the group's smallest digest."""
    key: dict[int, str] = {}
    for digest, group in zip(digests, groups.tolist(), strict=True):
        key[group] = min(key.get(group, digest), digest)
    positions = {group: split_position(digest, salt) for group, digest in key.items()}
    return [positions[group] for group in groups.tolist()]


@dataclass(frozen=True, eq=False)
class Splits:
    """A dataset taken apart: which photo each file shows, and what it is used for.

    Attributes:
        dataset: The files.
        digests: SHA-256 hex of each, in the order of ``dataset.table``.
        decodable: bool of shape (n,): whether its pixels can be decoded. Files that cannot are in a split,
            so that the split does not depend on a decoder, but never among `rows`.
        photos: Number of the photo that each shows, int64, aligned with ``dataset.table``; copies share it.
        names: "train", "validation" or "test", aligned.
        calibration: bool, aligned: whether a file of the validation split is of the half that calibrates.
    """

    dataset: Dataset
    digests: list[str]
    decodable: NDArray[np.bool_]
    photos: pd.Series
    names: pd.Series
    calibration: pd.Series

    @classmethod
    def of(
        cls, dataset: Dataset, *, prints: Fingerprints | None = None, progress: Progress | None = None
    ) -> Splits:
        """Splits a dataset 80/10/10 by content, duplicates kept together.

        Args:
            dataset: The files.
            prints: Their fingerprints where they are already known; otherwise every file is read once.
            progress: Called after each file that is read.
        """
        if prints is None:
            prints = fingerprint(dataset, progress=progress)
        groups, index = duplicate_groups(prints), dataset.table.index
        positions = _positions(prints.digests, groups, SPLIT_SALT)
        return cls(
            dataset,
            prints.digests,
            prints.decodable,
            photos=pd.Series(groups, index=index),
            names=pd.Series(
                [_split_name(position) for position in positions], index=index, name="split", dtype="object"
            ),
            calibration=pd.Series([_is_calibration(position) for position in positions], index=index),
        )

    @property
    def hash(self) -> str:
        """See `split_hash`."""
        return split_hash(self.digests, self.names)

    @property
    def labels_hash(self) -> str:
        """SHA-256 hex over content and labels of all files, the same for any order and any file names."""
        labels = self.dataset.table[["age", "gender"]].itertuples(index=False)
        lines = [
            f"{digest} {age} {gender}" for digest, (age, gender) in zip(self.digests, labels, strict=True)
        ]
        return _hash_of_lines(lines)

    @property
    def undecodable(self) -> list[str]:
        """The files whose pixels cannot be decoded."""
        files: list[str] = self.dataset.table["file"][~self.decodable].tolist()
        return files

    def sizes(self) -> Mapping[str, int]:
        """How many files each split has, and of validation each half."""
        sizes = {str(name): int(size) for name, size in self.names.value_counts().items()}
        calibration = int(self.calibration.sum())
        return sizes | {
            "selection": sizes.get("validation", 0) - calibration,
            "calibration": calibration,
        }

    def rows(self, name: str, task: NetworkTask | None = None) -> pd.DataFrame:
        """The decodable files of one use.

        Args:
            name: A split, or "selection" or "calibration" for one half of validation.
            task: What a network learns from the rows, or is measured at.

        Returns:
            Rows of ``dataset.table``, in its order.

        Raises:
            DatasetError: There are none, or what the task asks about is the same of all.
        """
        if name in SPLITS:
            wanted = self.names == name
        else:
            wanted = (
                self.calibration
                if name == "calibration"
                else (self.names == "validation") & ~self.calibration
            )
        rows = self.dataset.table[wanted & self.decodable]
        if rows.empty:
            raise DatasetError(
                f"of {len(self.names)} chips in {self.dataset.folder} none is in the {name} split; "
                "a few hundred are needed"
            )
        if task is not None:
            check_labels(rows, task, f"of the {name} split in {self.dataset.folder}")
        return rows


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


def assign_splits(
    dataset: Dataset, *, prints: Fingerprints | None = None, progress: Progress | None = None
) -> pd.Series:
    """The split of each file, aligned with the table: `Splits.names`, where nothing else is wanted."""
    return Splits.of(dataset, prints=prints, progress=progress).names


def split_hash(digests: list[str], splits: pd.Series) -> str:
    """One hash for a whole split, to state in a model card.

    Args:
        digests: SHA-256 hex of each file.
        splits: Split of each file, aligned.

    Returns:
        SHA-256 hex over the sorted lines ``digest split``; the same for any order and any file names.
    """
    return _hash_of_lines([f"{digest} {split}" for digest, split in zip(digests, splits, strict=True)])


def _hash_of_lines(lines: list[str]) -> str:
    return hashlib.sha256("\n".join(sorted(lines)).encode("ascii")).hexdigest()
