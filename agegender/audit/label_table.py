"""The labels of UTKFace as a small table that ships with the project: facts only, no names and no pictures.

For looking at the dataset where the dataset itself is not. `tools/once/write_label_table.py` writes it.
"""

from __future__ import annotations

import gzip
import io
import zlib
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd

from agegender.assets import LABEL_TABLE
from agegender.data.split import SPLITS
from agegender.errors import DatasetError
from agegender.export import write_atomically
from agegender.files import MALFORMED
from agegender.labels import ETHNICITIES

COLUMNS: Final[tuple[str, ...]] = ("age", "gender", "ethnicity", "captured", "split", "copies")


def read_label_table(path: Path = LABEL_TABLE) -> pd.DataFrame:
    """Reads the labels that ship with the project.

    Args:
        path: A file that `write_label_table` wrote.

    Returns:
        One row a labelled file, in an order that says nothing: ``age`` (years), ``gender`` and
        ``ethnicity`` (UTKFace's codes), all int64; ``captured`` (day, datetime64, ``NaT`` where the name
        carries no date); ``split`` ("train", "validation" or "test"); ``copies``, int64: how many files
        show that photo, itself included; and the other labels of `agegender.data.table.Dataset` that follow
        from these.

    Raises:
        DatasetError: The file is missing or is no such table.
    """
    try:
        table = pd.read_csv(path, parse_dates=["captured"])
        codes = table[["age", "gender", "ethnicity", "copies"]].astype("int64")
        if not codes["ethnicity"].isin(range(len(ETHNICITIES))).all():
            raise ValueError("an ethnicity code is none of UTKFace's")
        if not table["split"].isin(SPLITS).all():
            raise ValueError(f"a split is none of {', '.join(SPLITS)}")
    except (OSError, EOFError, zlib.error, *MALFORMED) as error:
        raise DatasetError(f"{path} is not a table of labels: {error}") from error
    facts = table.assign(**codes)[list(COLUMNS)]
    groups = np.array(ETHNICITIES, dtype=object)[facts["ethnicity"]]
    same: dict[str, Any] = {"age_min": facts["age"], "age_max": facts["age"], "group": groups}
    return facts.assign(**same, source="UTKFace", aligned=True)


def write_label_table(files: pd.DataFrame, path: Path = LABEL_TABLE) -> None:
    """Writes the labels of an audited dataset, without names.

    Args:
        files: Rows with the columns `COLUMNS`, such as `agegender.audit.audit.Audit.files`; of dates the day
            is kept.
        path: Where to; the same rows always give the same bytes.
    """
    days = files[list(COLUMNS)].assign(captured=files["captured"].dt.strftime("%Y-%m-%d"))
    text = days.sort_values(list(COLUMNS)).to_csv(index=False, lineterminator="\n")
    packed = io.BytesIO()
    with gzip.GzipFile(fileobj=packed, mode="wb", mtime=0) as stream:  # no time stamp, no file name inside
        stream.write(text.encode("ascii"))
    write_atomically(path, packed.getvalue())
