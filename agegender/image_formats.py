"""The picture formats that are read: how each is told by its bytes, opened, and refused where it is cut.

Used by `agegender.images` only. Pillow parses and decodes; it is lenient where this package must not be: it
draws a grey field where the data of a JPEG is missing, skips a PNG's checksums and reads some kinds wrongly
without a word. So each format's ``open`` says the size before memory is taken for it, and raises where the
file does not hold the whole picture. These functions may raise ``EOFError``, ``ValueError``, ``IndexError``,
``struct.error`` and their like; the caller turns all of them into one typed error.

Pillow's plugin classes are used directly rather than through ``Image.open``: no format but these is tried
whatever else is registered with Pillow, this package's own limits come first, and threads share nothing.
"""

from __future__ import annotations

import hashlib
import re
import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from io import BytesIO
from typing import Final

from PIL import (
    AvifImagePlugin,
    BmpImagePlugin,
    GifImagePlugin,
    Image,
    ImageChops,
    ImageFile,
    JpegImagePlugin,
    PngImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)

Limit = Callable[[tuple[int, int]], None]
"""Raises where a picture of this width and height, in pixels, is not to be decoded."""


@dataclass(frozen=True)
class ImageFormat:
    """One file format.

    Attributes:
        name: What people call it.
        suffixes: File name endings, lower case, with the dot.
        matches: Whether the bytes carry the format's signature.
        open: Opens the bytes as a Pillow image, and raises where they are cut or fail their checksums, or are
            of a kind that Pillow reads wrongly. Calls the limit before memory is taken for pixels.
        decodes_upright: Whether decoding already applies the orientation.
    """

    name: str
    suffixes: frozenset[str]
    matches: Callable[[bytes], bool]
    open: Callable[[bytes, Limit], Image.Image]
    decodes_upright: bool = False


def _with(plugin: type[ImageFile.ImageFile]) -> Callable[[bytes, Limit], Image.Image]:
    """Opens with a plugin whose own checks suffice."""

    def open_(data: bytes, limit: Limit) -> Image.Image:
        class Limited(plugin):  # type: ignore[valid-type, misc]
            def _open(self) -> None:
                super()._open()
                limit(self._size)  # before Pillow says of an empty picture only that it is "not identified"

        return Limited(BytesIO(data))

    return open_


# JPEG: ITU-T T.81, annexes B and G.

_SOI, _EOI, _SOS = 0xD8, 0xD9, 0xDA
_FRAMES: Final = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_SEQUENTIAL_HUFFMAN: Final = frozenset({0xC0, 0xC1})
_WITHOUT_LENGTH: Final = frozenset({0x00, 0x01, _SOI, *range(0xD0, 0xD8)})
_END_OF_SCAN: Final = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
_NO_CODE: Final = b"\xff\x00" * 12
"""Twelve stuffed bytes of ones. The decoder looks up to eight bytes ahead; no Huffman code is all ones, so
these stand for less than one unit of pixels."""
_ANY_BITS: Final = [hashlib.sha512(bytes([i])).digest().replace(b"\xff", b"\xfe") for i in range(6)]
"""Six times 64 bytes at random. Plainer ones, such as zeros, decode to nothing much, and alike."""
_END_MARK: Final = b"\xff\xd9"


def _open_jpeg(data: bytes, limit: Limit) -> Image.Image:
    open_ = _with(JpegImagePlugin.JpegImageFile)
    open_(data, limit)  # a picture that is too large is refused as that, whatever else it lacks
    segments = list(_jpeg_segments(data))
    frame, frame_at = next(segment for segment in segments if segment[0] in _FRAMES)
    scans = [at for marker, at in segments if marker == _SOS]
    last, end = segments[-1]
    data = data[:end]
    if not scans or (last != _EOI and not _is_whole(data, frame_at, scans)):
        raise EOFError("the file ends inside the picture")
    if len(scans) == 1 and frame in _SEQUENTIAL_HUFFMAN:
        # Where a scan is too short, libjpeg paints the rest of the picture grey when it meets the end mark,
        # but asks for more when the bytes just stop; then Pillow raises. So no end mark is shown to it.
        scan_end = next(at for _, at in segments if at > scans[0])
        return open_(data[:scan_end] + _NO_CODE, limit)
    return open_(data + _END_MARK, limit)


def _jpeg_segments(data: bytes) -> Iterator[tuple[int, int]]:
    """Yields ``(marker, offset)`` of each segment to the end mark; marker 0 where a scan ends the bytes."""
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
                yield 0, len(data) - data.endswith(b"\xff")
                return
            position = end.start()


def _is_whole(data: bytes, frame: int, scans: list[int]) -> bool:
    """Whether a JPEG without its end mark lacks nothing else.

    Every bit of every coefficient has to be announced by some scan, and whatever bits follow must not change
    the picture: after the last unit of a whole scan they are skipped, within it they become part of it.
    """
    missing = dict.fromkeys(data[frame + 10 : frame + 10 + 3 * data[frame + 9] : 3], frozenset(range(64)))
    for at in scans:
        parameters = at + 5 + 2 * data[at + 4]
        first, last, precision = data[parameters : parameters + 3]
        if not precision & 15:  # down to the lowest bit
            for component in data[at + 5 : parameters : 2]:
                missing[component] -= frozenset(range(first, last + 1))
    if any(missing.values()):
        return False
    pictures = [JpegImagePlugin.JpegImageFile(BytesIO(data + bits + _END_MARK)) for bits in _ANY_BITS]
    return all(ImageChops.difference(pictures[0], other).getbbox() is None for other in pictures[1:])


# PNG: https://www.w3.org/TR/png-3/


def _open_png(data: bytes, limit: Limit) -> Image.Image:
    image = _with(PngImagePlugin.PngImageFile)(data, limit)
    _verify_png(data)
    # The one transparent colour, in the 8 bits a channel that Pillow scales these pixels to.
    depth, transparent = data[24], image.info.get("transparency")
    if image.mode == "L" and depth < 8 and isinstance(transparent, int):
        image.info["transparency"] = transparent * 255 // (2**depth - 1)
    elif image.mode == "RGB" and depth == 16 and isinstance(transparent, tuple):
        image.info["transparency"] = tuple(value >> 8 for value in transparent)
    return image


def _verify_png(data: bytes) -> None:
    """Verifies the checksum of every chunk; Pillow skips those of the pixel data."""
    view = memoryview(data)
    position, kind = 8, b""
    while kind != b"IEND":
        length, kind = struct.unpack_from(">I4s", data, position)
        end = position + 8 + length
        (checksum,) = struct.unpack_from(">I", data, end)
        if zlib.crc32(view[position + 4 : end]) != checksum:
            raise ValueError(f"the checksum of a {kind.decode('latin-1')} chunk does not fit")
        position = end + 4


# WebP: https://developers.google.com/speed/webp/docs/riff_container


class _FirstFrame(WebPImagePlugin.WebPImageFile):
    """A WebP without its decoder once that is done: it holds two canvases of the picture's size."""

    def _get_next(self) -> tuple[bytes, int, int]:
        frame = super()._get_next()
        self._decoder = None
        return frame


def _open_webp(data: bytes, limit: Limit) -> Image.Image:
    if data[12:16] == b"VP8X":  # libwebp reserves its canvas before it can be asked for the size
        limit((1 + int.from_bytes(data[24:27], "little"), 1 + int.from_bytes(data[27:30], "little")))
    end = 8 + struct.unpack_from("<I", data, 4)[0]
    if end > len(data):
        raise EOFError(f"{len(data):,} bytes of {end:,}")
    return _with(_FirstFrame)(data, limit)


# BMP: https://learn.microsoft.com/windows/win32/gdi/bitmap-storage

_BMP_HEADERS: Final = frozenset({12, 16, 40, 52, 56, 64, 108, 124})


def _is_bmp(data: bytes) -> bool:
    return data[:2] == b"BM" and (len(data) < 18 or int.from_bytes(data[14:18], "little") in _BMP_HEADERS)


# TIFF: https://www.itu.int/itudoc/itu-t/com16/tiff-fx/docs/tiff6.pdf

_STRIPS: Final = (273, 279)
_TILES: Final = (324, 325)
_NEW_SUBFILE_TYPE = 254
_BITS_PER_SAMPLE = 258
_COMPRESSION = 259
_PLANAR_CONFIGURATION = 284


def _open_tiff(data: bytes, limit: Limit) -> Image.Image:
    image = _with(TiffImagePlugin.TiffImageFile)(data, limit)
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
    return image


# HEIC and AVIF: ISO/IEC 14496-12 boxes around HEVC or AV1. JPEG XL: ISO/IEC 18181, bare or in such boxes.

_AVIF_BRANDS: Final = frozenset({b"avif", b"avis"})
_HEIF_BRANDS: Final = frozenset(
    {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"mif2", b"msf1"}
)
_JXL_BARE: Final = b"\xff\x0a"
_JXL_BOXES: Final = b"\x00\x00\x00\x0cJXL \r\n\x87\n"


def _brands(data: bytes) -> set[bytes]:
    """The names of codecs and profiles in the first box; the first name may be one for all codecs."""
    if data[4:8] != b"ftyp":
        return set()
    end = min(int.from_bytes(data[:4], "big"), 1024)
    return {data[8:12], *(data[at : at + 4] for at in range(16, end, 4))}


def _boxes(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Yields ``(kind, start, end)`` of the content of each box.

    Raises:
        EOFError: The bytes end within a box.
    """
    position = 0
    while position < len(data):
        length, kind = struct.unpack_from(">I4s", data, position)
        start = position + 8
        if length == 1:
            (length,) = struct.unpack_from(">Q", data, start)
            start += 8
        end = len(data) if length == 0 else position + max(length, 8)
        if end > len(data):
            raise EOFError(f"{len(data):,} bytes of at least {end:,}")
        yield kind, start, end
        position = end


def _open_heif(data: bytes, limit: Limit) -> Image.Image:
    from pillow_heif import HeifImageFile  # late: a native library that only these files need

    for _ in _boxes(data):
        pass
    image: Image.Image = HeifImageFile(BytesIO(data))
    limit(image.size)
    return image


def _open_avif(data: bytes, limit: Limit) -> Image.Image:
    for _ in _boxes(data):
        pass
    return _with(AvifImagePlugin.AvifImageFile)(data, limit)


def _open_jxl(data: bytes, limit: Limit) -> Image.Image:
    try:
        from pillow_jxl import Decoder
    except ImportError as error:
        raise ValueError("to read JPEG XL, install pillow-jxl-plugin") from error

    stream = data
    if data.startswith(_JXL_BOXES):
        parts = [(kind, data[start:end]) for kind, start, end in _boxes(data)]
        stream = b"".join(part[4 * (kind == b"jxlp") :] for kind, part in parts if kind in {b"jxlc", b"jxlp"})
    limit(_jxl_size(stream))
    is_jpeg, header, decoded, profile, _ = Decoder(num_threads=1)(data)
    if is_jpeg:  # a JPEG packed without loss comes out as that
        return _open_jpeg(decoded, limit)
    image = Image.frombytes(header.mode, (header.width, header.height), decoded)
    image.info["icc_profile"] = profile
    return image


def _jxl_size(stream: bytes) -> tuple[int, int]:
    """Reads the size out of a codestream's first bits, which come lowest first (annex D.2)."""
    bits = int.from_bytes(stream[2:16], "little")

    def take(count: int) -> int:
        nonlocal bits
        value, bits = bits & ((1 << count) - 1), bits >> count
        return value

    small = take(1)

    def side() -> int:
        return 8 * (1 + take(5)) if small else 1 + take((9, 13, 18, 30)[take(2)])

    height = side()
    ratio = take(3)
    if ratio:
        over, under = ((1, 1), (12, 10), (4, 3), (3, 2), (16, 9), (5, 4), (2, 1))[ratio - 1]
        return height * over // under, height
    return side(), height


FORMATS: Final[tuple[ImageFormat, ...]] = (
    ImageFormat(
        name="JPEG",
        suffixes=frozenset({".jpg", ".jpeg", ".jpe", ".jfif"}),
        matches=lambda data: data.startswith(b"\xff\xd8\xff"),
        open=_open_jpeg,
    ),
    ImageFormat(
        name="PNG",
        suffixes=frozenset({".png", ".apng"}),
        matches=lambda data: data.startswith(b"\x89PNG\r\n\x1a\n"),
        open=_open_png,
    ),
    ImageFormat(
        name="WebP",
        suffixes=frozenset({".webp"}),
        matches=lambda data: data.startswith(b"RIFF") and data[8:12] == b"WEBP",
        open=_open_webp,
    ),
    ImageFormat(
        name="AVIF",
        suffixes=frozenset({".avif", ".avifs"}),
        matches=lambda data: not _AVIF_BRANDS.isdisjoint(_brands(data)),
        open=_open_avif,
    ),
    ImageFormat(
        name="HEIC",
        suffixes=frozenset({".heic", ".heif", ".hif"}),
        matches=lambda data: not _HEIF_BRANDS.isdisjoint(_brands(data)),
        open=_open_heif,
        decodes_upright=True,  # libheif turns the pixels, pillow-heif resets the EXIF tag
    ),
    ImageFormat(
        name="JPEG XL",
        suffixes=frozenset({".jxl"}),
        matches=lambda data: data.startswith((_JXL_BARE, _JXL_BOXES)),
        open=_open_jxl,
    ),
    ImageFormat(
        name="GIF",
        suffixes=frozenset({".gif"}),
        matches=lambda data: data.startswith((b"GIF87a", b"GIF89a")),
        open=_with(GifImagePlugin.GifImageFile),
    ),
    ImageFormat(
        name="BMP",
        suffixes=frozenset({".bmp", ".dib"}),
        matches=_is_bmp,
        open=_with(BmpImagePlugin.BmpImageFile),
    ),
    ImageFormat(
        name="TIFF",
        suffixes=frozenset({".tif", ".tiff"}),
        matches=lambda data: data.startswith((b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")),
        open=_open_tiff,
        decodes_upright=True,  # Pillow turns TIFF pages itself when it loads them
    ),
)
