"""Readers of labelled face folders: UTKFace's names, FairFace, APPA-REAL, All-Age-Faces, and a plain CSV.

Each reader turns one folder into rows of the one table that `agegender.data.table` describes. None reads
pixels. A row that makes no sense is named and skipped; a file that lacks a column is an error, because then
no row of it can be trusted.
"""

from __future__ import annotations

import csv
import os
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any, Final

from agegender.errors import DatasetError
from agegender.files import escape_name, escape_no_text, walk_files
from agegender.labels import ETHNICITIES, GENDERS, MAX_AGE

IMAGE_ENDINGS: Final = (".jpg", ".jpeg", ".png", ".webp")

LABELS_FILE: Final = "labels.csv"
"""The plain form: a CSV beside the pictures, UTF-8, with a header. Columns, in any order:

- ``file``: path below the folder, with ``/`` between its parts;
- ``age_min``, ``age_max``: years, both ends included; equal for an exact age, ``age_max`` empty for "so old
  or older"; or one column ``age`` with either a number or a range like ``20-29`` or ``70+``. Of a fraction
  the completed years count;
- ``gender``: male or female, or 0 and 1 as in UTKFace;
- ``race`` or ``group`` (may be missing): in words of your own;
- ``split`` (may be missing or empty): train, or dev for what must not be trained on; otherwise the first
  folder of ``file`` says it, where it is named train, dev, val, valid, validation or test, and a photo of
  neither is split by content.
"""

_SPLIT_WORDS: Final = {"train": "train"} | dict.fromkeys(("dev", "val", "valid", "validation", "test"), "dev")

_UTKFACE: Final = re.compile(r"(?P<age>\d{1,3})_(?P<gender>\d)_(?P<ethnicity>\d)_(?P<rest>.+)", re.ASCII)
_CHIP_REST: Final = re.compile(r"(?P<stamp>\d{17})\.jpg\.chip\.jpg", re.ASCII)
_OWN_REST: Final = re.compile(r"(?P<stamp>[^.]+)\.(?:jpe?g|png|webp)", re.ASCII | re.IGNORECASE)
_YEARS: Final = r"\d{1,3}(?:\.\d+)?"
_RANGE: Final = re.compile(
    rf"(?P<low>{_YEARS})(?:\s*(?:-|–)\s*(?P<high>{_YEARS})|\s*(?P<open>\+))?", re.ASCII
)
_MORE_THAN: Final = re.compile(rf"more than (?P<low>{_YEARS})", re.ASCII | re.IGNORECASE)
_ALL_AGE_FACES: Final = re.compile(r"(?P<number>\d{5})A(?P<age>\d{2,3})\.\w+", re.ASCII)

_ALL_AGE_FACES_WOMEN: Final = 7381
"""All-Age-Faces numbers its photos from 0; its authors give the first 7,381 to women, the rest to men."""


@dataclass(frozen=True)
class Labelled:
    """One file and its label as a source has it.

    Attributes:
        file: Path below the source's folder.
        age: Text as `parse_age` reads it.
        gender: Text as `parse_gender` reads it.
        group: In the source's own words, empty where unknown.
        split: "train", "dev" or empty.
        ethnicity: UTKFace's code, -1 elsewhere.
        aligned: Whether it is a chip in UTKFace's geometry.
        stamp: UTKFace's date, or empty.
    """

    file: str
    age: str
    gender: str
    group: str = ""
    split: str = ""
    ethnicity: int = -1
    aligned: bool = False
    stamp: str = ""


@dataclass(frozen=True)
class Source:
    """What a reader found.

    Attributes:
        name: Of the source: its folder's.
        form: Which of the known forms it is in, for people.
        rows: One a usable file: the fields of `Labelled`, with ``age_min`` and ``age_max`` (years) instead of
            ``age`` and a code for ``gender``.
        skipped: Files without a usable label, with the reason.
    """

    name: str
    form: str
    rows: list[dict[str, Any]]
    skipped: list[tuple[str, str]]


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
    match = _UTKFACE.fullmatch(name)
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


def parse_age(text: str) -> tuple[int, int]:
    """Reads an age or a range of ages: "31", "2.5", "20-29", "70+", "more than 70".

    Returns:
        Lowest and highest completed year, both included; the highest is ``MAX_AGE`` where the range is open
        above.

    Raises:
        ValueError: With the reason, where it is none, or over ``MAX_AGE``.
    """
    match = _RANGE.fullmatch(text.strip()) or _MORE_THAN.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"{text!r} is no age and no range of ages")
    found = match.groupdict()
    low = int(float(found["low"]))
    open_above = match.re is _MORE_THAN or found["open"] is not None
    high = MAX_AGE if open_above else int(float(found["high"] or low))
    if not 0 <= low <= high <= MAX_AGE:
        raise ValueError(f"ages {low} to {high} are not a range within 0 to {MAX_AGE}")
    return low, high


def parse_gender(text: str) -> int:
    """Reads "male", "female", "0" or "1", in any case, as UTKFace's code.

    Raises:
        ValueError: It is none of them.
    """
    word = text.strip().lower()
    if word in GENDERS:
        return GENDERS.index(word)
    if word in ("0", "1", "0.0", "1.0"):  # with a dot where pandas wrote a column with gaps
        return int(word[0])
    raise ValueError(f"gender {text!r} is neither male nor female")


def read_source(folder: Path) -> Source:
    """Reads one folder, in whichever of the known forms it is.

    Args:
        folder: Of pictures. A `LABELS_FILE`, FairFace's, APPA-REAL's or All-Age-Faces' own files say what
            it is; otherwise names are UTKFace's.

    Returns:
        Its rows, named after the folder, and what was skipped.

    Raises:
        DatasetError: A labels file lacks a column or cannot be read, or the folder holds nothing but folders
            with labels files, which are to be named one by one.
    """
    form = next((form for form, (pattern, _) in _FROM_CSV.items() if any(folder.glob(pattern))), None)
    inner: set[str] = set()
    if form is not None:
        found_there = _FROM_CSV[form][1](folder)
    else:
        labelled = (path for pattern, _ in _FROM_CSV.values() for path in folder.glob(f"*/{pattern}"))
        inner = {escape_name(path.parent.name) for path in labelled}
        files = [file for file in _images_below(folder) if _first_folder(file) not in inner]
        first = next((file for file in files if isinstance(file, str)), "")
        form = "UTKFace" if _ALL_AGE_FACES.fullmatch(first.rpartition("/")[2]) is None else "All-Age-Faces"
        found_there = (_read_utkface if form == "UTKFace" else _read_all_age_faces)(files)
    rows: list[dict[str, Any]] = []
    seen: set[str] = set()
    skipped = [(name, "a source of its own, to be named too") for name in sorted(inner)]
    for found in found_there:
        if not isinstance(found, Labelled):
            skipped.append(found)
            continue
        try:
            if found.file in seen:
                raise ValueError("the file has a label already")
            age_min, age_max = parse_age(found.age)
            gender = parse_gender(found.gender)
        except ValueError as error:
            skipped.append((found.file, str(error)))
            continue
        seen.add(found.file)
        values = {**vars(found), "age_min": age_min, "age_max": age_max, "gender": gender}
        del values["age"]
        rows.append(values)
    if inner and not rows:
        raise DatasetError(f"{folder} holds several sources, to be named each: {', '.join(sorted(inner))}")
    return Source(escape_name(folder.resolve().name), form, rows, skipped)


_Found = Iterator[Labelled | tuple[str, str]]
"""Labelled files, and (file, reason) for those without a label."""


def _first_folder(file: str | tuple[str, str]) -> str:
    return (file if isinstance(file, str) else file[0]).partition("/")[0]


def _images_below(folder: Path) -> Iterator[str | tuple[str, str]]:
    """Pictures below a folder as `walk_files` finds them, names escaped; and what cannot be listed."""
    files, unlistable = walk_files(folder, IMAGE_ENDINGS)
    for path in unlistable:
        yield escape_name(path.relative_to(folder).as_posix()), "a folder that cannot be opened"
    for path in files:
        yield escape_name(path.relative_to(folder).as_posix())


def _read_utkface(files: Iterable[str | tuple[str, str]]) -> _Found:
    for file in files:
        if isinstance(file, tuple):
            yield file
            continue
        try:
            age, gender, ethnicity, stamp = parse_name(file.rpartition("/")[2])
        except ValueError as error:
            yield file, str(error)
            continue
        group = ETHNICITIES[ethnicity]
        yield Labelled(file, str(age), str(gender), group, ethnicity=ethnicity, aligned=True, stamp=stamp)


def _read_plain(folder: Path) -> _Found:
    columns = ({"file", "gender", "age_min", "age_max"}, {"file", "gender", "age"})
    for row in _csv_rows(folder / LABELS_FILE, *columns):
        age = row.get("age", "")
        if "age_min" in row and "age_max" in row:
            high = row["age_max"].strip()
            age = f"{row['age_min'].strip()}-{high}" if high else f"{row['age_min'].strip()}+"
        stated = row.get("split", "").strip().lower()
        if stated not in {"", *_SPLIT_WORDS}:  # or it would be trained on, whatever was meant
            yield escape_name(row["file"]), f"split {stated!r} is none of {', '.join(_SPLIT_WORDS)}"
            continue
        split = _SPLIT_WORDS[stated] if stated else _split_of(row["file"])
        group = row.get("group") or row.get("race") or ""
        yield _listed(folder, Labelled(row["file"], age, row["gender"], group.strip(), split))


def _split_of(file: str) -> str:
    """What the first folder of a path says of its split."""
    first, slash, _ = file.partition("/")
    return _SPLIT_WORDS.get(first.lower(), "") if slash else ""


def _listed(folder: Path, row: Labelled) -> Labelled | tuple[str, str]:
    """A file that a CSV names; or why it is none of the folder's. The CSV may be longer than the folder."""
    path, name = PurePosixPath(row.file), escape_name(row.file)
    if not row.file or path.is_absolute() or ".." in path.parts:
        return name, "not a path below the folder"
    if not os.path.isfile(folder / path):  # noqa: PTH113 - Path.is_file raises where a name is too long
        return name, "there is no such file"
    return replace(row, file=name, group=escape_no_text(row.group))


def _read_fairface(folder: Path) -> _Found:
    """FairFace as published: ``fairface_label_train.csv`` and ``fairface_label_val.csv``."""
    for path in sorted(folder.glob(_FAIRFACE_FILES)):
        for row in _csv_rows(path, {"file", "age", "gender", "race"}):
            file = row["file"]
            labelled = Labelled(file, row["age"], row["gender"], row["race"], _split_of(file))
            yield _listed(folder, labelled)


def _read_appa_real(folder: Path) -> _Found:
    """APPA-REAL as published: ``gt_avg_<part>.csv`` for ages, ``allcategories_<part>.csv`` for gender."""
    for path in sorted(folder.glob(_APPA_REAL_FILES)):
        part = path.stem.removeprefix("gt_avg_")
        categories = _csv_rows(folder / f"allcategories_{part}.csv", {"file", "gender", "race"})
        people = {row["file"]: row for row in categories}
        for row in _csv_rows(path, {"file_name", "real_age"}):
            person = people.get(row["file_name"], {"gender": "", "race": ""})
            # The set's own crops: the photo beside each may show other people.
            file = f"{part}/{row['file_name']}_face.jpg"
            split = "train" if part == "train" else "dev"
            labelled = Labelled(file, row["real_age"], person["gender"], person["race"], split)
            yield _listed(folder, labelled)


def _read_all_age_faces(files: Iterable[str | tuple[str, str]]) -> _Found:
    """All-Age-Faces as published: ``12345A67.jpg`` is photo 12345, of a person of 67 years."""
    for file in files:
        if isinstance(file, tuple):
            yield file
            continue
        match = _ALL_AGE_FACES.fullmatch(file.rpartition("/")[2])
        if match is None:
            yield file, "name is not [number]A[age].jpg"
            continue
        woman = int(match["number"]) < _ALL_AGE_FACES_WOMEN
        yield Labelled(file, match["age"], "female" if woman else "male", split=_split_of(file))


def _csv_rows(path: Path, *columns: set[str]) -> Iterator[dict[str, str]]:
    """Rows of a CSV by column name, which must have one of the given sets of columns.

    Raises:
        DatasetError: The file cannot be read, or a column is missing.
    """
    try:
        with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
            reader = csv.DictReader(file, skipinitialspace=True)
            reader.fieldnames = [name.strip() for name in reader.fieldnames or ()]
            there = set(reader.fieldnames)
            if not any(wanted <= there for wanted in columns):
                held = ", ".join(sorted(there)) or "nothing"
                needed = " or ".join(", ".join(sorted(wanted)) for wanted in columns)
                raise DatasetError(f"{path} has the columns {held}; it needs {needed}")
            for row in reader:
                yield {key: value or "" for key, value in row.items() if key is not None}
    except (OSError, csv.Error) as error:
        reason = getattr(error, "strerror", None) or error
        raise DatasetError(f"cannot read the labels {path}: {reason}") from error


_FAIRFACE_FILES, _APPA_REAL_FILES = "fairface_label_*.csv", "gt_avg_*.csv"
_FROM_CSV: Final[dict[str, tuple[str, Callable[[Path], _Found]]]] = {
    LABELS_FILE: (LABELS_FILE, _read_plain),
    "FairFace": (_FAIRFACE_FILES, _read_fairface),
    "APPA-REAL": (_APPA_REAL_FILES, _read_appa_real),
}
"""Forms that hold labels in CSV files: which, and their readers. The others hold them in names."""
