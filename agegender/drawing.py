"""Numbered boxes and short labels, drawn on a copy of a photo of any size."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from agegender.prediction import Prediction
from agegender.wording import short_label

Color = tuple[int, int, int]
Box = tuple[int, int, int, int]

OKABE_ITO: Final[tuple[Color, ...]] = (
    (230, 159, 0),  # orange
    (86, 180, 233),  # sky blue
    (0, 158, 115),  # bluish green
    (240, 228, 66),  # yellow
    (0, 114, 178),  # blue
    (213, 94, 0),  # vermillion
    (204, 121, 167),  # reddish purple
)
"""Colours that people with any kind of colour blindness can tell apart.

Okabe and Ito, "Color Universal Design", 2008, https://jfly.uni-koeln.de/color/. Their black is left out: it
vanishes on dark photos.
"""

BLUR_CONFIDENCE: Final = 0.6
"""Faces that the detector is at least so sure of are blurred: one too many is better than one too few."""

_BLUR_MARGIN: Final = 0.35
"""Hair, ears and chin lie outside of the detector's box; so much of it is added on each side."""

_BLUR_CELLS: Final = 8
"""Squares along a head's longer side: four or five over the face itself."""

_INK: Final[Color] = (20, 20, 20)
_PAPER: Final[Color] = (255, 255, 255)

# Text height as a share of the photo's longer side: photos are looked at scaled to the screen, so type grows
# with them. Within these limits it follows the faces, so that a crowd's labels do not hide the crowd.
_SMALLEST_TEXT: Final = 0.015
_LARGEST_TEXT: Final = 0.028
_TEXT_PER_FACE: Final = 0.2
_LEGIBLE_PIXELS: Final = 11
_LEAST_PIXELS: Final = 7


@dataclass(frozen=True)
class _Plate:
    """A label's two cells, number and words, measured but not yet placed; sizes in pixels."""

    number: str
    words: str
    number_width: int
    words_width: int
    height: int
    padding: int

    @property
    def width(self) -> int:
        return self.number_width + self.words_width


def annotate(
    image: NDArray[np.uint8], predictions: Sequence[Prediction], numbers: Sequence[int] | None = None
) -> NDArray[np.uint8]:
    """Draws a box around every face, with its number and a short label.

    Lines and type grow with the photo; labels stay inside it, and where they can, off the faces and off each
    other.

    Args:
        image: RGB ``uint8`` of shape (h, w, 3); not changed.
        predictions: The faces, with boxes in pixels of ``image``.
        numbers: Of the faces, which also choose their colours; by default they are counted from 1.

    Returns:
        The drawn copy, same shape and type as ``image``.
    """
    canvas = Image.fromarray(np.ascontiguousarray(image))
    draw = ImageDraw.Draw(canvas)
    boxes = [_whole_pixels(prediction.face.box, canvas.size) for prediction in predictions]
    line = max(1, round(max(canvas.size) / 280))
    if numbers is None:
        numbers = range(1, len(boxes) + 1)
    colors = [OKABE_ITO[(number - 1) % len(OKABE_ITO)] for number in numbers]
    for box, color in zip(boxes, colors, strict=True):
        _draw_box(draw, box, color, line)

    # Labels come last, so that no box of a neighbour crosses a text.
    taken: list[Box] = []
    size = _text_size(canvas.size, boxes)
    for index, (prediction, box) in enumerate(zip(predictions, boxes, strict=True)):
        plate, font = _measure(str(numbers[index]), short_label(prediction), size, canvas.width)
        place = _find_place(plate, box, canvas.size, taken, boxes)
        _draw_plate(draw, plate, font, place, colors[index])
        taken.append(place)
    return np.asarray(canvas).copy()


def pixelate(
    image: NDArray[np.uint8], boxes: Iterable[tuple[float, float, float, float]]
) -> NDArray[np.uint8]:
    """Makes faces unrecognisable: each becomes a few even squares, with the head around it.

    Args:
        image: RGB ``uint8`` of shape (h, w, 3); not changed.
        boxes: Where faces are, in pixels of ``image``; they may reach beyond it.

    Returns:
        The copy, same shape and type as ``image``.
    """
    copy = image.copy()
    height, width = image.shape[:2]
    for x1, y1, x2, y2 in boxes:
        more_x, more_y = _BLUR_MARGIN * (x2 - x1), _BLUR_MARGIN * (y2 - y1)
        left, right = (min(max(round(x), 0), width) for x in (x1 - more_x, x2 + more_x))
        top, bottom = (min(max(round(y), 0), height) for y in (y1 - more_y, y2 + more_y))
        if right <= left or bottom <= top:
            continue
        # Cells are as large as the whole head asks for, also where part of it is outside.
        cell = max(1.0, max(x2 - x1 + 2 * more_x, y2 - y1 + 2 * more_y) / _BLUR_CELLS)
        cells = max(1, round((right - left) / cell)), max(1, round((bottom - top) / cell))
        # Of the picture as it was: where two heads overlap, the second must not average the first's squares
        # into finer steps.
        coarse = cv2.resize(image[top:bottom, left:right], cells, interpolation=cv2.INTER_AREA)
        copy[top:bottom, left:right] = cv2.resize(
            coarse, (right - left, bottom - top), interpolation=cv2.INTER_NEAREST
        )
    return copy


def _whole_pixels(box: tuple[float, float, float, float], size: tuple[int, int]) -> Box:
    """Rounds a box to whole pixels inside the image, at least one pixel wide and high."""
    width, height = size
    x1 = min(max(round(box[0]), 0), width - 1)
    y1 = min(max(round(box[1]), 0), height - 1)
    x2 = min(max(round(box[2]), x1 + 1), width)
    y2 = min(max(round(box[3]), y1 + 1), height)
    return x1, y1, x2, y2


def _text_size(size: tuple[int, int], boxes: Sequence[Box]) -> int:
    """Chooses one type size, in pixels, for all labels of a photo."""
    longer = max(size)
    faces = [min(x2 - x1, y2 - y1) for x1, y1, x2, y2 in boxes]
    wanted = _TEXT_PER_FACE * float(np.median(faces)) if faces else 0.0
    return max(_LEGIBLE_PIXELS, round(min(max(wanted, _SMALLEST_TEXT * longer), _LARGEST_TEXT * longer)))


@lru_cache(maxsize=32)
def _font(size: int) -> ImageFont.FreeTypeFont:
    """Pillow's own scalable font: the same on every machine, nothing to install."""
    font = ImageFont.load_default(size)
    if not isinstance(font, ImageFont.FreeTypeFont):
        raise RuntimeError("Pillow was built without FreeType; install Pillow from PyPI to annotate photos")
    return font


def _measure(number: str, words: str, size: int, room: int) -> tuple[_Plate, ImageFont.FreeTypeFont]:
    """Sets a label as large as asked and as the photo's width allows.

    A photo too narrow for the words at any legible size keeps the number, which leads to the card or row.
    """
    for pixels in range(size, _LEAST_PIXELS - 1, -1):
        plate = _set_in_type(number, words, pixels)
        if plate.width <= room:
            return plate, _font(pixels)
    return _set_in_type(number, "", _LEAST_PIXELS), _font(_LEAST_PIXELS)


def _set_in_type(number: str, words: str, pixels: int) -> _Plate:
    font = _font(pixels)
    padding = max(2, round(pixels * 0.3))
    return _Plate(
        number=number,
        words=words,
        number_width=round(font.getlength(number)) + 2 * padding,
        words_width=round(font.getlength(words)) + 2 * padding if words else 0,
        height=pixels + 2 * max(1, round(pixels * 0.2)),
        padding=padding,
    )


def _find_place(
    plate: _Plate, box: Box, size: tuple[int, int], taken: Sequence[Box], faces: Sequence[Box]
) -> Box:
    """Puts a plate above its box, or wherever near it hides least.

    Candidates come in order of preference: above, below, then inside at the top and at the bottom, each
    flush with the left and with the right side. Covering another label counts ten times a face.
    """
    width, height = size
    x1, y1, x2, y2 = box
    rows = (y1 - plate.height, y2, y1, y2 - plate.height)
    columns = (x1, x2 - plate.width)
    best: Box | None = None
    least = float("inf")
    for top in rows:
        for left in columns:
            x = max(0, min(left, width - plate.width))
            y = max(0, min(top, height - plate.height))
            place = (x, y, x + plate.width, y + plate.height)
            hidden = 10 * sum(_overlap(place, other) for other in taken)
            hidden += sum(_overlap(place, other) for other in faces)
            if hidden < least:
                best, least = place, hidden
    assert best is not None  # there are always candidates
    return best


def _overlap(a: Box, b: Box) -> int:
    """The area two boxes share, in pixels."""
    across = min(a[2], b[2]) - max(a[0], b[0])
    down = min(a[3], b[3]) - max(a[1], b[1])
    return max(across, 0) * max(down, 0)


def _draw_box(draw: ImageDraw.ImageDraw, box: Box, color: Color, line: int) -> None:
    """Draws a coloured frame over a wider dark one, so that it shows on light and on dark ground."""
    x1, y1, x2, y2 = box
    edge = (x1, y1, x2 - 1, y2 - 1)  # Pillow's far corner is inside, the box's is outside
    rim = max(1, line // 3)
    if min(x2 - x1, y2 - y1) < 8 * (line + 2 * rim):
        draw.rectangle(edge, outline=color, width=1)  # a face this small would vanish behind the full frame
        return
    draw.rectangle(edge, outline=_INK, width=line + 2 * rim)
    inner = (edge[0] + rim, edge[1] + rim, edge[2] - rim, edge[3] - rim)
    draw.rectangle(inner, outline=color, width=line)


def _draw_plate(
    draw: ImageDraw.ImageDraw, plate: _Plate, font: ImageFont.FreeTypeFont, place: Box, color: Color
) -> None:
    """Draws the number in a dark cell and the words in a cell of the box's colour."""
    x1, y1, x2, y2 = place
    split = x1 + plate.number_width
    middle = (y1 + y2) / 2
    draw.rectangle((x1, y1, split - 1, y2 - 1), fill=_INK)
    # "lm": from the left, centred between ascent and descent, so that no letter moves its neighbours.
    draw.text((x1 + plate.padding, middle), plate.number, font=font, fill=_PAPER, anchor="lm")
    if plate.words:
        draw.rectangle((split, y1, x2 - 1, y2 - 1), fill=color)
        draw.text((split + plate.padding, middle), plate.words, font=font, fill=_ink_on(color), anchor="lm")


def _ink_on(color: Color) -> Color:
    """Black or white, whichever contrasts more (relative luminance and ratio of WCAG 2.2)."""
    channels = np.array(color) / 255.0
    linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
    luminance = float(linear @ np.array([0.2126, 0.7152, 0.0722]))
    against_white = 1.05 / (luminance + 0.05)
    against_black = (luminance + 0.05) / 0.05
    return _PAPER if against_white > against_black else _INK
