"""A UTKFace-like folder as a table: file names in, labels out. Reads no pixels."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pandas as pd

from agegender.errors import DatasetError
from agegender.files import escape_name, walk_files
from agegender.labels import MAX_AGE

DATA_ENVIRONMENT_VARIABLE: Final = "UTKFACE_DIR"

HOW_TO_GET_UTKFACE: Final = (
    "UTKFace is free for non-commercial research: ask for the 'Aligned&Cropped Faces' archive on "
    "https://susanqq.github.io/UTKFace/, unpack it, and name its folder with --data or the environment "
    f"variable {DATA_ENVIRONMENT_VARIABLE} (README, 'Getting UTKFace')."
)

_IMAGE_ENDINGS: Final = (".jpg", ".jpeg", ".png")
_LABELS: Final = re.compile(r"(?P<age>\d{1,3})_(?P<gender>\d)_(?P<ethnicity>\d)_(?P<rest>.+)", re.ASCII)
_CHIP_REST: Final = re.compile(r"(?P<stamp>\d{17})\.jpg\.chip\.jpg", re.ASCII)
_OWN_REST: Final = re.compile(r"(?P<stamp>[^.]+)\.(?:jpe?g|png)", re.ASCII | re.IGNORECASE)


@dataclass(frozen=True, eq=False)
class Dataset:
    """The labels of a folder of face chips.

    Attributes:
        folder: Where the files are.
        table: One row a usable file name, sorted by ``file``, with a RangeIndex and the columns ``file``
            (path below ``folder``, str, escaped by `agegender.files`: `paths_below` gives what to open),
            ``age`` (whole years, int64, 0 to 116), ``gender`` and ``ethnicity`` (UTKFace's codes, int64) and
            ``captured`` (datetime64, ``NaT`` where the name carries no date). Whether
            a file can be decoded is not known yet.
        skipped: One row a file that looks like an image but whose name is not a label, with the columns
            ``file`` and ``reason``.
    """

    folder: Path
    table: pd.DataFrame
    skipped: pd.DataFrame


def default_data_folder() -> Path | None:
    """The folder that ``UTKFACE_DIR`` names, or ``None`` where the variable is unset or empty."""
    value = os.environ.get(DATA_ENVIRONMENT_VARIABLE, "").strip()
    return Path(value).expanduser() if value else None


def parse_name(name: str) -> tuple[int, int, int, str]:
    """Reads the labels out of a UTKFace file name.

    UTKFace's own chips are named ``[age]_[gender]_[ethnicity]_[yyyymmddHHMMSSmmm].jpg.chip.jpg`` and are
    held to that form exactly, because a digit or a dot too few is how its damaged labels show. Pictures
    of your own may carry any text after the third underscore: ``31_1_0_anna.jpg``.

    Args:
        name: File name without its folder.

    Returns:
        Age in years, gender code, ethnicity code, and the text after the labels.

    Raises:
        ValueError: With the reason, where the name is not of that form.
    """
    match = _LABELS.fullmatch(name)
    if match is None:
        raise ValueError("name is not [age]_[gender]_[ethnicity]_[date].jpg.chip.jpg")
    rest_form = _CHIP_REST if name.endswith(".chip.jpg") else _OWN_REST
    rest = rest_form.fullmatch(match["rest"])
    if rest is None:
        raise ValueError("the part after the labels is not a 17-digit date and .jpg.chip.jpg")
    age, gender, ethnicity = int(match["age"]), int(match["gender"]), int(match["ethnicity"])
    if age > MAX_AGE:
        raise ValueError(f"age {age} is over {MAX_AGE}")
    if gender > 1:
        raise ValueError(f"gender code {gender} is neither 0 nor 1")
    if ethnicity > 4:
        raise ValueError(f"ethnicity code {ethnicity} is not 0 to 4")
    return age, gender, ethnicity, rest["stamp"]


def read_dataset(folder: str | os.PathLike[str] | None = None) -> Dataset:
    """Lists a folder of UTKFace-named face chips, with its subfolders, as `agegender.files.walk_files` does.

    Args:
        folder: The dataset folder; ``None`` takes the one that ``UTKFACE_DIR`` names.

    Returns:
        The labels, and the files whose names could not be read.

    Raises:
        DatasetError: No folder was named, it does not exist, or no file in it has a readable name.
    """
    root = Path(folder).expanduser() if folder is not None else default_data_folder()
    if root is None:
        raise DatasetError(f"no dataset folder was named. {HOW_TO_GET_UTKFACE}")
    if not root.is_dir():
        raise DatasetError(f"{root} is not a folder. {HOW_TO_GET_UTKFACE}")

    rows: list[tuple[str, int, int, int, str]] = []
    skipped: list[tuple[str, str]] = []
    files, unlistable = walk_files(root, _IMAGE_ENDINGS)
    skipped += [(_name_below(root, path), "a folder that cannot be opened") for path in unlistable]
    for path in files:
        file = _name_below(root, path)
        try:
            rows.append((file, *parse_name(file.rpartition("/")[2])))
        except ValueError as error:
            skipped.append((file, str(error)))
    if not rows:
        raise DatasetError(
            f"no images named like 25_0_2_20170116174525125.jpg.chip.jpg in {root} "
            f"({len(skipped)} other images there). {HOW_TO_GET_UTKFACE}"
        )

    table = pd.DataFrame(rows, columns=["file", "age", "gender", "ethnicity", "captured"])
    table["captured"] = pd.to_datetime(
        table["captured"].str.slice(0, 14), format="%Y%m%d%H%M%S", errors="coerce"
    )
    return Dataset(root, table, pd.DataFrame(skipped, columns=["file", "reason"]))


def _name_below(root: Path, path: Path) -> str:
    return escape_name(path.relative_to(root).as_posix())
