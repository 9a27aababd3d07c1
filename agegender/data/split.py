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
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final

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
from agegender.data.table import Dataset
from agegender.errors import DatasetError
from agegender.export import write_arrays
from agegender.faces.face import Face
from agegender.files import read_arrays
from agegender.labels import GENDERS, NetworkTask
from agegender.progress import Progress

SPLITS: Final[tuple[str, ...]] = ("train", "validation", "test")
HALVES: Final[tuple[str, ...]] = ("selection", "calibration")
"""Of the validation split: what chooses the epoch, and what the calibration is fitted on."""

VALIDATION_SHARE: Final = 0.1
TEST_SHARE: Final = 0.1

SPLIT_SALT: Final = "agegender-split-133"
"""Mixed into each digest. A hash cannot stratify, but it can be chosen: of many salts, this one leaves the
shares of age bands, genders and ethnicity codes on UTKFace most alike."""


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
            "test"; "dev" where its source says so. Object of shape (n,).
        faces: Where the face is in each, as `agegender.data.landmarks.find_faces` says of all; ``None`` where
            nobody looked.
    """

    dataset: Dataset
    digests: list[str]
    decodable: NDArray[np.bool_]
    groups: NDArray[np.int64]
    uses: NDArray[Any]
    faces: Sequence[Face | None] | None = None

    @cached_property
    def leaked(self) -> NDArray[np.bool_]:
        """Which files show a photo that is, from another source or part, in a use that comes later.

        They stay in their split and are not among its `rows`. Bool of shape (n,).
        """
        return leaks(self.uses, self.groups)

    @cached_property
    def faceless(self) -> NDArray[np.bool_]:
        """In which pictures that are no chips a face was sought and none found, bool of shape (n,)."""
        if self.faces is None:
            return np.zeros(len(self.digests), dtype=np.bool_)
        found = np.array([face is not None for face in self.faces])
        return np.asarray(~self.dataset.table["aligned"].to_numpy(bool) & ~found & self.decodable)

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

    def rows(self, name: str, task: NetworkTask | None = None, sources: Sequence[str] = ()) -> pd.DataFrame:
        """The files of one use that can be decoded, are not `leaked` and not `faceless`.

        Args:
            name: A split, or one of `HALVES`.
            task: What a network learns from the rows, or is measured at.
            sources: Of these only; empty for all.

        Returns:
            Rows of ``dataset.table``, in its order.

        Raises:
            DatasetError: There are none, or what the task asks about is the same of all.
        """
        wanted = np.isin(self.uses, HALVES) if name == "validation" else self.uses == name
        if sources:
            wanted &= self.dataset.table["source"].isin(sources).to_numpy(bool)
        rows = self.dataset.table[wanted & self.decodable & ~self.leaked & ~self.faceless]
        if rows.empty:
            of = f" of {', '.join(sources)}" if sources else ""
            unseen = f" ({self.faceless.sum()} pictures show no face)" if self.faceless.any() else ""
            raise DatasetError(
                f"of {len(self.uses)} chips in {self.dataset.folder} none{of} is in the {name} split; "
                f"a few hundred are needed{unseen}"
            )
        if task is not None:
            check_labels(rows, task, f"of the {name} split in {self.dataset.folder}")
        return rows

    def faces_in(self, rows: pd.DataFrame) -> list[Face | None]:
        """Where the faces are in some rows of ``dataset.table``; ``None`` for chips."""
        if self.faces is None:
            return [None] * len(rows)
        return [self.faces[i] for i in rows.index]


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
    pairs: Sequence[NDArray[np.int64]] | None = None,
    faces: Sequence[Face | None] | None = None,
    cache: Path | None = None,
    progress: Progress | None = None,
) -> Partition:
    """Splits a dataset 80/10/10 by content, duplicates kept together.

    What has no split of its own is split by itself, and so is what sources name "train": UTKFace is split in
    the same way whatever is read beside it.

    Args:
        dataset: The files.
        prints: Their fingerprints where they are already known; otherwise every file is read once.
        pairs: Results of `duplicate_pairs` for them where already known: by the whole picture and, where
            faces are known, by these.
        faces: Where they are in the files, as `agegender.data.landmarks.find_faces` says of all: copies that
            are cut differently are found by them. That changes ``groups`` and ``leaked``, and no split.
        cache: Folder to keep the result in, by the files' contents: comparing 64,000 photos takes a minute.
        progress: Called as files are read and compared.

    Returns:
        In the order of ``dataset.table``. Where the source says nothing of a split the content decides. Of a
        source's own "train" a tenth is "validation" and nothing "test"; its "dev" stays.
    """
    digests = file_digests(dataset) if prints is None else prints.digests
    kept = None if cache is None else cache / f"{_key(dataset, digests, faces)}.npz"
    found = {} if kept is None else read_arrays(kept)
    parts = [found.get(name, np.empty(0)) for name in ("decodable", "groups", "uses")]
    if not all(part.shape == (len(digests),) for part in parts):
        if prints is None:
            prints = fingerprint(dataset, faces=faces, progress=progress)
        if pairs is None:
            ways = (False,) if prints.faces is None else (False, True)
            pairs = [duplicate_pairs(prints, by_face=by_face, progress=progress) for by_face in ways]
        uses = _uses(digests, dataset.table["given_split"].to_numpy(dtype=object), pairs[0])
        parts = [prints.decodable, group_pairs(digests, *pairs), uses.astype(str)]
        if kept is not None:
            write_arrays(kept, dict(zip(("decodable", "groups", "uses"), parts, strict=True)))
    return Partition(dataset, digests, parts[0], parts[1], parts[2].astype(object), faces)


def assign_splits(
    dataset: Dataset, *, prints: Fingerprints | None = None, progress: Progress | None = None
) -> pd.Series:
    """The split of each file, aligned with the table, where nothing else of `partition` is wanted."""
    return partition(dataset, prints=prints, progress=progress).names


def _uses(digests: Sequence[str], given: NDArray[Any], pairs: NDArray[np.int64]) -> NDArray[Any]:
    uses, names = given.copy(), np.array(digests, dtype=object)
    # Without other sources the split of what is split by content is the same as with them.
    for part in (given == "", given == "train"):
        place = np.cumsum(part) - 1
        inside = place[pairs[:2, part[pairs[0]] & part[pairs[1]]]]
        own = names[part].tolist()
        uses[part] = _uses_by_content(own, group_pairs(own, inside))
    uses[(given == "train") & (uses == "test")] = "train"
    return uses


def leaks(uses: ArrayLike, groups: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Says which files must not be used because their photo is also there for something that comes later.

    Args:
        uses: Of each of n files, as in `Partition`.
        groups: Number of the photo of each, shape (n,).

    Returns:
        bool of shape (n,): of "train" with a copy elsewhere, of "selection" with one that calibrates or
        measures, of "calibration" with one in "dev" or "test".
    """
    order = {"train": 0, "selection": 1, "calibration": 2, "dev": 3, "test": 3}
    rank = np.array([order[use] for use in np.asarray(uses).tolist()], dtype=np.int64)
    latest = np.zeros(groups.max(initial=-1) + 1, dtype=np.int64)
    np.maximum.at(latest, groups, rank)
    return np.asarray(rank < latest[groups])


def _key(dataset: Dataset, digests: Sequence[str], faces: Sequence[Face | None] | None) -> str:
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
    return _hash_of_lines(f"{digest} {split}" for digest, split in zip(digests, splits, strict=True))


def _hash_of_lines(lines: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(sorted(lines)).encode("ascii")).hexdigest()
