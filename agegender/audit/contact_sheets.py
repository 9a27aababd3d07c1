"""Contact sheets for looking at what an audit found, and the sample of pairs that a threshold is judged by.

Sheets show the dataset's photos: they are for the person who runs the audit, and for nobody's repository.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from agegender.errors import ImageError
from agegender.images import read_image

DISTANCE_BANDS: Final[tuple[tuple[int, int], ...]] = (
    *((0, 8), (9, 16), (17, 24)),
    *((25, 28), (29, 32), (33, 40)),
)
"""Bits, both ends included: up to and beyond `duplicates.NEAR_DUPLICATE_BITS`."""

PAIRS_PER_BAND: Final = 60
SAMPLE_SEED: Final = 20

_CHIP: Final = 96
_GAP: Final = 6
_LINE: Final = 13
_WIDTH: Final = 1000
_PAPER, _INK, _MISSING = (255, 255, 255), (0, 0, 0), (128, 128, 128)


@dataclass(frozen=True)
class Tile:
    """One entry of a contact sheet.

    Attributes:
        files: The pictures to show side by side.
        lines: What to write under them.
    """

    files: tuple[Path, ...]
    lines: tuple[str, ...]


def distance_band(bits: NDArray[np.int64]) -> NDArray[np.int64]:
    """Finds the band of each distance.

    Args:
        bits: Distances, int64 of shape (n,).

    Returns:
        Indices into `DISTANCE_BANDS`, int64 of shape (n,); beyond the last band its length.
    """
    return np.searchsorted([high for _, high in DISTANCE_BANDS], bits).astype(np.int64)


def sample_pairs(pairs: pd.DataFrame, *, each: int = PAIRS_PER_BAND, seed: int = SAMPLE_SEED) -> pd.DataFrame:
    """Draws pairs from every band of distances.

    Args:
        pairs: One row a pair, with ``bits``, in a fixed order.
        each: How many of each band at most.
        seed: Of the draw; the same seed on the same pairs draws the same.

    Returns:
        The drawn rows with the columns ``band`` (index into `DISTANCE_BANDS`) and ``number`` (within its
        band, from 1), by band and number.
    """
    rng = np.random.default_rng(seed)
    bands = distance_band(pairs["bits"].to_numpy(np.int64))
    drawn = []
    for band in range(len(DISTANCE_BANDS)):
        rows = np.flatnonzero(bands == band)
        chosen = pairs.iloc[np.sort(rng.choice(rows, size=min(each, len(rows)), replace=False))]
        drawn.append(chosen.assign(band=band, number=np.arange(1, len(chosen) + 1)))
    return pd.concat(drawn, ignore_index=True)


def draw_sheet(tiles: Sequence[Tile]) -> Image.Image:
    """Lays pictures out in rows, with words under each tile.

    Args:
        tiles: At least one, all with as many pictures as the first. A picture that cannot be read is grey.

    Returns:
        An RGB picture about 1,000 pixels wide.
    """
    across, lines = len(tiles[0].files), max(len(tile.lines) for tile in tiles)
    width, height = across * _CHIP + _GAP, _CHIP + lines * _LINE + _GAP
    columns = max(1, _WIDTH // width)
    sheet = Image.new("RGB", (columns * width, -(-len(tiles) // columns) * height), _PAPER)
    draw = ImageDraw.Draw(sheet)
    for index, tile in enumerate(tiles):
        x, y = index % columns * width, index // columns * height
        for place, file in enumerate(tile.files):
            sheet.paste(_thumbnail(file), (x + place * _CHIP, y))
        for row, line in enumerate(tile.lines):
            draw.text((x, y + _CHIP + row * _LINE), line, fill=_INK)
    return sheet


def _thumbnail(file: Path) -> Image.Image:
    try:
        return Image.fromarray(read_image(file)).resize((_CHIP, _CHIP), Image.Resampling.BOX)
    except ImageError:
        return Image.new("RGB", (_CHIP, _CHIP), _MISSING)
