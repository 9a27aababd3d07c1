"""What the bytes of a picture say of themselves: the format, the size, and whether they are all there.

Used by `agegender.images` only. Decoders are lenient where this package must not be: some draw a grey
field where data is missing, and some reserve memory for a size before anybody can look at it. So each
format here answers three questions from its own container, without decoding a pixel:

- does this signature belong to it (`ImageFormat.matches`);
- how large is the picture (`ImageFormat.size`);
- does the file run to its own end mark (`ImageFormat.check`).

Every function may raise ``EOFError``, ``ValueError``, ``IndexError``, ``struct.error`` and their like where
the bytes end or make no sense; the caller turns all of them into one typed error.

Pillow's plugin classes are used directly rather than through ``Image.open``: no format but these is tried
whatever else is registered with Pillow, this package's own limits come first, and threads share nothing.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from io import BytesIO
from typing import Final

from PIL import (
    BmpImagePlugin,
    GifImagePlugin,
    Image,
    JpegImagePlugin,
    PngImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)

Size = tuple[int, int]
"""Width and height in pixels."""


@dataclass(frozen=True)
class ImageFormat:
    """One file format.

    Attributes:
        name: What people call it.
        suffixes: File name endings, lower case, with the dot.
        matches: Whether the bytes carry the format's signature.
        open: Opens the bytes as a Pillow image; reads headers, decodes nothing.
        size: The size from the header, or ``None`` where only ``open`` can tell.
        check: Raises where the file is cut or fails its checksum; returns the bytes to decode.
        check_opened: The part of ``check`` that needs the opened image; refuses kinds that Pillow is known to
            read wrongly, or mends its metadata.
        decodes_upright: Whether decoding already applies the orientation.
    """

    name: str
    suffixes: frozenset[str]
    matches: Callable[[bytes], bool]
    open: Callable[[BytesIO], Image.Image]
    size: Callable[[bytes], Size | None] = lambda data: None
    check: Callable[[bytes], bytes] = lambda data: data
    check_opened: Callable[[Image.Image, bytes], None] = lambda image, data: None
    decodes_upright: bool = False


# JPEG: ITU-T T.81, annex B.

_SOI, _EOI, _SOS = 0xD8, 0xD9, 0xDA
_FRAMES: Final = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_SEQUENTIAL_HUFFMAN: Final = frozenset({0xC0, 0xC1})
_WITHOUT_LENGTH: Final = frozenset({0x00, 0x01, _SOI, *range(0xD0, 0xD8)})
_END_OF_SCAN: Final = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
_NO_CODE: Final = b"\xff\x00" * 12
"""Twelve stuffed bytes of ones. The decoder looks up to eight bytes ahead; no Huffman code is all ones, so
these stand for less than one unit of pixels."""


def _jpeg_segments(data: bytes) -> Iterator[tuple[int, int]]:
    """Yields ``(marker, offset)`` of each segment up to and including the end mark."""
    position = 2
    while True:
        position = data.find(b"\xff", position)
        if position < 0:
            raise EOFError("no end of image marker")
        while data[position + 1] == 0xFF:
            position += 1
        marker = data[position + 1]
        yield marker, position
        if marker == _EOI:
            return
        if marker in _WITHOUT_LENGTH:
            position += 2
            continue
        position += 2 + struct.unpack_from(">H", data, position + 2)[0]
        if marker == _SOS:
            end = _END_OF_SCAN.search(data, position)
            if end is None:
                raise EOFError("the file ends inside the picture")
            position = end.start()


def _jpeg_size(data: bytes) -> Size:
    for marker, position in _jpeg_segments(data):
        if marker in _FRAMES:
            height, width = struct.unpack_from(">HH", data, position + 5)
            return width, height
    raise EOFError("no frame header")


def _check_jpeg(data: bytes) -> bytes:
    segments = list(_jpeg_segments(data))
    frame = next(marker for marker, _ in segments if marker in _FRAMES)
    scans = [i for i, (marker, _) in enumerate(segments) if marker == _SOS]
    if not scans:
        raise EOFError("no scan")
    if len(scans) == 1 and frame in _SEQUENTIAL_HUFFMAN:
        # Where a scan is too short, libjpeg paints the rest of the picture grey when it meets the end mark,
        # but asks for more when the bytes just stop; then Pillow raises. So the end mark is taken away.
        return data[: segments[scans[0] + 1][1]] + _NO_CODE
    return data[: segments[-1][1] + 2]


# PNG: https://www.w3.org/TR/png-3/


def _png_size(data: bytes) -> Size | None:
    if data[12:16] != b"IHDR":
        raise ValueError("no header chunk")
    width, height = struct.unpack_from(">II", data, 16)
    return width, height


def _check_png(data: bytes) -> bytes:
    """Verifies the checksum of every chunk; Pillow skips those of the pixel data."""
    view = memoryview(data)
    position = 8
    while True:
        length, kind = struct.unpack_from(">I4s", data, position)
        end = position + 8 + length
        (checksum,) = struct.unpack_from(">I", data, end)
        if zlib.crc32(view[position + 4 : end]) != checksum:
            raise ValueError(f"the checksum of a {kind.decode('latin-1')} chunk does not fit")
        position = end + 4
        if kind == b"IEND":
            return data[:position]


def _scale_png_transparency(image: Image.Image, data: bytes) -> None:
    """Brings the one transparent colour to the 8 bits a channel that Pillow scales these pixels to."""
    depth, transparent = data[24], image.info.get("transparency")
    if image.mode == "L" and depth < 8 and isinstance(transparent, int):
        image.info["transparency"] = transparent * 255 // (2**depth - 1)
    elif image.mode == "RGB" and depth == 16 and isinstance(transparent, tuple):
        image.info["transparency"] = tuple(value >> 8 for value in transparent)


# WebP: https://developers.google.com/speed/webp/docs/riff_container


def _webp_size(data: bytes) -> Size | None:
    kind = data[12:16]
    if kind == b"VP8X":
        return 1 + int.from_bytes(data[24:27], "little"), 1 + int.from_bytes(data[27:30], "little")
    if kind == b"VP8L":
        (bits,) = struct.unpack_from("<I", data, 21)
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    width, height = struct.unpack_from("<HH", data, 26)
    return width & 0x3FFF, height & 0x3FFF


def _check_webp(data: bytes) -> bytes:
    end = 8 + struct.unpack_from("<I", data, 4)[0]
    if end > len(data):
        raise EOFError(f"{len(data):,} bytes of {end:,}")
    return data[:end]


# GIF: https://www.w3.org/Graphics/GIF/spec-gif89a.txt


def _gif_frames(data: bytes) -> Iterator[int]:
    """Yields the offset of each image descriptor; returns at the trailer, or where a block ends the file."""

    def color_table(flags: int) -> int:
        return 3 << (flags & 7) + 1 if flags & 0x80 else 0

    position = 13 + color_table(data[10])
    while position < len(data) and data[position] != 0x3B:  # some writers forget the trailer
        if data[position] == 0x2C:
            yield position
            position += 11 + color_table(data[position + 9])
        elif data[position] == 0x21:
            position += 2
        else:
            position += 1  # padding between blocks, which decoders step over
            continue
        while data[position]:
            position += 1 + data[position]
        position += 1


def _gif_size(data: bytes) -> Size:
    """The screen, grown to hold the first frame as Pillow and browsers do."""
    frame = next(_gif_frames(data), None)
    if frame is None:
        raise EOFError("no frame")
    screen_width, screen_height = struct.unpack_from("<HH", data, 6)
    left, top, width, height = struct.unpack_from("<HHHH", data, frame + 1)
    if not (width and height):
        return width, height
    return max(screen_width, left + width), max(screen_height, top + height)


def _check_gif(data: bytes) -> bytes:
    for _ in _gif_frames(data):
        pass
    return data


# BMP: https://learn.microsoft.com/windows/win32/gdi/bitmap-storage

_BMP_HEADERS: Final = frozenset({12, 16, 40, 52, 56, 64, 108, 124})


def _is_bmp(data: bytes) -> bool:
    return data[:2] == b"BM" and (len(data) < 18 or int.from_bytes(data[14:18], "little") in _BMP_HEADERS)


def _bmp_size(data: bytes) -> Size:
    if data[14] == 12:
        width, height = struct.unpack_from("<HH", data, 18)
    else:
        width, height = struct.unpack_from("<ii", data, 18)
    return width, abs(height)  # a negative height says that the top row comes first


# TIFF: https://www.itu.int/itudoc/itu-t/com16/tiff-fx/docs/tiff6.pdf

_STRIPS: Final = (273, 279)
_TILES: Final = (324, 325)
_NEW_SUBFILE_TYPE = 254
_BITS_PER_SAMPLE = 258
_COMPRESSION = 259
_PLANAR_CONFIGURATION = 284


def _check_tiff(image: Image.Image, data: bytes) -> None:
    assert isinstance(image, TiffImagePlugin.TiffImageFile)
    tags = image.tag_v2
    if tags.get(_NEW_SUBFILE_TYPE, 0) & 1:
        raise ValueError("it begins with a thumbnail, as camera raw files do")
    # Two kinds that Pillow gets wrong without a word.
    compressed, separate = tags.get(_COMPRESSION, 1) != 1, tags.get(_PLANAR_CONFIGURATION) == 2
    if separate and not compressed and max(tags.get(_BITS_PER_SAMPLE, (1,))) > 8:
        raise ValueError("16-bit channels stored one after the other, uncompressed")
    if compressed and tags.prefix == b"MM" and image.mode in {"I", "F"}:
        raise ValueError("compressed big-endian grey of more than 16 bits")
    for offsets, lengths in (_STRIPS, _TILES):
        ends = [a + n for a, n in zip(tags.get(offsets, ()), tags.get(lengths, ()), strict=False)]
        if ends and max(ends) > len(data):
            raise EOFError(f"{len(data):,} bytes of at least {max(ends):,}")


# HEIC: ISO/IEC 14496-12 boxes around HEVC

_HEIF_BRANDS: Final = frozenset(
    {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"mif2", b"msf1"}
)


def _is_heif(data: bytes) -> bool:
    return data[4:8] == b"ftyp" and data[8:12] in _HEIF_BRANDS


def _check_heif(data: bytes) -> bytes:
    position = 0
    while position < len(data):
        length = struct.unpack_from(">I", data, position)[0]
        if length == 1:
            length = struct.unpack_from(">Q", data, position + 8)[0]
        if length == 0:  # to the end of the file
            break
        position += max(length, 8)
    if position > len(data):
        raise EOFError(f"{len(data):,} bytes of at least {position:,}")
    return data


def _open_heif(file: BytesIO) -> Image.Image:
    from pillow_heif import HeifImageFile  # late: a native library that only these files need

    return HeifImageFile(file)


FORMATS: Final[tuple[ImageFormat, ...]] = (
    ImageFormat(
        name="JPEG",
        suffixes=frozenset({".jpg", ".jpeg", ".jpe", ".jfif"}),
        matches=lambda data: data.startswith(b"\xff\xd8\xff"),
        open=JpegImagePlugin.JpegImageFile,
        size=_jpeg_size,
        check=_check_jpeg,
    ),
    ImageFormat(
        name="PNG",
        suffixes=frozenset({".png", ".apng"}),
        matches=lambda data: data.startswith(b"\x89PNG\r\n\x1a\n"),
        open=PngImagePlugin.PngImageFile,
        size=_png_size,
        check=_check_png,
        check_opened=_scale_png_transparency,
    ),
    ImageFormat(
        name="WebP",
        suffixes=frozenset({".webp"}),
        matches=lambda data: data.startswith(b"RIFF") and data[8:12] == b"WEBP",
        open=WebPImagePlugin.WebPImageFile,
        size=_webp_size,
        check=_check_webp,
    ),
    ImageFormat(
        name="HEIC",
        suffixes=frozenset({".heic", ".heif", ".hif"}),
        matches=_is_heif,
        open=_open_heif,
        check=_check_heif,
        decodes_upright=True,  # libheif turns the pixels, pillow-heif resets the EXIF tag
    ),
    ImageFormat(
        name="GIF",
        suffixes=frozenset({".gif"}),
        matches=lambda data: data.startswith((b"GIF87a", b"GIF89a")),
        open=GifImagePlugin.GifImageFile,
        size=_gif_size,
        check=_check_gif,
    ),
    ImageFormat(
        name="BMP",
        suffixes=frozenset({".bmp", ".dib"}),
        matches=_is_bmp,
        open=BmpImagePlugin.BmpImageFile,
        size=_bmp_size,
    ),
    ImageFormat(
        name="TIFF",
        suffixes=frozenset({".tif", ".tiff"}),
        matches=lambda data: data.startswith((b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")),
        open=TiffImagePlugin.TiffImageFile,
        check_opened=_check_tiff,
        decodes_upright=True,  # Pillow turns TIFF pages itself when it loads them
    ),
)
