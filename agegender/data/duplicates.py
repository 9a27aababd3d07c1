"""Which files show the same photo: exact copies by SHA-256, near copies by difference hash.

UTKFace holds the same photo more than once, re-encoded, resized, shifted or mirrored, and often with
different labels. A split that does not know them measures memory instead of skill.

Whole pictures are compared only where they are cut alike: within UTKFace, or within one other source. Sources
hold copies of each other's photos too, cut differently; these are found by their faces, once landmarks are
known and each face is cut into UTKFace's geometry (docs/data.md has what that finds).
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import imagehash
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from agegender.data.pictures import read_chip
from agegender.data.table import Dataset
from agegender.faces.face import Face
from agegender.files import paths_below
from agegender.progress import Progress

HASH_SIDE: Final = 16
HASH_BITS: Final = HASH_SIDE * HASH_SIDE

NEAR_DUPLICATE_BITS: Final = 24
"""Two chips whose hashes differ in at most so many of 256 bits are taken for the same photo. On UTKFace
the pairs up to 24 bits are, by eye, the same photo; at 32 bits different people begin to match."""

_ROWS: Final = 2048


@dataclass(frozen=True, eq=False)
class Fingerprints:
    """What identifies each file of a dataset, in the order of its table.

    Attributes:
        digests: SHA-256 of each file's bytes, lower-case hex; empty where the file could not be read.
        hashes: 16×16 difference hashes, bool of shape (n, 256); all False where undecodable.
        decodable: bool of shape (n,): whether the pixels could be decoded.
        framing: How each file is cut, int64 of shape (n,): ``hashes`` can be compared within one number.
            ``None`` where all are cut alike.
        faces: Hashes of the faces, cut into UTKFace's geometry, which can be compared whatever the framing of
            the files: bool of shape (n, 256), all False where none is known. ``None`` without any.
    """

    digests: list[str]
    hashes: NDArray[np.bool_]
    decodable: NDArray[np.bool_]
    framing: NDArray[np.int64] | None = None
    faces: NDArray[np.bool_] | None = None


def _difference_hash(image: Image.Image) -> NDArray[np.bool_]:
    return np.asarray(imagehash.dhash(image, hash_size=HASH_SIDE).hash, dtype=np.bool_).ravel()


def _fingerprint(
    file: tuple[Path, Face | None],
) -> tuple[str, NDArray[np.bool_] | None, NDArray[np.bool_] | None]:
    """Digest, hash of the picture, and hash of its face where that is known."""
    path, face = file
    try:
        data = path.read_bytes()
    except OSError:
        return "", None, None
    digest = hashlib.sha256(data).hexdigest()
    try:
        with Image.open(io.BytesIO(data)) as image:
            whole = _difference_hash(image)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return digest, None, None
    if face is None:
        return digest, whole, None
    return digest, whole, _difference_hash(Image.fromarray(read_chip(path, face)))


def fingerprint(
    dataset: Dataset, *, faces: Sequence[Face | None] | None = None, progress: Progress | None = None
) -> Fingerprints:
    """Reads every file once and computes its digest and difference hash.

    Args:
        dataset: The files to read.
        faces: Where they are, as `agegender.data.landmarks.find_faces` says of the whole dataset: then copies
            can be found across sources.
        progress: Called after each file.

    Returns:
        Digests and hashes in the order of ``dataset.table``.
    """
    paths = paths_below(dataset.folder, dataset.table["file"])
    digests: list[str] = []
    hashes = np.zeros((len(paths), HASH_BITS), dtype=np.bool_)
    decodable = np.zeros(len(paths), dtype=np.bool_)
    aligned = dataset.table["aligned"].to_numpy(bool)
    framing = np.where(aligned, 0, 1 + pd.factorize(dataset.table["source"])[0])
    by_face = None if faces is None else np.zeros_like(hashes)
    files = zip(paths, [None] * len(paths) if faces is None else faces, strict=True)
    with ThreadPoolExecutor() as pool:
        for i, (digest, whole, face) in enumerate(pool.map(_fingerprint, files, chunksize=64)):
            digests.append(digest)
            if whole is not None:
                hashes[i], decodable[i] = whole, True
                if by_face is not None and (aligned[i] or face is not None):
                    by_face[i] = whole if face is None else face
            if progress is not None:
                progress("Reading", i + 1, len(paths))
    return Fingerprints(digests, hashes, decodable, framing.astype(np.int64), by_face)


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
    hashes: NDArray[np.bool_], *, max_bits: int = NEAR_DUPLICATE_BITS, rows: int = _ROWS
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]]:
    """Finds all pairs of hashes, mirrored ones included, within a Hamming distance.

    All n² distances are one matrix product of ±1 vectors, at the speed of the processor: 21,000 chips take 5
    seconds of its time, 64,000 take 45. ``rows`` bounds the memory.

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


def duplicate_pairs(
    prints: Fingerprints,
    *,
    max_bits: int = NEAR_DUPLICATE_BITS,
    by_face: bool = False,
    progress: Progress | None = None,
) -> NDArray[np.int64]:
    """Finds all pairs of files whose hashes are near.

    Args:
        prints: Of n files. Flat pictures (a hash that is nearly all one value) say nothing about their
            content and are in no pair.
        max_bits: See `near_pairs`.
        by_face: Compares the faces, across framings, and not the pictures within each.
        progress: Called with (files compared with all, files in all).

    Returns:
        int64 of shape (3, m): first and second file, the first smaller, and how many bits apart.
    """
    n = len(prints.digests)
    hashes = prints.hashes
    framing = np.zeros(n, np.int64) if prints.framing is None else prints.framing
    if by_face:
        hashes = np.zeros((n, HASH_BITS), np.bool_) if prints.faces is None else prints.faces
        framing = np.zeros(n, np.int64)
    ones = hashes.sum(axis=1)
    flat = (ones <= NEAR_DUPLICATE_BITS) | (ones >= HASH_BITS - NEAR_DUPLICATE_BITS)
    telling = [np.flatnonzero(prints.decodable & ~flat & (framing == kind)) for kind in np.unique(framing)]
    found, done, total = [np.zeros((3, 0), np.int64)], 0, sum(map(len, telling))
    for rows in telling:
        for start, (i, j, bits) in enumerate(near_pairs(hashes[rows], max_bits=max_bits)):
            found.append(np.stack([rows[i], rows[j], bits]))
            if progress is not None:
                progress("Comparing photos", done + min((start + 1) * _ROWS, len(rows)), total)
        done += len(rows)
    return np.hstack(found)


def duplicate_groups(
    prints: Fingerprints, *, max_bits: int = NEAR_DUPLICATE_BITS, progress: Progress | None = None
) -> NDArray[np.int64]:
    """Groups the files that show the same photo.

    Two files belong together when their bytes are equal or their hashes near, of pictures that are cut alike
    or of faces where these are known; groups are the connected components, so a chain of near copies is one
    group.

    Args:
        prints: Of n files.
        max_bits: See `near_pairs`. Flat pictures are matched by bytes alone.
        progress: As of `duplicate_pairs`, for each of the two ways.

    Returns:
        Group number of each file, int64 of shape (n,), 0-based and dense.
    """
    pairs = [duplicate_pairs(prints, max_bits=max_bits, progress=progress)]
    if prints.faces is not None:
        pairs.append(duplicate_pairs(prints, max_bits=max_bits, by_face=True, progress=progress))
    return group_pairs(prints.digests, *pairs)


def group_pairs(digests: Sequence[str], *pairs: NDArray[np.int64]) -> NDArray[np.int64]:
    """Connects files of equal bytes, and pairs.

    Args:
        digests: SHA-256 of each of n files; empty where a file could not be read.
        pairs: Of positions, int64 of shape (2 or more, m).

    Returns:
        Group number of each file, int64 of shape (n,), 0-based and dense.
    """
    first: dict[str, int] = {}
    exact = [(first.setdefault(digest, i), i) for i, digest in enumerate(digests) if digest]
    equal = np.array(exact, dtype=np.int64).reshape(-1, 2).T
    left, right = np.hstack([equal, *(pair[:2] for pair in pairs)])
    graph = coo_array((np.ones(len(left), dtype=np.int8), (left, right)), shape=(len(digests),) * 2)
    return connected_components(graph, directed=False)[1].astype(np.int64)
