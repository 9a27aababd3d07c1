"""Looking through a dataset: which faces are wanted, and in what order.

A table of faces has one row a labelled file: ``age``, ``age_min`` and ``age_max`` (years), ``gender`` (code),
``group`` (in its source's words) and ``source``. What an
audit found adds ``split``, ``copies``, ``group`` and a bool column a quality flag (`FLAGS`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, Literal

import cv2
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from agegender.audit.audit import Audit
from agegender.audit.conditions import Conditions
from agegender.audit.findings import CONFLICT_YEARS
from agegender.faces.chip import resize_chip
from agegender.labels import MAX_AGE, NOT_GIVEN

FLAGS: Final[dict[str, str]] = {
    "duplicate": "the same photo is there at least once more",
    "conflicting labels": f"a copy carries another gender, or an age more than {CONFLICT_YEARS} years apart",
    "suspicious label": "a model that never saw the photo expects something else",
    "dim": "nothing in the picture is bright",
    "blurred": "the face has no fine detail",
    "unusable": "the file cannot be read, or shows nothing, or no face was found in it",
}
"""Quality flags and what they mean."""

Order = Literal["mixed", "youngest first", "oldest first", "most suspicious first"]
ORDERS: Final[tuple[Order, ...]] = ("mixed", "youngest first", "oldest first", "most suspicious first")

THUMBNAIL_SIDE: Final = 160
"""Pixels: sharp at 80 on a phone's screen of double density."""

_SHUFFLE_SEED: Final = 0


@dataclass(frozen=True)
class Selection:
    """Which faces are wanted; ``None`` wants all.

    Attributes:
        ages: Youngest and oldest year, both included; a label that is a range need share one year with them.
        gender: Code.
        ethnicity: In the words of the source.
        source: Its name.
        split: "train", "validation", "test" or "dev".
        flag: One of `FLAGS`.
    """

    ages: tuple[int, int] = (0, MAX_AGE)
    gender: int | None = None
    ethnicity: str | None = None
    source: str | None = None
    split: str | None = None
    flag: str | None = None

    def rows(self, faces: pd.DataFrame) -> NDArray[np.bool_]:
        """Says of each face whether it is wanted.

        Args:
            faces: The table. A wish for a column that it has not got is met by no face.

        Returns:
            bool of shape (n,).
        """
        low, high = self.ages
        wanted = ((faces["age_min"] <= high) & (faces["age_max"] >= low)).to_numpy(dtype=np.bool_, copy=True)
        wishes = {"gender": self.gender, "source": self.source, "split": self.split}
        wishes["group"] = "" if self.ethnicity == NOT_GIVEN else self.ethnicity
        for column, value in wishes.items():
            if value is not None:
                wanted &= (faces[column] == value).to_numpy(np.bool_) if column in faces else False
        if self.flag is not None:
            wanted &= faces[self.flag].to_numpy(np.bool_) if self.flag in faces else False
        return np.asarray(wanted)

    def without(self, *names: Literal["ages", "gender", "ethnicity", "source", "split", "flag"]) -> Selection:
        """The same without some wishes: the chart in which one chooses a gender shows both."""
        empty = Selection()
        return replace(self, **{name: getattr(empty, name) for name in names})


def flagged_faces(audit: Audit, conditions: Conditions) -> pd.DataFrame:
    """Puts what was found about each file beside its labels.

    Args:
        audit: Of the dataset.
        conditions: Of the same files.

    Returns:
        ``audit.files`` with a bool column for each of `FLAGS`, without "suspicious label" where no label was
        doubted; and with it the columns ``reasons`` (words, "" for most) and ``suspicion`` (0 is not
        suspicious; see `suspects.find_suspects`).
    """
    files, photos = audit.files, audit.photos
    conflict = photos.index[photos["gender_differs"] | (photos["age_gap"] > CONFLICT_YEARS)]
    unusable = pd.concat([audit.unreadable["file"], audit.no_picture["file"], audit.no_face["file"]])
    flags: dict[str, Any] = {
        "duplicate": files["copies"] > 1,
        "conflicting labels": files["photo"].isin(conflict),
        "dim": conditions.dim,
        "blurred": conditions.blurred,
        "unusable": files["file"].isin(unusable),
    }
    faces = files.assign(**flags)
    if audit.suspects is None:
        return faces
    rows = audit.suspects["row"].to_numpy()
    suspicion = np.zeros(len(files))
    suspicion[rows] = audit.suspects["surprise"]
    reasons = np.full(len(files), "", dtype=object)
    reasons[rows] = audit.suspects["reasons"]
    accused = np.isin(np.arange(len(files)), rows)
    found: dict[str, Any] = {"suspicious label": accused, "suspicion": suspicion, "reasons": reasons}
    return faces.assign(**found)


def in_order(faces: pd.DataFrame, wanted: NDArray[np.bool_], order: Order) -> NDArray[np.int64]:
    """Lists the wanted faces.

    Args:
        faces: The table.
        wanted: Which of them, bool of shape (n,).
        order: "mixed" is shuffled, always in the same way, whatever else is wanted: adding a wish takes
            faces away and moves none. "most suspicious first" needs the column ``suspicion`` and is "mixed"
            without.

    Returns:
        Positions in ``faces``, int64.
    """
    rows = np.random.default_rng(_SHUFFLE_SEED).permutation(len(faces))
    rows = rows[wanted[rows]]
    ages = faces["age"].to_numpy()
    if order == "most suspicious first":
        keys = -faces["suspicion"].to_numpy() if "suspicion" in faces else np.zeros(len(faces))
    else:
        keys = {"mixed": np.zeros(len(faces)), "youngest first": ages, "oldest first": -ages}[order]
    return np.asarray(rows[np.argsort(keys[rows], kind="stable")], dtype=np.int64)


def thumbnail(path: Path, side: int = THUMBNAIL_SIDE) -> bytes | None:
    """Makes a small square picture of a chip, quickly.

    Args:
        path: A JPEG or PNG file.
        side: In pixels.

    Returns:
        A JPEG file; ``None`` where the file cannot be read or decoded.
    """
    try:
        data = np.fromfile(path, dtype=np.uint8)
    except OSError:
        return None
    image = cv2.imdecode(data, cv2.IMREAD_COLOR) if data.size else None
    if image is None:
        return None
    small = resize_chip(np.asarray(image, dtype=np.uint8), (side, side))
    return bytes(cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, 85])[1])
