"""Which chips show the same photo: exact copies by SHA-256, near copies by difference hash.

UTKFace holds the same photo more than once, re-encoded, resized, shifted or mirrored, and often with
different labels. A split that does not know them measures memory instead of skill.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import imagehash
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from agegender.data.table import Dataset
from agegender.files import paths_below
from agegender.progress import Progress

HASH_SIDE: Final = 16
HASH_BITS: Final = HASH_SIDE * HASH_SIDE

NEAR_DUPLICATE_BITS: Final = 24
"""Two chips whose hashes differ in at most so many of 256 bits are taken for the same photo. On UTKFace
the pairs up to 24 bits are, by eye, the same photo; at 32 bits different people begin to match."""


@dataclass(frozen=True, eq=False)
class Fingerprints:
    """What identifies each file of a dataset, in the order of its table.

    Attributes:
        digests: SHA-256 of each file's bytes, lower-case hex; empty where the file could not be read.
        hashes: 16×16 difference hashes, bool of shape (n, 256); all False where undecodable.
        decodable: bool of shape (n,): whether the pixels could be decoded.
    """

    digests: list[str]
    hashes: NDArray[np.bool_]
    decodable: NDArray[np.bool_]

    def rows(self, chosen: NDArray[np.int64]) -> Fingerprints:
        """Those of some files, by their positions."""
        return Fingerprints([self.digests[i] for i in chosen], self.hashes[chosen], self.decodable[chosen])


def _fingerprint(path: Path) -> tuple[str, NDArray[np.bool_] | None]:
    try:
        data = path.read_bytes()
    except OSError:
        return "", None
    digest = hashlib.sha256(data).hexdigest()
    try:
        with Image.open(io.BytesIO(data)) as image:
            bits = imagehash.dhash(image, hash_size=HASH_SIDE).hash
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return digest, None
    return digest, np.asarray(bits, dtype=np.bool_).ravel()


def fingerprint(dataset: Dataset, *, progress: Progress | None = None) -> Fingerprints:
    """Reads every file once and computes its digest and difference hash.

    Args:
        dataset: The files to read.
        progress: Called after each file.

    Returns:
        Digests and hashes in the order of ``dataset.table``.
    """
    paths = paths_below(dataset.folder, dataset.table["file"])
    digests: list[str] = []
    hashes = np.zeros((len(paths), HASH_BITS), dtype=np.bool_)
    decodable = np.zeros(len(paths), dtype=np.bool_)
    with ThreadPoolExecutor() as pool:
        for i, (digest, bits) in enumerate(pool.map(_fingerprint, paths, chunksize=64)):
            digests.append(digest)
            if bits is not None:
                hashes[i], decodable[i] = bits, True
            if progress is not None:
                progress("Reading", i + 1, len(paths))
    return Fingerprints(digests, hashes, decodable)


def file_digests(dataset: Dataset) -> list[str]:
    """SHA-256 of each file's bytes, lower-case hex, in the order of the table; empty where unreadable."""

    def digest(path: Path) -> str:
        try:
            return hashlib.sha256(path.read_bytes()).hexdigest()
        except OSError:
            return ""

    with ThreadPoolExecutor() as pool:
        return list(pool.map(digest, paths_below(dataset.folder, dataset.table["file"]), chunksize=64))


def mirrored(hashes: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The difference hashes of the mirrored pictures: each row of bits reversed and negated.

    Exact but for neighbouring cells of equal brightness, whose bit is False both ways.

    Args:
        hashes: bool of shape (n, 256).

    Returns:
        bool of shape (n, 256).
    """
    grid = hashes.reshape(-1, HASH_SIDE, HASH_SIDE)
    return ~grid[:, :, ::-1].reshape(-1, HASH_BITS)


def near_pairs(
    hashes: NDArray[np.bool_], *, max_bits: int = NEAR_DUPLICATE_BITS, rows: int = 2048
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]]:
    """Finds all pairs of hashes, mirrored ones included, within a Hamming distance.

    All n² distances are one matrix product of ±1 vectors, so that 21,000 chips take seconds; ``rows``
    bounds its memory.

    Args:
        hashes: bool of shape (n, 256).
        max_bits: The largest distance that counts.
        rows: How many rows are compared with all others at once.

    Yields:
        ``(i, j, bits)`` with ``i < j``, three int64 arrays of one length.
    """
    signs = np.where(hashes, np.float32(1), np.float32(-1))
    mirrored_signs = np.where(mirrored(hashes), np.float32(1), np.float32(-1))
    for start in range(0, len(signs), rows):
        block = signs[start : start + rows]
        # The dot product of two ±1 vectors is bits − 2 × (their Hamming distance).
        dot = np.maximum(block @ signs[start:].T, block @ mirrored_signs[start:].T)
        i, j = np.nonzero(dot >= HASH_BITS - 2 * max_bits)
        later = i < j
        i, j = i[later], j[later]
        bits = np.rint((HASH_BITS - dot[i, j]) / 2).astype(np.int64)
        yield i + start, j + start, bits


def duplicate_groups(prints: Fingerprints, *, max_bits: int = NEAR_DUPLICATE_BITS) -> NDArray[np.int64]:
    """Groups the files that show the same photo.

    Two files belong together when their bytes are equal or their hashes near; groups are the connected
    components, so a chain of near copies is one group.

    Args:
        prints: Of n files.
        max_bits: See `near_pairs`. Flat pictures (a hash that is nearly all one value) say nothing about
            their content and are matched by bytes alone.

    Returns:
        Group number of each file, int64 of shape (n,), 0-based and dense.
    """
    n = len(prints.digests)
    first: dict[str, int] = {}
    left: list[NDArray[np.int64]] = []
    right: list[NDArray[np.int64]] = []
    exact = [(first.setdefault(d, i), i) for i, d in enumerate(prints.digests) if d]
    if exact:
        pairs = np.array(exact, dtype=np.int64)
        left.append(pairs[:, 0])
        right.append(pairs[:, 1])

    ones = prints.hashes.sum(axis=1)
    telling = np.flatnonzero(prints.decodable & (ones > max_bits) & (ones < HASH_BITS - max_bits))
    for i, j, _ in near_pairs(prints.hashes[telling], max_bits=max_bits):
        left.append(telling[i])
        right.append(telling[j])
    if not left:
        return np.arange(n, dtype=np.int64)
    rows, columns = np.concatenate(left), np.concatenate(right)
    graph = coo_array((np.ones(len(rows), dtype=np.int8), (rows, columns)), shape=(n, n))
    return connected_components(graph, directed=False)[1].astype(np.int64)
