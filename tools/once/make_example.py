"""Compose the app's built-in example picture: a wall with three framed photos, all of them free.

Two portraits come with the packages scikit-image and matplotlib. The group photo comes with Debian's
`gcompris-qt-data`, which need not be installed, only unpacked:

    apt-get download gcompris-qt-data && dpkg-deb -x gcompris-qt-data_*.deb unpacked
    python -m tools.once.make_example unpacked/usr/share/gcompris-qt/rcc/explore_world_music.rcc

Who is shown and under which licence is written in agegender/assets/README.md. Each source is recognised
by its checksum, so that a package that swaps a picture cannot slip an unlicensed one in.
"""

from __future__ import annotations

import argparse
import hashlib
import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import matplotlib as mpl
import numpy as np
import skimage
from PIL import Image, ImageDraw, ImageFilter

OUTPUT = Path(__file__).resolve().parents[2] / "agegender" / "assets" / "example.jpg"
MAX_BYTES = 300_000

MARIACHI_SHA256 = "cd1286e5d7649bc446a47297f0127a38295e5a5f39a641b528e0c5063675c9d1"
ASTRONAUT_SHA256 = "88431cd9653ccd539741b555fb0a46b61558b301d4110412b5bc28b5e3ea6cb5"
HOPPER_SHA256 = "a8ca6d734765703b09728ab47fe59f473d93ae3967fc24c7c0288c3c7adb7130"

WALL_SIZE = (1600, 858)
GAP = 50  # between neighbouring frames, px
MAT = 24  # white border between picture and frame, px
MOULDING = 10  # visible width of the frame, px
BORDER = MAT + MOULDING

PORTRAIT_SIZE = (281, 281)  # two of them, framed and with the gap, are as high as the framed group photo
ASTRONAUT_BOX = (85, 7, 366, 288)  # head and shoulders, at the source's own resolution
HOPPER_BOX = (37, 6, 483, 452)  # a tighter source: scaled down to match the other portrait

WALL_TOP, WALL_BOTTOM = (226, 221, 212), (202, 196, 186)
MAT_COLOUR = (250, 248, 243)
BEVEL_COLOUR = (214, 209, 199)
WOOD, WOOD_LIGHT, WOOD_DARK = (74, 52, 38), (108, 80, 61), (46, 31, 22)


@dataclass(frozen=True)
class Placement:
    """A picture and where on the wall its top left corner goes.

    Attributes:
        picture: RGB image, shown at its own size.
        corner: (x, y) of the picture itself in wall pixels, frame and mat excluded.
    """

    picture: Image.Image
    corner: tuple[int, int]


def webp_chunks(data: bytes) -> Iterator[bytes]:
    """Yield every WebP file embedded in a blob; Qt resource files store such files as they are."""
    start = data.find(b"RIFF")
    while start >= 0:
        if data[start + 8 : start + 12] == b"WEBP":
            # RIFF: the little-endian length at byte 4 counts what follows it
            yield data[start : start + 8 + int.from_bytes(data[start + 4 : start + 8], "little")]
        start = data.find(b"RIFF", start + 4)


def open_checked(data: bytes, sha256: str, name: str) -> Image.Image:
    """Decode a picture after making sure that it is the one whose licence was checked.

    Raises:
        SystemExit: The checksum differs.
    """
    if hashlib.sha256(data).hexdigest() != sha256:
        raise SystemExit(f"{name} is not the file whose licence was checked; see agegender/assets/README.md")
    return Image.open(io.BytesIO(data)).convert("RGB")


def read_group_photo(resource_file: Path) -> Image.Image:
    """Find the mariachi photo (1024×680) in GCompris' `explore_world_music.rcc`.

    Raises:
        SystemExit: The file holds no such photo.
    """
    for chunk in webp_chunks(resource_file.read_bytes()):
        if hashlib.sha256(chunk).hexdigest() == MARIACHI_SHA256:
            return open_checked(chunk, MARIACHI_SHA256, resource_file.name)
    raise SystemExit(f"no photo with the expected checksum in {resource_file}")


def read_portrait(path: Path, sha256: str, box: tuple[int, int, int, int]) -> Image.Image:
    """Read a portrait, cut `box` (left, top, right, bottom) out and bring it to `PORTRAIT_SIZE`."""
    picture = open_checked(path.read_bytes(), sha256, path.name)
    return picture.resize(PORTRAIT_SIZE, Image.Resampling.LANCZOS, box=box)


def paint_wall() -> Image.Image:
    """Return an empty wall of `WALL_SIZE`, a little darker towards the floor."""
    width, height = WALL_SIZE
    fade = np.linspace(0, 1, height)[:, None, None]
    column = np.array(WALL_TOP) * (1 - fade) + np.array(WALL_BOTTOM) * fade
    return Image.fromarray(np.broadcast_to(column, (height, width, 3)).round().astype(np.uint8))


def _grow(box: tuple[int, int, int, int], by: int) -> tuple[int, int, int, int]:
    left, top, right, bottom = box
    return left - by, top - by, right + by, bottom + by


def hang(wall: Image.Image, placement: Placement) -> None:
    """Draw shadow, frame, mat and picture onto the wall, in place."""
    x, y = placement.corner
    picture = placement.picture
    box = (x, y, x + picture.width - 1, y + picture.height - 1)
    outer = _grow(box, BORDER)

    shadow = Image.new("L", wall.size)
    left, top, right, bottom = outer
    ImageDraw.Draw(shadow).rectangle((left + 6, top + 12, right + 6, bottom + 12), fill=120)
    wall.paste((60, 50, 42), mask=shadow.filter(ImageFilter.GaussianBlur(11)))

    draw = ImageDraw.Draw(wall)
    draw.rectangle(outer, fill=WOOD)
    # Light falls from the upper left: one bright and one dark edge make the moulding look solid.
    draw.line([(left, bottom), (left, top), (right, top)], fill=WOOD_LIGHT, width=2)
    draw.line([(right, top), (right, bottom), (left, bottom)], fill=WOOD_DARK, width=2)
    draw.rectangle(_grow(box, MAT), fill=MAT_COLOUR)
    draw.rectangle(_grow(box, 2), fill=BEVEL_COLOUR)
    wall.paste(picture, (x, y))


def arrange(group: Image.Image, upper: Image.Image, lower: Image.Image) -> list[Placement]:
    """Put the group photo on the left and the portraits in a column beside it, all centred on the wall."""
    width = group.width + upper.width + 4 * BORDER + GAP
    height = upper.height + lower.height + 4 * BORDER + GAP
    left, top = (WALL_SIZE[0] - width) // 2 + BORDER, (WALL_SIZE[1] - height) // 2 + BORDER
    column = left + group.width + 2 * BORDER + GAP
    return [
        Placement(group, (left, (WALL_SIZE[1] - group.height) // 2)),
        Placement(upper, (column, top)),
        Placement(lower, (column, top + upper.height + 2 * BORDER + GAP)),
    ]


def main() -> None:
    """Write `agegender/assets/example.jpg`."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("resource_file", type=Path, help="explore_world_music.rcc of gcompris-qt-data")
    parser.add_argument("--output", type=Path, default=OUTPUT, help="where to write (default: %(default)s)")
    arguments = parser.parse_args()

    group = read_group_photo(arguments.resource_file)
    astronaut = Path(skimage.__file__).parent / "data" / "astronaut.png"
    hopper = Path(mpl.get_data_path()) / "sample_data" / "grace_hopper.jpg"
    wall = paint_wall()
    for placement in arrange(
        group,
        read_portrait(astronaut, ASTRONAUT_SHA256, ASTRONAUT_BOX),
        read_portrait(hopper, HOPPER_SHA256, HOPPER_BOX),
    ):
        hang(wall, placement)

    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    wall.save(arguments.output, quality=88, optimize=True, progressive=True)
    size = arguments.output.stat().st_size
    if size > MAX_BYTES:
        raise SystemExit(f"{arguments.output}: {size:,} bytes, more than the {MAX_BYTES:,} meant for it")
    print(f"{arguments.output}: {wall.width}×{wall.height}, {size:,} bytes")


if __name__ == "__main__":
    main()
