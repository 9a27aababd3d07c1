"""A picture file, whatever its format, to upright RGB pixels; and the one place that refuses bad input.

`read_image` either returns the whole picture as it is meant to be seen or raises an `ImageError` that names
the file and the reason. `find_images` turns what a person types (files, folders, globs) into paths.
"""

from __future__ import annotations

import os
import stat
import struct
import threading
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from datetime import datetime
from functools import partial
from io import SEEK_END, BytesIO, TextIOBase
from pathlib import Path
from typing import Any, BinaryIO, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageChops, ImageCms, TiffImagePlugin

from agegender.errors import (
    EmptyImageError,
    ImageError,
    ImageTooLargeError,
    NotAnImageError,
    TruncatedImageError,
)
from agegender.files import find_files
from agegender.image_formats import FORMATS, ImageFormat

MAX_PIXELS: Final = 120_000_000
"""Width times height of the largest picture that is decoded: above the 108 million of a phone's largest
sensor mode. Decoding that many takes 1 GB for a moment, of WebP half as much again
(docs/measurements/limits.json)."""

MAX_BYTES: Final = 200 * 2**20
"""Size of the largest file that is read, 200 MiB: what Streamlit's uploader takes by default."""

IMAGE_SUFFIXES: Final[frozenset[str]] = frozenset().union(*(known.suffixes for known in FORMATS))
"""File name endings that `find_images` looks for in folders: lower case, with the dot. `read_image` goes by
the content and ignores the name."""

_LARGE: Final = 30_000_000
_LARGE_TURN: Final = threading.RLock()
"""Of pictures with more pixels than `_LARGE` one is decoded at a time, however many threads read: each takes
1 GB for a moment."""

_ORIENTATION_TAG = 0x0112
_EXIF_IFD: Final = 0x8769
_TIME_TAGS: Final = (0x9003, 0x9004)
"""When the picture was taken; when it was digitized, which a scanner writes. Exif 3.0, section 4.6.5."""
_TURNS: Final[dict[object, Image.Transpose]] = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""EXIF orientation to the turn that makes the picture upright; 1 and unknown values need none."""
_SIDEWAYS: Final = frozenset({5, 6, 7, 8})
_LAST_FIRST: Final = frozenset({3, 4, 6, 7})
"""Orientations whose rows become columns, and those whose first row becomes the last or rightmost."""

_PHOTOMETRIC_TAG, _BITS_TAG = 262, 258
_PROBE: Final = Image.fromarray(
    np.stack(np.meshgrid(*[np.linspace(0, 255, 17).astype(np.uint8)] * 3), axis=-1).reshape(17, -1, 3)
)
"""Colours all over the cube, greys among them. A profile that moves each by `_SAME_COLOR` at most is sRGB."""
_SAME_COLOR: Final = 2
_SAME_GAMMA: Final = 0.05
"""So near to 1/2.2 an exponent means sRGB, which has none of its own; libpng draws the line there too."""

_ROWS: Final = 64
"""Few enough to stay in the processor's cache: 12 million pixels take 6 ms, and 33 ms all at once
(docs/measurements/decoding.json)."""

_Convert = Callable[[Image.Image], Image.Image]
_ICC_SPACES: Final = {"RGB": "RGB", "RGBA": "RGB", "L": "GRAY", "LA": "GRAY", "CMYK": "CMYK"}


def read_image(
    source: str | os.PathLike[str] | bytes | bytearray | memoryview | BinaryIO,
    *,
    name: str | None = None,
    max_pixels: int = MAX_PIXELS,
    max_bytes: int = MAX_BYTES,
) -> NDArray[np.uint8]:
    """Reads a picture as upright RGB.

    JPEG, PNG, WebP, AVIF, HEIC, GIF, BMP, TIFF and, where pillow-jxl-plugin is installed, JPEG XL, told
    apart by their content. Orientation tags are applied; alpha lies over white; deeper pixels are scaled to
    8 bits; an embedded colour profile, or a PNG's gamma, is converted to sRGB (a profile that is damaged or
    does not fit the pixels is ignored). Of several frames or pages the first one is read. Safe to call from
    several threads.

    A file that is cut short is refused, never completed with grey; one that lacks no more than its end mark
    is whole. Damage that leaves a file whole, such as a flipped bit, can only be noticed where the format has
    checksums, as PNG does.

    Args:
        source: A path; the bytes of a file; or a binary file object. A file object that can seek is read
            from its start, wherever it stands, and put back there; any other is read from where it stands
            to its end. It is never closed.
        name: What errors call the picture. By default the path, or the file object's ``name``.
        max_pixels: Refuse more pixels than this; checked in the header, before decoding. Beyond 178
            million Pillow's own limit may refuse first.
        max_bytes: Refuse more bytes than this; checked before reading where the size can be known.

    Returns:
        The pixels, ``uint8`` of shape (height, width, 3), RGB, contiguous, writable and the caller's own.

    Raises:
        NotAnImageError: In none of the known formats.
        EmptyImageError: No bytes, or no pixels.
        TruncatedImageError: Begins as a picture, but is cut short, damaged or of an unsupported kind.
        ImageTooLargeError: Over ``max_pixels`` or ``max_bytes``, or more than the memory holds.
        ImageError: The file is missing, is a folder or cannot be read.
        TypeError: ``source`` is none of the above, such as a file opened in text mode.
    """
    return _decode(*_named_bytes(source, name, max_bytes), max_pixels)[0]


def read_photo(
    source: str | os.PathLike[str] | bytes | bytearray | memoryview | BinaryIO,
) -> tuple[NDArray[np.uint8], datetime | None]:
    """Reads a picture as `read_image` does, and when it was taken.

    Args:
        source: As for `read_image`.

    Returns:
        The pixels; and the time its EXIF says, which is that of the camera's clock and names no time zone.
        ``None`` where there is none that can be read.

    Raises:
        Exception: As `read_image`.
    """
    return _decode(*_named_bytes(source, None, MAX_BYTES), MAX_PIXELS)


def _named_bytes(source: Any, name: str | None, max_bytes: int) -> tuple[str, bytes]:
    if isinstance(source, bytes | bytearray | memoryview):
        name = name or "image bytes"
        size = source.nbytes if isinstance(source, memoryview) else len(source)
        _check_bytes(name, size, max_bytes)
        data = bytes(source)
    elif isinstance(source, str | os.PathLike):
        name = name or os.fsdecode(source)
        data = _read_path(name, source, max_bytes)
    elif hasattr(source, "read"):
        own_name = getattr(source, "name", None)
        name = name or (own_name if isinstance(own_name, str) and own_name else "image file")
        data = _read_file(name, source, max_bytes)
    else:
        raise TypeError(f"source must be a path, bytes or a binary file object, not {type(source).__name__}")
    return name, data


def _check_bytes(name: str, size: int, max_bytes: int) -> None:
    if size > max_bytes:
        raise ImageTooLargeError(name, f"more than {max_bytes:,} bytes; save a smaller copy of it")


def _check_pixels(name: str, max_pixels: int, size: tuple[int, int]) -> None:
    width, height = size
    if width <= 0 or height <= 0:
        raise EmptyImageError(name, f"{width} × {height} pixels: nothing to see")
    if width * height > max_pixels:
        reason = f"{width} × {height} pixels are more than {max_pixels:,}; scale it down first"
        raise ImageTooLargeError(name, reason)


def _read_path(name: str, path: str | os.PathLike[str], max_bytes: int) -> bytes:
    try:
        status = os.stat(path)  # noqa: PTH116 - before opening, which blocks on a pipe
        if stat.S_ISDIR(status.st_mode):
            readable = os.access(path, os.R_OK | os.X_OK)
            raise ImageError(
                name, "a folder, not a picture" if readable else "a folder that cannot be opened"
            )
        if not stat.S_ISREG(status.st_mode):
            raise ImageError(name, "not a regular file")
        _check_bytes(name, status.st_size, max_bytes)
        with open(path, "rb") as file:  # noqa: PTH123 - the path may be any PathLike
            return _read_to_end(name, file, max_bytes)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise ImageError(name, "no such file") from error
    except PermissionError as error:
        raise ImageError(name, "no permission to read it") from error
    except OSError as error:
        raise ImageError(name, f"cannot be read ({error.strerror or error})") from error
    except ValueError as error:  # a NUL in the path
        raise ImageError(name, f"not a usable path ({error})") from error


def _read_file(name: str, file: BinaryIO, max_bytes: int) -> bytes:
    if isinstance(file, TextIOBase):
        raise TypeError(f"{name}: the file is open in text mode; open it with 'rb'")
    try:
        if not (hasattr(file, "seekable") and file.seekable()):
            return _read_to_end(name, file, max_bytes)
        position = file.tell()
        try:
            _check_bytes(name, file.seek(0, SEEK_END), max_bytes)
            file.seek(0)
            return _read_to_end(name, file, max_bytes)
        finally:
            file.seek(position)
    except (OSError, ValueError) as error:  # ValueError: the file is closed
        raise ImageError(name, f"cannot be read ({error})") from error


def _read_to_end(name: str, file: BinaryIO, max_bytes: int) -> bytes:
    """Reads at most ``max_bytes``, whatever size was announced; raw files may give less than asked."""
    chunks: list[bytes] = []
    left = max_bytes + 1
    while left > 0 and (chunk := file.read(left)):
        if not isinstance(chunk, bytes):
            raise TypeError(f"{name}: read() must give bytes, not {type(chunk).__name__}")
        chunks.append(chunk)
        left -= len(chunk)
    data = b"".join(chunks)
    _check_bytes(name, len(data), max_bytes)
    return data


def _decode(name: str, data: bytes, max_pixels: int) -> tuple[NDArray[np.uint8], datetime | None]:
    if not data:
        raise EmptyImageError(name, "the file is empty")
    known = next((known for known in FORMATS if known.matches(data)), None)
    if known is None:
        names = ", ".join(known.name for known in FORMATS)
        raise NotAnImageError(name, f"not a picture in a known format ({names})")
    turn = ExitStack()

    def limit(size: tuple[int, int]) -> None:
        _check_pixels(name, max_pixels, size)
        if size[0] * size[1] > _LARGE:
            turn.enter_context(_LARGE_TURN)

    try:
        with turn, known.open(data, limit) as image:
            image.load()
            _check_pixels(name, max_pixels, image.size)  # HEIC may turn out to be another size
            # Decoded whole, although detection sees a large photo smaller. JPEGs could be decoded at half the
            # size for it, and whole once there are faces to cut out: for 12 megapixels that takes 8 % longer
            # where there are faces and a quarter less where there are none (docs/measurements/decoding.json).
            # Not worth a second way to read, whose faces would be in other places than an array's.
            return _upright_rgb(image, known), _capture_time(image)
    except ImageError:
        raise
    except (Image.DecompressionBombError, MemoryError) as error:
        raise ImageTooLargeError(name, f"too large to decode ({str(error) or 'out of memory'})") from error
    except Exception as error:
        # Pillow's decoders raise nearly anything on damaged input: OSError, SyntaxError, struct.error, …
        ends_early = isinstance(error, IndexError | struct.error)
        detail = "it ends too early" if ends_early else str(error) or type(error).__name__
        raise TruncatedImageError(
            name, f"a truncated, damaged or unsupported {known.name} ({detail})"
        ) from error


def _upright_rgb(image: Image.Image, known: ImageFormat) -> NDArray[np.uint8]:
    """Turns a decoded picture into upright RGB, some rows at a time: each step would copy all of it."""
    width, height = image.size
    orientation = 1 if known.decodes_upright else _orientation(image)
    turn, sideways = _TURNS.get(orientation), orientation in _SIDEWAYS
    convert = _rgb_converter(image)
    pixels: NDArray[np.uint8] = np.empty((width, height, 3) if sideways else (height, width, 3), np.uint8)
    for top in range(0, height, _ROWS):
        bottom = min(top + _ROWS, height)
        rows = convert(image.crop((0, top, width, bottom)))
        place = slice(height - bottom, height - top) if orientation in _LAST_FIRST else slice(top, bottom)
        upright = np.asarray(rows if turn is None else rows.transpose(turn))
        pixels[(slice(None), place) if sideways else place] = upright
    return pixels


def _rgb_converter(image: Image.Image) -> _Convert:
    """How rows of a picture become RGB. What the whole of it has to be asked for is found out here."""
    to_8_bits = _to_8_bits(image)
    sample = _without_palette(to_8_bits(image.crop((0, 0, 1, 1))))
    gamma = None if "srgb" in image.info else image.info.get("gamma")
    to_srgb = _to_srgb(sample, image.info.get("icc_profile"), gamma)

    def convert(rows: Image.Image) -> Image.Image:
        rows = to_srgb(_without_palette(to_8_bits(rows)))
        if rows.has_transparency_data:
            rows = _over_white(rows)
        return rows if rows.mode == "RGB" else rows.convert("RGB")

    return convert


def _orientation(image: Image.Image) -> object:
    try:
        return image.getexif().get(_ORIENTATION_TAG)
    except Exception:  # metadata in disorder says nothing; the pixels are fine
        return None


def _capture_time(image: Image.Image) -> datetime | None:
    try:
        tags = image.getexif().get_ifd(_EXIF_IFD)
        text = next(str(tags[tag]) for tag in _TIME_TAGS if tags.get(tag))
        return datetime.strptime(text.strip("\0 ")[:19], "%Y:%m:%d %H:%M:%S")
    except Exception:  # none, or in disorder, such as the zeros of a camera whose clock was never set
        return None


def _to_8_bits(image: Image.Image) -> _Convert:
    """How to scale the grey modes that Pillow would clip, and to mend two that it takes for others."""
    if image.mode == "CMYK" and image.format == "JPEG" and "adobe" not in image.info:
        # Pillow reads every CMYK JPEG as inverted, which is Adobe's way; without Adobe's mark it is not.
        return lambda rows: _like(rows, 255 - np.asarray(rows), "CMYK")
    if (
        image.mode == "RGBA"
        and image.format in {"BMP", "DIB"}
        and image.getchannel("A").getextrema() == (0, 0)
    ):
        return lambda rows: rows.convert("RGB")  # the fourth byte was left unset: viewers show it opaque
    if not image.mode.startswith(("I", "F")):
        return lambda rows: rows

    tags = image.tag_v2 if isinstance(image, TiffImagePlugin.TiffImageFile) else {}
    white = _white(image, bits=tags.get(_BITS_TAG))
    zero_is_white = tags.get(_PHOTOMETRIC_TAG) == 0
    transparent = image.info.get("transparency")
    shades = np.clip((np.arange(65536) * 255 + white / 2) // white, 0, 255).astype(np.uint8)

    def scale(rows: Image.Image) -> Image.Image:
        values = np.asarray(rows)
        if values.dtype.itemsize == 2:
            grey = shades[values]
        else:
            grey = np.clip(values.astype(np.float32) * np.float32(255 / white) + 0.5, 0, 255).astype(np.uint8)
        scaled = _like(rows, 255 - grey if zero_is_white else grey, "L")
        if isinstance(transparent, int):
            scaled.putalpha(Image.fromarray(np.where(values == transparent, 0, 255).astype(np.uint8)))
        return scaled

    return scale


def _white(image: Image.Image, bits: object) -> float:
    """The value that means white: given by the depth up to 16 bits, else the least usual one that fits."""
    if image.mode.startswith("I;16"):
        return 4095 if bits == (12,) else 65535
    width, height = image.size
    rows = (np.asarray(image.crop((0, top, width, top + 1))) for top in range(height))
    extremes = np.array([(row.min(), row.max()) for row in rows], np.float64)
    least, most = float(extremes[:, 0].min()), float(extremes[:, 1].max())
    if not np.isfinite([least, most]).all():  # NaN spreads through min and max
        raise ValueError("some pixels are not finite numbers")
    if least < 0 and -least > most / 100:  # a filter's undershoot is harmless, signed data is no picture
        raise ValueError(f"pixels from {least:g} to {most:g} are no shades of grey")
    if bits == (16,):  # signed
        return 32767
    if image.mode == "F" and most <= 2:  # up to 1, with some overshoot
        return 1
    for white in (255, 65535, 2**31 - 1):
        if most <= white:
            return white
    raise ValueError(f"pixels up to {most:g} are no shades of grey")


def _like(image: Image.Image, values: NDArray[np.uint8], mode: str) -> Image.Image:
    return Image.frombytes(mode, image.size, np.ascontiguousarray(values).tobytes())


def _without_palette(image: Image.Image) -> Image.Image:
    """The picture in a mode that plain conversion to RGB or RGBA handles well."""
    if image.mode in {"P", "PA", "RGBa", "La"}:
        return image.convert("RGBA" if image.has_transparency_data else "RGB")
    return image


def _to_srgb(sample: Image.Image, profile: object, gamma: object) -> _Convert:
    """How to convert to sRGB.

    Args:
        sample: Some of the picture: 8 bits a channel, no palette.
        profile: The ICC profile that came with it, if bytes.
        gamma: A PNG's encoding exponent, if a number; a profile comes before it.
    """
    if sample.mode == "LAB":  # Pillow's own conversion would prepare this for every strip of rows anew
        profiles = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
        return ImageCms.buildTransform(*profiles, "LAB", "RGB").apply
    if not profile and isinstance(gamma, float):
        return partial(_without_gamma, gamma=gamma)
    if not isinstance(profile, bytes) or sample.mode not in _ICC_SPACES:
        return lambda rows: rows
    mode = sample.mode.removesuffix("A")
    try:
        source = ImageCms.ImageCmsProfile(BytesIO(profile))
        if source.profile.xcolor_space.strip() != _ICC_SPACES[mode]:
            raise ValueError("a profile of other channels")
        to_srgb = ImageCms.buildTransform(source, ImageCms.createProfile("sRGB"), mode, "RGB")
        if mode == "RGB" and _is_near(to_srgb.apply(_PROBE), _PROBE):  # what its name says is no proof
            return lambda rows: rows
        to_srgb.apply(sample.convert(mode))
    except (ImageCms.PyCMSError, ImportError, OSError, TypeError, ValueError):
        return lambda rows: rows

    def convert(rows: Image.Image) -> Image.Image:
        srgb = to_srgb.apply(rows.convert(mode))
        if rows.has_transparency_data:
            srgb.putalpha(rows.convert("RGBA").getchannel("A"))
        return srgb

    return convert


def _without_gamma(image: Image.Image, gamma: float) -> Image.Image:
    """Turns values that are light to the power of ``gamma`` into sRGB's, as browsers do."""
    if (
        abs(gamma * 2.2 - 1) < _SAME_GAMMA
        or not 0.01 < gamma < 100
        or image.mode not in {"L", "RGB", "RGBA", "LA"}
    ):
        return image
    if image.has_transparency_data:
        image = image.convert("RGBA")
    light = (np.arange(256) / 255) ** (1 / gamma)
    encoded = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
    table = np.round(255 * encoded).astype(int).tolist()
    bands = len(image.getbands())
    alpha = list(range(256)) if bands in {2, 4} else []
    return image.point(table * (bands - bool(alpha)) + alpha)


def _is_near(one: Image.Image, other: Image.Image) -> bool:
    return int(np.asarray(ImageChops.difference(one, other)).max()) <= _SAME_COLOR


def _over_white(image: Image.Image) -> Image.Image:
    image = image.convert("RGBA")
    white = Image.new("RGB", image.size, "white")
    white.paste(image, mask=image.getchannel("A"))
    return white


def find_images(patterns: Iterable[str | os.PathLike[str]]) -> list[Path]:
    """Finds the files that a person's words mean.

    Args:
        patterns: Files, folders and globs, one or several; ``~`` is the home folder.

            - A folder gives the files below it, at any depth, whose names end in one of `IMAGE_SUFFIXES`, in
              either case. Hidden files and folders (a leading dot) are skipped. Links are followed, but no
              folder is entered twice, so a loop of links ends. A folder that cannot be listed is given back
              itself, for the caller to report.
            - A glob (``*``, ``?``, ``[…]``, ``**`` for any depth) gives what it matches: folders as above,
              files with one of these endings or with the very ending that it spells out. Leading parts that
              exist are taken as they are written, brackets and all. Hidden names need a part that begins with
              a dot.
            - Anything else is the name of one file, given back as it is, even when its ending is unknown
              or it does not exist, for `read_image` to report. An existing file wins over a glob.

    Returns:
        Paths in sorted order, each file once. Relative patterns give relative paths.
    """
    return find_files(patterns, IMAGE_SUFFIXES)
