"""What a careful person would check in a folder of labelled face chips before training on it.

`audit` gathers tables, which `agegender.audit.findings` sums up and ranks. It reads every file and needs
no TensorFlow: whoever wants labels suspected passes predictions in.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image

from agegender.audit.label_noise import LabelNoise, estimate_label_noise, label_pairs
from agegender.audit.suspects import Predictions, find_suspects
from agegender.data.duplicates import (
    HASH_BITS,
    NEAR_DUPLICATE_BITS,
    Fingerprints,
    duplicate_groups,
    fingerprint,
    near_pairs,
)
from agegender.data.split import split_by_content, split_hash
from agegender.data.table import Dataset
from agegender.errors import ImageError
from agegender.files import paths_below, unescape_name
from agegender.images import read_image
from agegender.progress import Progress

FARTHEST_BITS: Final = 40
"""Pairs are counted up to this distance, well beyond the threshold, to show how clear a cut it is."""

_USUAL_SIZE_SHARE: Final = 0.9

_FOUR_FIELDS: Final = re.compile(r"\d{1,3}_\d_\d_(?P<stamp>\d+)(?P<ending>.*)", re.ASCII)
_THREE_FIELDS: Final = re.compile(r"\d{1,3}_\d_\d{10,}.*", re.ASCII)


@dataclass(frozen=True, eq=False)
class Audit:
    """What was found in a dataset.

    Attributes:
        dataset: What was audited.
        files: ``dataset.table`` with the columns ``split``, ``group`` (of duplicates), ``copies`` (files in
            that group, itself included), ``width`` and ``height`` (pixels), ``mode`` (Pillow's word for the
            kind of pixels), ``bytes``; and with predictions ``predicted_age``, ``predicted_low``,
            ``predicted_high`` (years) and ``predicted_female`` (probability).
        damaged_names: Files whose names are no labels: ``file``, ``reason``.
        unreadable: Labelled files that cannot be decoded: ``file``, ``reason``.
        no_picture: Files that decode to next to nothing, a single tone: ``file``, ``reason``.
        odd_sizes: Files unlike nearly all others in size or kind of pixels: ``file``, ``reason``.
        near: Pairs of files up to `FARTHEST_BITS` apart: ``first``, ``second`` (rows of ``files``),
            ``bits``, ``same_bytes``.
        pairs: Every two files of one group; see `label_noise.label_pairs`.
        groups: One row a photo that is there more than once, index ``group``: ``copies``, ``same_bytes``
            (all of them), ``age_gap`` (oldest less youngest label, years), ``gender_differs``,
            ``ethnicity_differs``, ``split``, and ``splits`` (how many splits its files are in).
        noise: What the pairs say of all labels; ``None`` where no photo is there twice.
        suspects: See `suspects.find_suspects`; ``None`` without predictions.
        split_hash: Of the split, as cards state it.
    """

    dataset: Dataset
    files: pd.DataFrame
    damaged_names: pd.DataFrame
    unreadable: pd.DataFrame
    no_picture: pd.DataFrame
    odd_sizes: pd.DataFrame
    near: pd.DataFrame
    pairs: pd.DataFrame
    groups: pd.DataFrame
    noise: LabelNoise | None
    suspects: pd.DataFrame | None
    split_hash: str


def audit(
    dataset: Dataset,
    *,
    prints: Fingerprints | None = None,
    groups: NDArray[np.int64] | None = None,
    predictions: Predictions | None = None,
    progress: Progress | None = None,
) -> Audit:
    """Audits a folder of labelled face chips.

    Args:
        dataset: The labelled files.
        prints: Their fingerprints, where already known; otherwise every file is read for them.
        groups: Result of `duplicate_groups` for them, where already known.
        predictions: Out-of-fold predictions for the labelled files; without, no label is suspected.
        progress: Called while files are read for fingerprints.

    Returns:
        All tables. A file that cannot be read becomes a row, never an error.
    """
    if prints is None:
        prints = fingerprint(dataset, progress=progress)
    if groups is None:
        groups = duplicate_groups(prints)
    files = pd.concat([dataset.table, _measure_files(dataset)], axis=1)
    files["split"] = split_by_content(prints.digests, groups)
    files["group"] = groups
    files["copies"] = np.bincount(groups)[groups]
    if predictions is not None:
        for name, field in (("age", "age"), ("low", "low"), ("high", "high"), ("female", "female")):
            files[f"predicted_{name}"] = getattr(predictions, field)
    pairs = label_pairs(dataset.table, groups, prints)
    return Audit(
        dataset=dataset,
        files=files,
        damaged_names=_damaged_names(dataset.skipped),
        unreadable=_unreadable(dataset, prints),
        no_picture=_no_picture(files, prints),
        odd_sizes=_odd_sizes(files),
        near=_near_pairs(prints),
        pairs=pairs,
        groups=_duplicated_photos(files, pairs),
        noise=estimate_label_noise(pairs, dataset.table["age"]),
        suspects=None if predictions is None else find_suspects(dataset.table, predictions),
        split_hash=split_hash(prints.digests, files["split"]),
    )


def explain_name(name: str, reason: str) -> str:
    """Says what is wrong with a damaged file name, as exactly as it shows.

    Args:
        name: File name without its folder.
        reason: What to say where nothing better is known.

    Returns:
        Words for people.
    """
    match = _FOUR_FIELDS.fullmatch(name)
    if match is None:
        missing = _THREE_FIELDS.fullmatch(name) is not None
        return "one label is missing: two numbers before the date, not three" if missing else reason
    problems = []
    if len(match["stamp"]) != 17:
        problems.append(f"the date has {len(match['stamp'])} digits, not 17")
    if match["ending"] != ".jpg.chip.jpg":
        problems.append(f"{match['ending']!r} follows the date, not '.jpg.chip.jpg'")
    return "; ".join(problems) or reason


def _measure_files(dataset: Dataset) -> pd.DataFrame:
    """Width, height, mode and bytes of each file, by its header; 0 and empty where that cannot be read."""

    def measure(path: Path) -> tuple[int, int, str, int]:
        try:
            size = path.stat().st_size
            with Image.open(path) as image:
                return (*image.size, image.mode, size)
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
            return 0, 0, "", 0

    # One thread: opening a header is all Python, and more threads only wait for each other.
    rows = [measure(path) for path in paths_below(dataset.folder, dataset.table["file"])]
    return pd.DataFrame(rows, columns=["width", "height", "mode", "bytes"])


def _damaged_names(skipped: pd.DataFrame) -> pd.DataFrame:
    reasons = [
        explain_name(Path(file).name, reason) for file, reason in skipped[["file", "reason"]].to_numpy()
    ]
    return skipped[["file"]].assign(reason=pd.Series(reasons, index=skipped.index, dtype="object"))


def _unreadable(dataset: Dataset, prints: Fingerprints) -> pd.DataFrame:
    rows = []
    for file in dataset.table["file"][~prints.decodable]:
        try:
            read_image(dataset.folder / unescape_name(file))
            reason = "it cannot be decoded"
        except ImageError as error:
            reason = error.reason
        rows.append((file, reason))
    return pd.DataFrame(rows, columns=["file", "reason"])


def _no_picture(files: pd.DataFrame, prints: Fingerprints) -> pd.DataFrame:
    ones = prints.hashes.sum(axis=1)
    flat = prints.decodable & (np.minimum(ones, HASH_BITS - ones) <= NEAR_DUPLICATE_BITS)
    reason = "hardly any structure: its brightness rises or falls one way nearly everywhere"
    return files.loc[flat, ["file"]].assign(reason=reason).reset_index(drop=True)


def _odd_sizes(files: pd.DataFrame) -> pd.DataFrame:
    """Files that differ from what nearly all are; none where there is no such thing as usual."""
    known = files[files["width"] > 0]
    kinds = known["width"].astype(str) + "×" + known["height"].astype(str) + " " + known["mode"]
    counts = kinds.value_counts(normalize=True)
    if counts.empty or counts.iloc[0] < _USUAL_SIZE_SHARE:
        return pd.DataFrame({"file": [], "reason": []}, dtype="object")
    odd = kinds != counts.index[0]
    reason = kinds[odd] + f", not {counts.index[0]} like {100 * counts.iloc[0]:.1f} % of the files"
    return known.loc[odd, ["file"]].assign(reason=reason).reset_index(drop=True)


def _near_pairs(prints: Fingerprints) -> pd.DataFrame:
    ones = prints.hashes.sum(axis=1)
    telling = np.flatnonzero(
        prints.decodable & (ones > NEAR_DUPLICATE_BITS) & (ones < HASH_BITS - NEAR_DUPLICATE_BITS)
    )
    parts = [np.stack(part) for part in near_pairs(prints.hashes[telling], max_bits=FARTHEST_BITS)]
    first, second, bits = np.hstack(parts) if parts else np.zeros((3, 0), dtype=np.int64)
    digests = np.array(prints.digests, dtype=object)
    left, right = telling[first], telling[second]
    return pd.DataFrame(
        {
            "first": left,
            "second": right,
            "bits": bits,
            "same_bytes": (digests[left] == digests[right]).astype(bool),
        }
    )


def _duplicated_photos(files: pd.DataFrame, pairs: pd.DataFrame) -> pd.DataFrame:
    copies = files[files["copies"] > 1].groupby("group")
    labels = copies.agg(
        copies=("file", "size"),
        age_gap=("age", np.ptp),
        genders=("gender", "nunique"),
        ethnicities=("ethnicity", "nunique"),
        split=("split", "first"),
        splits=("split", "nunique"),
    )
    return pd.DataFrame(
        {
            "copies": labels["copies"],
            "same_bytes": pairs.groupby("group")["same_bytes"].all(),
            "age_gap": labels["age_gap"],
            "gender_differs": labels["genders"] > 1,
            "ethnicity_differs": labels["ethnicities"] > 1,
            "split": labels["split"],
            "splits": labels["splits"],
        }
    )
