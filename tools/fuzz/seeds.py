"""Small picture files of every format and feature that this package reads, made when they are asked for.

Tests take them as they are; the fuzzer takes them apart.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import cv2
import numpy as np
import pillow_heif
from numpy.typing import NDArray
from PIL import Image

try:
    import pillow_jxl

    HAS_JXL = bool(pillow_jxl)
except ImportError:
    HAS_JXL = False

WIDTH, HEIGHT = 48, 32


def _make_pixels() -> NDArray[np.uint8]:
    """A smooth picture without any symmetry: every turn of it differs, and codecs keep it well."""
    x, y = np.meshgrid(np.linspace(0, 1, WIDTH), np.linspace(0, 1, HEIGHT))
    return np.stack([40 + 180 * x, 220 - 150 * y, 60 + 120 * x * y], axis=2).astype(np.uint8)


PIXELS = _make_pixels()
PICTURE = Image.fromarray(PIXELS)
GREY = PICTURE.convert("L")
ALPHA = np.tile(np.linspace(0, 255, WIDTH).astype(np.uint8), (HEIGHT, 1))
CLEAR = Image.fromarray(np.dstack([PIXELS, ALPHA]))
NEXT_FRAME = Image.new("RGB", PICTURE.size, "navy")


def encode(picture: Image.Image, file_format: str, **options: Any) -> bytes:
    """Writes a picture with Pillow, or HEIC with pillow-heif."""
    buffer = io.BytesIO()
    if file_format == "HEIC":
        pillow_heif.from_pillow(picture).save(buffer, **options)
    else:
        picture.save(buffer, file_format, **options)
    return buffer.getvalue()


def encode_16_bits(suffix: str, pixels: NDArray[np.uint16], options: Sequence[int] = ()) -> bytes:
    """Writes the 16-bit colour files that Pillow cannot, with OpenCV."""
    if pixels.ndim == 3:
        pixels = pixels[..., ::-1] if pixels.shape[2] == 3 else pixels[..., [2, 1, 0, 3]]
    done, data = cv2.imencode(suffix, np.ascontiguousarray(pixels), list(options))
    assert done
    return data.tobytes()


def png_chunk(name: bytes, body: bytes) -> bytes:
    """One chunk, with its checksum."""
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def png(size: tuple[int, int], depth: int, kind: int, rows: bytes, **chunks: bytes) -> bytes:
    """A PNG of these rows, filter bytes included, with further chunks before the pixels."""
    header = struct.pack(">IIBBBBB", *size, depth, kind, 0, 0, 0)
    middle = b"".join(png_chunk(name.encode(), body) for name, body in chunks.items())
    body = png_chunk(b"IHDR", header) + middle + png_chunk(b"IDAT", zlib.compress(rows))
    return b"\x89PNG\r\n\x1a\n" + body + png_chunk(b"IEND", b"")


def exif(orientation: int) -> bytes:
    """EXIF data that says which way up the picture is."""
    tags = Image.Exif()
    tags[0x0112] = orientation
    return tags.tobytes()


P3 = {
    b"r": (0.5151, 0.2412, -0.0011),
    b"g": (0.292, 0.6922, 0.0419),
    b"b": (0.1571, 0.0666, 0.7841),
}
SRGB = {
    b"r": (0.4360, 0.2225, 0.0139),
    b"g": (0.3851, 0.7169, 0.0971),
    b"b": (0.1431, 0.0606, 0.7139),
}


def color_profile(
    space: bytes, gamma: float, *, name: bytes = b"test", primaries: Mapping[bytes, Sequence[float]] = P3
) -> bytes:
    """A version 2 ICC profile: these primaries, or plain grey, with one gamma curve."""

    def numbers(*values: float) -> bytes:
        return b"".join(struct.pack(">i", round(value * 65536)) for value in values)

    curve = b"curv\0\0\0\0" + struct.pack(">IH", 1, round(gamma * 256)) + b"\0\0"
    tags = {
        b"desc": b"desc\0\0\0\0" + struct.pack(">I", len(name) + 1) + name + b"\0" + bytes(78),
        b"wtpt": b"XYZ \0\0\0\0" + numbers(0.9642, 1, 0.8249),
    }
    if space == b"RGB ":
        for channel, xyz in primaries.items():
            tags[channel + b"XYZ"] = b"XYZ \0\0\0\0" + numbers(*xyz)
            tags[channel + b"TRC"] = curve
    else:
        tags[b"kTRC"] = curve
    table, body = struct.pack(">I", len(tags)), b""
    for tag, content in tags.items():
        table += tag + struct.pack(">II", 132 + 12 * len(tags) + len(body), len(content))
        body += content + bytes(-len(content) % 4)
    header = (
        struct.pack(">I4sI", 128 + len(table) + len(body), b"lcms", 0x02400000) + b"mntr" + space + b"XYZ "
    )
    header += struct.pack(">6H", 2024, 1, 1, 0, 0, 0) + b"acsp" + bytes(28) + numbers(0.9642, 1, 0.8249)
    return header.ljust(128, b"\0") + table + body


def bmp_with_alpha(alpha: int) -> bytes:
    """A BMP of 32 bits with a mask for alpha (BITMAPV4HEADER), all of one alpha."""
    blue_first = np.dstack([PIXELS[::-1, :, ::-1], np.full((HEIGHT, WIDTH), alpha, np.uint8)])
    masks = struct.pack("<4I", 0xFF0000, 0xFF00, 0xFF, 0xFF000000)
    body = blue_first.tobytes()
    header = struct.pack("<IiiHHIIiiII", 108, WIDTH, HEIGHT, 1, 32, 3, len(body), 2835, 2835, 0, 0) + masks
    header = header.ljust(108, b"\0")
    return b"BM" + struct.pack("<IHHI", 14 + 108 + len(body), 0, 0, 14 + 108) + header + body


@cache
def lossless() -> dict[str, bytes]:
    """Files whose decoded pixels are exactly `PIXELS`."""
    files = {
        "png": encode(PICTURE, "PNG"),
        "webp lossless": encode(PICTURE, "WEBP", lossless=True),
        "bmp": encode(PICTURE, "BMP"),
        "bmp alpha unset": bmp_with_alpha(0),
        "tiff": encode(PICTURE, "TIFF"),
        "tiff lzw": encode(PICTURE, "TIFF", compression="tiff_lzw"),
        "tiff deflate": encode(PICTURE, "TIFF", compression="tiff_adobe_deflate"),
        "apng": encode(PICTURE, "PNG", save_all=True, append_images=[NEXT_FRAME]),
        "webp animated": encode(PICTURE, "WEBP", save_all=True, append_images=[NEXT_FRAME], lossless=True),
        "tiff pages": encode(PICTURE, "TIFF", save_all=True, append_images=[NEXT_FRAME]),
    }
    if HAS_JXL:
        files |= {
            "jxl": encode(PICTURE, "JXL", lossless=True),
            "jxl boxes": encode(PICTURE, "JXL", lossless=True, use_container=True),
        }
    return files


@cache
def lossy() -> dict[str, bytes]:
    """Files whose decoded pixels are near to `PIXELS`."""
    files = {
        "jpeg": encode(PICTURE, "JPEG", quality=95),
        "jpeg progressive": encode(PICTURE, "JPEG", quality=95, progressive=True),
        "jpeg restarts": encode(PICTURE, "JPEG", quality=95, restart_marker_rows=1),
        "webp": encode(PICTURE, "WEBP", quality=95),
        "heic": encode(PICTURE, "HEIC", quality=95),
        "avif": encode(PICTURE, "AVIF", quality=95),
        "avif animated": encode(PICTURE, "AVIF", quality=95, save_all=True, append_images=[NEXT_FRAME]),
        "gif": encode(PICTURE, "GIF"),
        "gif animated": encode(PICTURE, "GIF", save_all=True, append_images=[NEXT_FRAME]),
        "bmp palette": encode(PICTURE.quantize(256), "BMP"),
        "tiff jpeg": encode(PICTURE, "TIFF", compression="jpeg", quality=95),
    }
    if HAS_JXL:
        files["jxl lossy"] = encode(PICTURE, "JXL", quality=95)
    return files


def pictures() -> dict[str, bytes]:
    """All files that show `PIXELS`."""
    return lossless() | lossy()


@cache
def features() -> dict[str, bytes]:
    """Files of rarer kinds, for the fuzzer: depths, palettes, alpha, profiles, tags, layouts."""
    grey_16 = (np.asarray(GREY).astype(np.uint16) * 257).reshape(HEIGHT, WIDTH)
    colour_16 = PIXELS.astype(np.uint16) * 257
    profile = color_profile(b"RGB ", 2.2)
    palette = PICTURE.quantize(16)
    return {
        "jpeg cmyk": encode(PICTURE.convert("CMYK"), "JPEG"),
        "jpeg grey": encode(GREY, "JPEG", progressive=True),
        "jpeg exif profile": encode(PICTURE, "JPEG", exif=exif(6), icc_profile=profile),
        "jpeg lacks its end": lossy()["jpeg progressive"][:-2],
        "png 16 bits": encode(Image.fromarray(grey_16), "PNG"),
        "png 16 bits colour": encode_16_bits(".png", colour_16),
        "png palette": encode(CLEAR.quantize(32), "PNG"),
        "png transparent": encode(palette, "PNG", transparency=5),
        "png 1 bit": png((8, 1), 1, 0, b"\0\xaa", tRNS=b"\0\1"),
        "png gamma": png((2, 1), 8, 2, b"\0" + b"\x12\x34\x56" * 2, gAMA=struct.pack(">I", 100000)),
        "png alpha profile": encode(CLEAR, "PNG", icc_profile=profile, exif=exif(8)),
        "webp alpha": encode(CLEAR, "WEBP", exif=exif(3), icc_profile=profile),
        "heic alpha": encode(CLEAR, "HEIC", exif=exif(6)),
        "avif alpha": encode(CLEAR, "AVIF", exif=exif(6), icc_profile=profile),
        "gif transparent": encode(palette, "GIF", transparency=5, interlace=1),
        "bmp alpha": bmp_with_alpha(128),
        "bmp 1 bit": encode(GREY.convert("1"), "BMP"),
        "bmp runs": _bmp_runs(),
        "tiff 16 bits": encode(Image.fromarray(grey_16), "TIFF", compression="tiff_lzw"),
        "tiff 16 bits colour": encode_16_bits(".tiff", colour_16),
        "tiff float": encode(Image.fromarray(np.asarray(GREY).astype(np.float32)), "TIFF"),
        "tiff ink": encode(PICTURE.convert("CMYK"), "TIFF", compression="packbits"),
        "tiff lab": encode(PICTURE.convert("LAB"), "TIFF"),
        "tiff fax": encode(GREY.convert("1"), "TIFF", compression="group4"),
        "tiff turned": encode(CLEAR, "TIFF", exif=exif(5), icc_profile=profile),
    }


def _bmp_runs() -> bytes:
    """A BMP whose rows are run lengths of a palette's entries."""
    rows = b"".join(bytes([WIDTH, row % 4]) + b"\0\0" for row in range(HEIGHT)) + b"\0\1"
    colors = bytes(range(16))
    header = struct.pack("<IiiHHIIiiII", 40, WIDTH, HEIGHT, 1, 8, 1, len(rows), 2835, 2835, 4, 0)
    return b"BM" + struct.pack("<IHHI", 54 + 16 + len(rows), 0, 0, 54 + 16) + header + colors + rows
