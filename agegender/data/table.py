"""Labelled faces of any number of sources as one table. Reads labels, no pixels."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd

from agegender.data.sources import Source, parse_name, read_source
from agegender.errors import DatasetError
from agegender.files import escape_name
from agegender.labels import MAX_AGE

__all__ = ["DATA_ENVIRONMENT_VARIABLE", "HOW_TO_GET_UTKFACE", "Dataset", "parse_name", "read_dataset"]

DATA_ENVIRONMENT_VARIABLE: Final = "UTKFACE_DIR"

HOW_TO_GET_UTKFACE: Final = (
    "UTKFace is free for non-commercial research: ask for the 'Aligned&Cropped Faces' archive on "
    "https://susanqq.github.io/UTKFace/, unpack it, and name its folder with --data or the environment "
    f"variable {DATA_ENVIRONMENT_VARIABLE} (docs/training.md)."
)

_OPEN_BAND_YEARS: Final = 5
"""How far above its lower end a range that is open above is taken to lie, where one number has to stand for
it: in FairFace's "more than 70" most are in their seventies."""


@dataclass(frozen=True, eq=False)
class Dataset:
    """The labels of one or several sources of faces.

    Attributes:
        folder: Where the files are; of several sources the folder that holds all of them.
        table: One row a labelled file, sorted by ``file``, with a RangeIndex and the columns

            - ``file``: path below ``folder``, str, escaped; `agegender.files.paths_below` gives what to open;
            - ``age_min``, ``age_max``: the labelled years, both included, int64, 0 to 116; equal where the
              age is exact, ``age_max`` 116 where a range is open above;
            - ``age``: one year that stands for them, int64: the exact one, or the middle of a range;
            - ``gender``: UTKFace's code, int64;
            - ``ethnicity``: UTKFace's code, int64, -1 in other sources;
            - ``group``: the source's own word for it, str, empty where unknown;
            - ``source``: name of the source, str: its folder's, or where several are called the same the path
              of its folder;
            - ``given_split``: "train" or "dev" where the source says so, else empty, str;
            - ``aligned``: whether the file is a chip in UTKFace's geometry already, bool;
            - ``captured``: datetime64, ``NaT`` where the name carries no date.

            Whether a file can be decoded is not known yet.
        skipped: One row a file without a usable label, with the columns ``file`` and ``reason``.
    """

    folder: Path
    table: pd.DataFrame
    skipped: pd.DataFrame


def default_data_folder() -> Path | None:
    """The folder that ``UTKFACE_DIR`` names, or ``None`` where the variable is unset or empty."""
    value = os.environ.get(DATA_ENVIRONMENT_VARIABLE, "").strip()
    return Path(value).expanduser() if value else None


def read_dataset(
    folders: str | os.PathLike[str] | Sequence[str | os.PathLike[str]] | None = None,
) -> Dataset:
    """Lists labelled faces, with their subfolders.

    Args:
        folders: One folder or several, each in a form that `agegender.data.sources` reads; ``None`` takes
            the one that ``UTKFACE_DIR`` names.

    Returns:
        The labels, and the files that have none.

    Raises:
        DatasetError: No folder was named, one does not exist or holds no labelled picture, a labels file
            lacks a column, or no folder holds all of them.
    """
    if folders is None:
        default = default_data_folder()
        if default is None:
            raise DatasetError(f"no dataset folder was named. {HOW_TO_GET_UTKFACE}")
        roots = [default]
    elif isinstance(folders, (str, os.PathLike)):
        roots = [Path(folders).expanduser()]
    else:
        roots = [Path(folder).expanduser() for folder in folders]
    found: list[Source] = []
    for root in roots:
        if not root.is_dir():
            raise DatasetError(f"{root} is not a folder. {HOW_TO_GET_UTKFACE}")
        source = read_source(root)
        if not source.rows:
            raise DatasetError(_nothing_usable(root, source))
        found.append(source)
    return _join(roots, found)


def _nothing_usable(root: Path, source: Source) -> str:
    if source.form == "UTKFace":
        return (
            f"no images named like 25_0_2_20170116174525125.jpg.chip.jpg in {root} "
            f"({len(source.skipped)} other images there). {HOW_TO_GET_UTKFACE}"
        )
    example = "; of {}: {}".format(*source.skipped[0]) if source.skipped else ""
    return f"no label of {source.form} in {root} can be used ({len(source.skipped)} skipped{example})"


def _join(roots: list[Path], found: list[Source]) -> Dataset:
    """One table of all sources, their files named from the folder that holds all of them."""
    whole = [root.resolve() for root in roots]
    try:
        folder = roots[0] if len(roots) == 1 else Path(os.path.commonpath(whole))
    except ValueError as error:  # drives of Windows
        raise DatasetError(f"no folder holds all of {', '.join(map(str, roots))}") from error
    names = Counter(source.name for source in found)
    others = [root for root in whole if root != folder and len(roots) > 1]
    named = {escape_name(root.relative_to(folder).as_posix()) for root in others}
    rows: dict[str, dict[str, object]] = {}
    skipped: list[tuple[str, str, str]] = []
    for root, source in zip(whole, found, strict=True):
        below = "" if len(roots) == 1 or root == folder else escape_name(root.relative_to(folder).as_posix())
        name = source.name if names[source.name] == 1 else below or source.name
        prefix = f"{below}/" if below else ""
        # A folder may be named twice, or lie in another: each file counts once, as it was first read.
        rows = {prefix + row["file"]: {**row, "source": name} for row in source.rows} | rows
        skipped += [(prefix + file, reason, name) for file, reason in source.skipped]
    table = pd.DataFrame(rows.values()).assign(file=list(rows)).sort_values("file", ignore_index=True)
    low, high = table["age_min"].to_numpy(np.int64), table["age_max"].to_numpy(np.int64)
    open_above = (high == MAX_AGE) & (low < MAX_AGE)
    table["age"] = np.where(open_above, np.minimum(low + _OPEN_BAND_YEARS, MAX_AGE), (low + high) // 2)
    table["captured"] = pd.to_datetime(
        table.pop("stamp").str.slice(0, 14), format="%Y%m%d%H%M%S", errors="coerce"
    )
    table["given_split"] = table.pop("split")
    columns = ["file", "age", "gender", "ethnicity", "captured"]
    columns += ["age_min", "age_max", "group", "source", "given_split", "aligned"]
    left = [
        (file, reason)
        for file, reason, name in skipped
        # Not where another source has its label, or is it.
        if file not in named and (file not in rows or rows[file]["source"] == name)
    ]
    return Dataset(folder, table[columns], pd.DataFrame(left, columns=["file", "reason"]))
