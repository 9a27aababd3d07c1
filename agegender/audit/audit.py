"""What a careful person would check in a folder of labelled face chips before training on it.

`audit` gathers tables, which `agegender.audit.findings` sums up and ranks. It reads every file and needs
no TensorFlow: whoever wants labels suspected passes predictions in.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
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
    duplicate_pairs,
    fingerprint,
)
from agegender.data.split import partition
from agegender.data.table import Dataset, parse_name
from agegender.errors import ImageError
from agegender.faces.face import Face
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
        files: ``dataset.table`` with the columns ``split``, ``photo`` (number of what it shows), ``copies``
            (files that show it, itself included), ``leaked`` (whether it is left out of training, see
            `agegender.data.split.leaks`), ``width`` and ``height`` (pixels), ``mode`` (Pillow's word for the
            kind of pixels), ``bytes``; and with predictions ``predicted_age``, ``predicted_low``,
            ``predicted_high`` (years) and ``predicted_female`` (probability).
        damaged_names: Files whose names are no labels: ``file``, ``reason``.
        no_label: Files of which a source says nothing that can be used: ``file``, ``reason``.
        unreadable: Labelled files that cannot be decoded: ``file``, ``reason``.
        no_picture: Files that decode to next to nothing, a single tone: ``file``, ``reason``.
        no_face: Files, not chips, in which no face was found; none where nobody looked: ``file``, ``reason``.
        odd_sizes: Files unlike nearly all others of their source in size or kind of pixels: ``file``,
            ``reason``.
        near: Pairs of files up to `FARTHEST_BITS` apart: ``first``, ``second`` (rows of ``files``),
            ``bits``, ``same_bytes``.
        pairs: Every two files of one photo; see `label_noise.label_pairs`.
        photos: One row a photo that is there more than once, index ``photo``: ``copies``, ``same_bytes``
            (all of them), ``age_gap`` (years between the labels that are farthest apart), ``gender_differs``,
            ``ethnicity_differs``, ``split``, and ``splits`` (how many splits its files are in).
        noise: What the pairs of exact ages say of all labels; ``None`` where there are none.
        suspects: See `suspects.find_suspects`; ``None`` without predictions.
        split_hash: Of the split, as cards state it.
    """

    dataset: Dataset
    files: pd.DataFrame
    damaged_names: pd.DataFrame
    no_label: pd.DataFrame
    unreadable: pd.DataFrame
    no_picture: pd.DataFrame
    no_face: pd.DataFrame
    odd_sizes: pd.DataFrame
    near: pd.DataFrame
    pairs: pd.DataFrame
    photos: pd.DataFrame
    noise: LabelNoise | None
    suspects: pd.DataFrame | None
    split_hash: str


def audit(
    dataset: Dataset,
    *,
    prints: Fingerprints | None = None,
    faces: Sequence[Face | None] | None = None,
    pairs: NearPairs | None = None,
    predictions: Predictions | None = None,
    progress: Progress | None = None,
) -> Audit:
    """Audits folders of labelled faces.

    Args:
        dataset: The labelled files.
        prints: Their fingerprints, where already known; otherwise every file is read for them.
        faces: Where they are, as `agegender.data.landmarks.find_faces` says of all; ``None`` looks nowhere.
        pairs: Result of `near_pairs_of` for them, where already known.
        predictions: Out-of-fold predictions for the labelled files; without, no label is suspected.
        progress: Called while files are read for fingerprints.

    Returns:
        All tables. A file that cannot be read becomes a row, never an error.
    """
    if prints is None:
        prints = fingerprint(dataset, faces=faces, progress=progress)
    if pairs is None:
        pairs = near_pairs_of(prints, progress=progress)
    parts = partition(dataset, prints=prints, faces=faces, pairs=pairs.duplicates())
    files = pd.concat([dataset.table, _measure_files(dataset)], axis=1)
    files["split"] = parts.names
    files["photo"] = parts.groups
    files["copies"] = np.bincount(parts.groups)[parts.groups]
    files["leaked"] = parts.leaked
    if predictions is not None:
        for name, field in (("age", "age"), ("low", "low"), ("high", "high"), ("female", "female")):
            files[f"predicted_{name}"] = getattr(predictions, field)
    labels = label_pairs(dataset.table, parts.groups, prints)
    exact = (dataset.table["age_min"] == dataset.table["age_max"]).to_numpy(bool)
    damaged = np.array([_is_damaged_name(*row) for row in dataset.skipped.itertuples(index=False)], bool)
    unseen = files.loc[parts.faceless, ["file"]].assign(reason="the detector finds no face in it")
    return Audit(
        dataset=dataset,
        files=files,
        damaged_names=_damaged_names(dataset.skipped[damaged].reset_index(drop=True)),
        no_label=dataset.skipped[~damaged].reset_index(drop=True),
        unreadable=_unreadable(dataset, prints),
        no_picture=_no_picture(files, prints),
        no_face=unseen.reset_index(drop=True),
        odd_sizes=_odd_sizes(files),
        near=_near_pairs(prints, pairs),
        pairs=labels,
        photos=_duplicated_photos(files, labels),
        noise=estimate_label_noise(labels[labels["exact"]], dataset.table["age"][exact]),
        suspects=None if predictions is None else find_suspects(dataset.table, predictions),
        split_hash=parts.hash,
    )


def _is_damaged_name(file: str, reason: str) -> bool:
    """Whether a file was skipped for its name, and not for what a list says of it."""
    try:
        parse_name(file.rpartition("/")[2])
    except ValueError as error:
        return reason == str(error) or reason.startswith("name is not")
    return False


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
    """Files that differ from what nearly all of their source are, where there is such a thing as usual."""
    found = [pd.DataFrame({"file": [], "reason": []}, dtype="object")]
    for _, known in files[files["width"] > 0].groupby("source", sort=False):
        kinds = known["width"].astype(str) + "×" + known["height"].astype(str) + " " + known["mode"]
        counts = kinds.value_counts(normalize=True)
        if counts.iloc[0] >= _USUAL_SIZE_SHARE:
            odd = kinds != counts.index[0]
            reason = kinds[odd] + f", not {counts.index[0]} like {100 * counts.iloc[0]:.1f} % of the files"
            found.append(known.loc[odd, ["file"]].assign(reason=reason))
    return pd.concat(found, ignore_index=True)


@dataclass(frozen=True, eq=False)
class NearPairs:
    """Pairs of files up to `FARTHEST_BITS` apart, as `agegender.data.duplicates.duplicate_pairs` gives them.

    Attributes:
        by_file: Of pictures that are cut alike.
        by_face: Of faces, across sources; ``None`` where no face is known.
    """

    by_file: NDArray[np.int64]
    by_face: NDArray[np.int64] | None

    def duplicates(self) -> list[NDArray[np.int64]]:
        """Those that are near enough to show one photo, by file and by face."""
        known = [self.by_file] if self.by_face is None else [self.by_file, self.by_face]
        return [pairs[:, pairs[2] <= NEAR_DUPLICATE_BITS] for pairs in known]


def near_pairs_of(prints: Fingerprints, *, progress: Progress | None = None) -> NearPairs:
    """Compares all files, well beyond what makes them copies."""
    by_file = duplicate_pairs(prints, max_bits=FARTHEST_BITS, progress=progress)
    if prints.faces is None:
        return NearPairs(by_file, None)
    by_face = duplicate_pairs(prints, max_bits=FARTHEST_BITS, by_face=True, progress=progress)
    return NearPairs(by_file, by_face)


def _near_pairs(prints: Fingerprints, pairs: NearPairs) -> pd.DataFrame:
    first, second, bits = pairs.by_file
    near = pd.DataFrame({"first": first, "second": second, "bits": bits})
    if pairs.by_face is not None:
        both = pd.concat([near, pd.DataFrame(pairs.by_face.T, columns=list(near))])
        near = both.sort_values(["first", "second", "bits"]).drop_duplicates(["first", "second"])
        near = near.reset_index(drop=True)
    digests = np.array(prints.digests, dtype=object)
    same = digests[near["first"]] == digests[near["second"]]
    return near.assign(same_bytes=same.astype(bool))


def _duplicated_photos(files: pd.DataFrame, pairs: pd.DataFrame) -> pd.DataFrame:
    copies = files[files["copies"] > 1].groupby("photo")
    labels = copies.agg(
        copies=("file", "size"),
        latest_start=("age_min", "max"),
        earliest_end=("age_max", "min"),
        genders=("gender", "nunique"),
        split=("split", "first"),
        splits=("split", "nunique"),
    )
    by_photo = pairs.groupby("photo")
    return pd.DataFrame(
        {
            "copies": labels["copies"],
            "same_bytes": by_photo["same_bytes"].all(),
            "age_gap": (labels["latest_start"] - labels["earliest_end"]).clip(lower=0),
            "gender_differs": labels["genders"] > 1,
            "ethnicity_differs": by_photo["ethnicity_differs"].any(),
            "split": labels["split"],
            "splits": labels["splits"],
        }
    )
