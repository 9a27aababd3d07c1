from __future__ import annotations

import io
import os
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pillow_heif
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageFile, PngImagePlugin

from agegender.errors import (
    EmptyImageError,
    ImageError,
    ImageTooLargeError,
    NotAnImageError,
    TruncatedImageError,
)
from agegender.images import IMAGE_SUFFIXES, MAX_BYTES, MAX_PIXELS, read_image

WIDTH, HEIGHT = 48, 32


def make_pixels() -> NDArray[np.uint8]:
    """A smooth picture without any symmetry: every turn of it differs, and codecs keep it well."""
    x, y = np.meshgrid(np.linspace(0, 1, WIDTH), np.linspace(0, 1, HEIGHT))
    return np.stack([40 + 180 * x, 220 - 150 * y, 60 + 120 * x * y], axis=2).astype(np.uint8)


PIXELS = make_pixels()
PICTURE = Image.fromarray(PIXELS)
GREY = PICTURE.convert("L")
ALPHA = np.tile(np.linspace(0, 255, WIDTH).astype(np.uint8), (HEIGHT, 1))
CLEAR = Image.fromarray(np.dstack([PIXELS, ALPHA]))
NEXT_FRAME = Image.new("RGB", PICTURE.size, "navy")

TURNS: dict[int, Callable[[NDArray[np.uint8]], NDArray[np.uint8]]] = {
    1: lambda stored: stored,
    2: lambda stored: stored[:, ::-1],
    3: lambda stored: stored[::-1, ::-1],
    4: lambda stored: stored[::-1],
    5: lambda stored: stored.swapaxes(0, 1),
    6: lambda stored: np.rot90(stored, -1),
    7: lambda stored: np.rot90(stored, 2).swapaxes(0, 1),
    8: lambda stored: np.rot90(stored, 1),
}
"""The EXIF standard's table: what a viewer does to the stored pixels."""
UNDO = {1: 1, 2: 2, 3: 3, 4: 4, 5: 5, 6: 8, 7: 7, 8: 6}


def encode(picture: Image.Image, format: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    if format == "HEIC":
        pillow_heif.from_pillow(picture).save(buffer, **options)
    else:
        picture.save(buffer, format, **options)
    return buffer.getvalue()


def cv2_encode(suffix: str, pixels: NDArray[np.generic], options: tuple[int, ...] = ()) -> bytes:
    """OpenCV writes the 16-bit colour files that Pillow cannot."""
    if pixels.ndim == 3:
        pixels = pixels[..., ::-1] if pixels.shape[2] == 3 else pixels[..., [2, 1, 0, 3]]
    done, data = cv2.imencode(suffix, np.ascontiguousarray(pixels), list(options))
    assert done
    return data.tobytes()


def png(size: tuple[int, int], depth: int, kind: int, rows: bytes, transparent: bytes = b"") -> bytes:
    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    header = struct.pack(">IIBBBBB", *size, depth, kind, 0, 0, 0)
    middle = chunk(b"tRNS", transparent) if transparent else b""
    body = chunk(b"IHDR", header) + middle + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def exif(orientation: int) -> bytes:
    tags = Image.Exif()
    tags[0x0112] = orientation
    return tags.tobytes()


def on_white(colors: NDArray[np.uint8], alpha: NDArray[np.uint8]) -> NDArray[np.float64]:
    share = alpha[..., None] / 255
    return colors * share + 255 * (1 - share)


def difference(got: NDArray[np.uint8], wanted: NDArray[np.generic]) -> float:
    assert got.shape == wanted.shape
    return float(np.abs(got.astype(np.float64) - wanted).max())


LOSSLESS: dict[str, bytes] = {
    "png": encode(PICTURE, "PNG"),
    "webp lossless": encode(PICTURE, "WEBP", lossless=True),
    "bmp": encode(PICTURE, "BMP"),
    "tiff": encode(PICTURE, "TIFF"),
    "tiff lzw": encode(PICTURE, "TIFF", compression="tiff_lzw"),
    "tiff deflate": encode(PICTURE, "TIFF", compression="tiff_adobe_deflate"),
    "apng": encode(PICTURE, "PNG", save_all=True, append_images=[NEXT_FRAME]),
    "webp animated": encode(PICTURE, "WEBP", save_all=True, append_images=[NEXT_FRAME], lossless=True),
    "tiff pages": encode(PICTURE, "TIFF", save_all=True, append_images=[NEXT_FRAME]),
}
LOSSY: dict[str, bytes] = {
    "jpeg": encode(PICTURE, "JPEG", quality=95),
    "jpeg progressive": encode(PICTURE, "JPEG", quality=95, progressive=True),
    "jpeg restarts": encode(PICTURE, "JPEG", quality=95, restart_marker_rows=1),
    "webp": encode(PICTURE, "WEBP", quality=95),
    "heic": encode(PICTURE, "HEIC", quality=95),
    "gif": encode(PICTURE, "GIF"),
    "gif animated": encode(PICTURE, "GIF", save_all=True, append_images=[NEXT_FRAME]),
    "bmp palette": encode(PICTURE.quantize(256), "BMP"),
    "tiff jpeg": encode(PICTURE, "TIFF", compression="jpeg", quality=95),
}
FILES = LOSSLESS | LOSSY


# Formats


@pytest.mark.parametrize("data", LOSSLESS.values(), ids=LOSSLESS)
def test_lossless_formats_give_the_exact_pixels(data: bytes) -> None:
    np.testing.assert_array_equal(read_image(data), PIXELS)


@pytest.mark.parametrize("data", LOSSY.values(), ids=LOSSY)
def test_lossy_formats_give_nearly_the_pixels(data: bytes) -> None:
    assert difference(read_image(data), PIXELS) <= 12


@pytest.mark.parametrize("data", FILES.values(), ids=FILES)
def test_result_is_plain_and_the_callers_own(data: bytes) -> None:
    image = read_image(data)
    assert image.dtype == np.uint8
    assert image.shape == (HEIGHT, WIDTH, 3)
    assert image.flags.c_contiguous and image.flags.writeable and image.flags.owndata


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_grey_becomes_rgb(format: str) -> None:
    image = read_image(encode(GREY, format))
    assert difference(image, np.dstack([np.asarray(GREY)] * 3)) <= 8


def test_one_bit_pictures_are_black_and_white() -> None:
    for format in ("PNG", "BMP", "TIFF"):
        image = read_image(encode(GREY.point(lambda v: 255 * (v > 128)).convert("1"), format))
        np.testing.assert_array_equal(image[..., 0] > 0, np.asarray(GREY) > 128)
        assert set(np.unique(image)) == {0, 255}


def test_content_decides_not_the_name(tmp_path: Path) -> None:
    path = tmp_path / "photo.txt"
    path.write_bytes(LOSSLESS["png"])
    np.testing.assert_array_equal(read_image(path), PIXELS)


def test_suffixes_are_lower_case_with_a_dot() -> None:
    assert {".jpg", ".jpeg", ".png", ".webp", ".heic", ".gif", ".bmp", ".tif", ".tiff"} <= IMAGE_SUFFIXES
    assert all(suffix.startswith(".") and suffix == suffix.lower() for suffix in IMAGE_SUFFIXES)


# Sources


@pytest.mark.parametrize("kind", ["str", "path", "bytes", "bytearray", "memoryview", "BytesIO", "file"])
def test_every_kind_of_source(kind: str, tmp_path: Path) -> None:
    data = LOSSLESS["png"]
    path = tmp_path / "photo.png"
    path.write_bytes(data)
    with path.open("rb") as file:
        source = {
            "str": str(path),
            "path": path,
            "bytes": data,
            "bytearray": bytearray(data),
            "memoryview": memoryview(data),
            "BytesIO": io.BytesIO(data),
            "file": file,
        }[kind]
        np.testing.assert_array_equal(read_image(source), PIXELS)


def test_file_object_is_read_from_its_start_and_put_back() -> None:
    file = io.BytesIO(LOSSLESS["png"])
    file.seek(17)
    np.testing.assert_array_equal(read_image(file), PIXELS)
    assert file.tell() == 17
    assert not file.closed


class Pipe(io.RawIOBase):
    """A stream that cannot seek and gives seven bytes at a time."""

    def __init__(self, data: bytes) -> None:
        self._rest = data

    def read(self, size: int = -1) -> bytes:
        part, self._rest = self._rest[:7], self._rest[7:]
        return part


def test_stream_that_cannot_seek() -> None:
    np.testing.assert_array_equal(read_image(Pipe(LOSSLESS["png"])), PIXELS)
    with pytest.raises(ImageTooLargeError):
        read_image(Pipe(LOSSLESS["png"]), max_bytes=100)


def test_wrong_kinds_of_source_are_type_errors(tmp_path: Path) -> None:
    path = tmp_path / "photo.jpg"
    path.write_bytes(LOSSY["jpeg"])
    with pytest.raises(TypeError, match="NoneType"):
        read_image(None)  # type: ignore[arg-type]
    with path.open() as text, pytest.raises(TypeError, match="'rb'"):
        read_image(text)  # type: ignore[arg-type]


# Orientation


@pytest.mark.parametrize("orientation", TURNS)
@pytest.mark.parametrize(
    ("format", "options"),
    [
        ("JPEG", {"quality": 95}),
        ("PNG", {}),
        ("WEBP", {"lossless": True}),
        ("TIFF", {}),
        ("TIFF", {"compression": "tiff_lzw"}),
        ("HEIC", {"quality": 95}),  # the encoder writes both the HEIF turn and the EXIF tag
    ],
    ids=["jpeg", "png", "webp", "tiff", "tiff lzw", "heic"],
)
def test_orientation_is_applied_once(format: str, options: dict[str, object], orientation: int) -> None:
    stored = Image.fromarray(np.ascontiguousarray(TURNS[UNDO[orientation]](PIXELS)))
    image = read_image(encode(stored, format, exif=exif(orientation), **options))
    assert difference(image, PIXELS) <= (12 if format in {"JPEG", "HEIC"} else 0)


@pytest.mark.parametrize("tags", [exif(0), exif(9), b"Exif\0\0MM\0*\0\0\0\x08\xff\xff", b"Exif\0\0rubbish"])
@pytest.mark.filterwarnings("ignore")
def test_orientation_that_makes_no_sense_is_ignored(tags: bytes) -> None:
    assert difference(read_image(encode(PICTURE, "JPEG", exif=tags, quality=95)), PIXELS) <= 12


# Depth


def test_16_bit_grey_is_scaled_not_clipped() -> None:
    ramp = np.linspace(0, 65535, WIDTH * HEIGHT).astype(np.uint16).reshape(HEIGHT, WIDTH)
    wanted = np.dstack([ramp / 257] * 3)
    assert difference(read_image(encode(Image.fromarray(ramp), "PNG")), wanted) <= 0.5
    assert difference(read_image(encode(Image.fromarray(ramp), "TIFF")), wanted) <= 0.5
    compressed = encode(Image.fromarray(ramp), "TIFF", compression="tiff_lzw")
    assert difference(read_image(compressed), wanted) <= 0.5
    inverted = encode(Image.fromarray(ramp), "TIFF", tiffinfo={262: 0})
    assert difference(read_image(inverted), 255 - wanted) <= 0.5


@pytest.mark.parametrize("suffix", [".png", ".tiff"])
def test_16_bit_colour_is_scaled(suffix: str) -> None:
    values = np.random.default_rng(0).integers(0, 65536, (HEIGHT, WIDTH, 3)).astype(np.uint16)
    assert difference(read_image(cv2_encode(suffix, values)), values / 257) < 1
    alpha = ALPHA.astype(np.uint16) * 257
    clear = cv2_encode(".png", np.dstack([values, alpha]))
    assert difference(read_image(clear), on_white(values / 257, ALPHA)) < 2


@pytest.mark.parametrize("white", [1.0, 255.0, 65535.0])
def test_float_tiff_is_scaled_from_the_usual_ranges(white: float) -> None:
    values = (np.asarray(GREY) / 255 * white).astype(np.float32)
    image = read_image(encode(Image.fromarray(values), "TIFF"))
    assert difference(image, np.dstack([np.asarray(GREY)] * 3)) <= 1


def test_32_bit_tiff_is_scaled() -> None:
    values = (np.asarray(GREY).astype(np.int64) * (2**31 - 1) // 255).astype(np.int32)
    image = read_image(encode(Image.fromarray(values), "TIFF"))
    assert difference(image, np.dstack([np.asarray(GREY)] * 3)) <= 1


@pytest.mark.parametrize("value", [np.nan, np.inf, -1000.0, 1e30])
def test_float_tiff_without_shades_of_grey_is_refused(value: float) -> None:
    values = np.asarray(GREY).astype(np.float32)
    values[3, 3] = value
    with pytest.raises(TruncatedImageError, match=r"grey|finite"):
        read_image(encode(Image.fromarray(values), "TIFF"))


def test_separate_16_bit_planes_are_refused_rather_than_misread() -> None:
    data = bytearray(cv2_encode(".tiff", np.zeros((8, 8, 3), np.uint16), (cv2.IMWRITE_TIFF_COMPRESSION, 1)))
    entry = data.index(struct.pack("<HH", 284, 3), 8)
    data[entry + 8] = 2
    with pytest.raises(TruncatedImageError, match="one after the other"):
        read_image(bytes(data))


# Alpha, palettes, ink


def test_alpha_lies_over_white() -> None:
    wanted = on_white(PIXELS, ALPHA)
    for format, options in (("PNG", {}), ("WEBP", {"lossless": True, "exact": True}), ("TIFF", {})):
        assert difference(read_image(encode(CLEAR, format, **options)), wanted) <= 1
    assert difference(read_image(encode(CLEAR, "HEIC", quality=95)), wanted) <= 20
    grey = Image.merge("LA", (GREY, CLEAR.getchannel("A")))
    assert difference(read_image(encode(grey, "PNG")), on_white(np.dstack([GREY] * 3), ALPHA)) <= 1


def test_palette_with_partial_transparency() -> None:
    palette = CLEAR.quantize(32)
    data = encode(palette, "PNG")
    with Image.open(io.BytesIO(data)) as written:
        assert isinstance(written.info["transparency"], bytes)
    exact = np.asarray(palette.convert("RGBA"))
    assert difference(read_image(data), on_white(exact[..., :3], exact[..., 3])) <= 1


def test_palette_with_one_transparent_colour() -> None:
    palette = PICTURE.quantize(16)
    chosen = np.asarray(palette) == 5
    wanted = np.where(chosen[..., None], 255, np.asarray(palette.convert("RGB")))
    for format in ("PNG", "GIF"):
        np.testing.assert_array_equal(read_image(encode(palette, format, transparency=5)), wanted)


@pytest.mark.parametrize(
    ("data", "wanted"),
    [
        (png((8, 1), 1, 0, b"\0\xaa", b"\0\1"), [255, 0, 255, 0, 255, 0, 255, 0]),
        (png((4, 1), 2, 0, b"\0\x1b", b"\0\1"), [0, 255, 170, 255]),
        (png((2, 1), 4, 0, b"\0\x37", b"\0\3"), [255, 119]),
        (png((2, 1), 8, 0, b"\0\x12\x34", b"\0\x12"), [255, 0x34]),
        (png((2, 1), 16, 0, b"\0\x12\x34\x34\x34", b"\x12\x34"), [255, 0x34]),
        (png((2, 1), 16, 2, b"\0" + b"\x12\x34" * 3 + b"\x34\x34" * 3, b"\x12\x34" * 3), [255, 0x34]),
    ],
    ids=["1 bit", "2 bits", "4 bits", "8 bits", "16 bits", "16 bits RGB"],
)
def test_png_with_one_transparent_colour_at_every_depth(data: bytes, wanted: list[int]) -> None:
    np.testing.assert_array_equal(read_image(data)[0, :, 0], wanted)


def test_cmyk_jpeg_with_and_without_adobe_mark() -> None:
    ink = PICTURE.convert("CMYK")
    with_mark = encode(ink, "JPEG", quality=95, subsampling=0)
    assert difference(read_image(with_mark), PIXELS) <= 12

    # Adobe's programs store ink inverted, and Pillow writes as they do. Without the mark ink is ink.
    inverted = Image.frombytes("CMYK", ink.size, (255 - np.asarray(ink)).tobytes())
    data = encode(inverted, "JPEG", quality=95, subsampling=0)
    mark = data.index(b"\xff\xee")
    without_mark = data[:mark] + data[mark + 16 :]
    assert b"Adobe" not in without_mark
    assert difference(read_image(without_mark), PIXELS) <= 12


@pytest.mark.parametrize("mode", ["CMYK", "LAB"])
def test_other_colour_models_in_tiff(mode: str) -> None:
    # Pillow's 8-bit LAB rounds coarsely, so the mean counts.
    image = read_image(encode(PICTURE.convert(mode), "TIFF"))
    assert np.abs(image.astype(int) - PIXELS).mean() < 2


# Colour profiles


def color_profile(space: bytes, gamma: float) -> bytes:
    """A version 2 ICC profile: Display P3's primaries, or plain grey, with one gamma curve."""

    def numbers(*values: float) -> bytes:
        return b"".join(struct.pack(">i", round(value * 65536)) for value in values)

    curve = b"curv\0\0\0\0" + struct.pack(">IH", 1, round(gamma * 256)) + b"\0\0"
    tags = {
        b"desc": b"desc\0\0\0\0" + struct.pack(">I", 5) + b"test\0" + bytes(78),
        b"wtpt": b"XYZ \0\0\0\0" + numbers(0.9642, 1, 0.8249),
    }
    if space == b"RGB ":
        primaries = {
            b"r": (0.5151, 0.2412, -0.0011),
            b"g": (0.292, 0.6922, 0.0419),
            b"b": (0.1571, 0.0666, 0.7841),
        }
        for channel, xyz in primaries.items():
            tags[channel + b"XYZ"] = b"XYZ \0\0\0\0" + numbers(*xyz)
            tags[channel + b"TRC"] = curve
    else:
        tags[b"kTRC"] = curve
    table, body = struct.pack(">I", len(tags)), b""
    for name, content in tags.items():
        table += name + struct.pack(">II", 132 + 12 * len(tags) + len(body), len(content))
        body += content + bytes(-len(content) % 4)
    header = (
        struct.pack(">I4sI", 128 + len(table) + len(body), b"lcms", 0x02400000) + b"mntr" + space + b"XYZ "
    )
    header += struct.pack(">6H", 2024, 1, 1, 0, 0, 0) + b"acsp" + bytes(28) + numbers(0.9642, 1, 0.8249)
    return header.ljust(128, b"\0") + table + body


@pytest.mark.parametrize("format", ["PNG", "TIFF", "WEBP", "JPEG", "HEIC"])
def test_display_p3_is_converted_to_srgb(format: str) -> None:
    options: dict[str, object] = {
        "WEBP": {"lossless": True},
        "JPEG": {"quality": 100},
        "HEIC": {"quality": 100},
    }.get(format, {})
    picture = Image.new("RGB", (16, 16), (200, 100, 100))
    image = read_image(encode(picture, format, icc_profile=color_profile(b"RGB ", 2.2), **options))
    # By the published matrices: P3 (200, 100, 100) is sRGB (216, 93, 97).
    assert difference(image, np.full((16, 16, 3), (216, 93, 97))) <= 3


def test_profile_keeps_alpha_and_serves_grey() -> None:
    clear = Image.new("RGBA", (2, 2), (200, 100, 100, 51))
    image = read_image(encode(clear, "PNG", icc_profile=color_profile(b"RGB ", 2.2)))
    assert difference(image, np.full((2, 2, 3), (247.2, 222.6, 223.4))) <= 2
    linear = color_profile(b"GRAY", 1.0)
    image = read_image(encode(Image.new("L", (2, 2), 55), "PNG", icc_profile=linear))
    assert difference(image, np.full((2, 2, 3), 128)) <= 2  # linear 55/255 is 128/255 in sRGB


@pytest.mark.parametrize(
    "profile",
    [b"rubbish", color_profile(b"RGB ", 2.2)[:200], color_profile(b"GRAY", 1.0)],
    ids=["rubbish", "cut", "of another colour space"],
)
def test_profile_that_does_not_fit_is_ignored(profile: bytes) -> None:
    np.testing.assert_array_equal(read_image(encode(PICTURE, "PNG", icc_profile=profile)), PIXELS)


# Refusals


@pytest.mark.parametrize(
    "data",
    [b"hello", b"BMW makes cars, and this text is about them", b"PK\3\4" + bytes(99), b"<svg/>", bytes(500)],
)
def test_not_an_image(data: bytes) -> None:
    with pytest.raises(NotAnImageError, match="JPEG, PNG, WebP, HEIC, GIF, BMP, TIFF"):
        read_image(data)


def test_errors_name_the_file_and_the_reason(tmp_path: Path) -> None:
    path = tmp_path / "note.jpg"
    path.write_text("no picture")
    for source, name, expected in (
        (path, None, str(path)),
        (path, "upload 3", "upload 3"),
        (b"no picture", None, "image bytes"),
        (io.BytesIO(b"no picture"), None, "image file"),
    ):
        with pytest.raises(NotAnImageError) as caught:
            read_image(source, name=name)
        assert caught.value.name == expected
        assert caught.value.reason and expected not in caught.value.reason
        assert str(caught.value) == f"{expected}: {caught.value.reason}"
    with path.open("rb") as file, pytest.raises(NotAnImageError, match=r"note\.jpg"):
        read_image(file)


def test_empty_file(tmp_path: Path) -> None:
    path = tmp_path / "empty.jpg"
    path.touch()
    for source in (path, b"", io.BytesIO()):
        with pytest.raises(EmptyImageError):
            read_image(source)


def replaced(data: bytes, at: int, new: bytes) -> bytes:
    return data[:at] + new + data[at + len(new) :]


def resized_headers(width: int, height: int) -> dict[str, bytes]:
    """Small files whose headers claim another size."""
    jpeg, little = LOSSY["jpeg"], struct.pack("<HH", width, height)
    gif = replaced(LOSSY["gif"], 6, little)
    return {
        "png": png((width, height), 8, 2, b""),
        "jpeg": replaced(jpeg, jpeg.index(b"\xff\xc0") + 5, struct.pack(">HH", height, width)),
        "gif": replaced(gif, gif.index(b",", 13 + 3 * (2 << (gif[10] & 7))) + 5, little),
        "bmp": replaced(LOSSLESS["bmp"], 18, struct.pack("<ii", width, height)),
    }


@pytest.mark.parametrize("format", ["png", "jpeg", "gif", "bmp"])
def test_no_pixels(format: str) -> None:
    with pytest.raises(EmptyImageError, match="0 × 9 pixels"):
        read_image(resized_headers(0, 9)[format])


def claims_too_many() -> dict[str, bytes]:
    side = 65500
    little = struct.pack("<I", side - 1)[:3]
    files = resized_headers(side, side)
    files["webp"] = b"RIFF\x16\0\0\0WEBPVP8X\x0a\0\0\0" + bytes(4) + little * 2
    tiff = LOSSLESS["tiff"]
    for tag in (256, 257):
        entry = tiff.index(struct.pack("<HHI", tag, 4, 1))
        tiff = replaced(tiff, entry + 8, struct.pack("<I", side))
    files["tiff"] = tiff
    return files


@pytest.mark.parametrize("format", ["png", "jpeg", "gif", "bmp", "webp", "tiff"])
def test_too_many_pixels_are_refused_before_decoding(format: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise AssertionError("decoding began")

    monkeypatch.setattr(ImageFile.ImageFile, "load", fail)
    with pytest.raises(ImageTooLargeError, match=f"65500 × 65500 pixels are more than {MAX_PIXELS:,}"):
        read_image(claims_too_many()[format])


@pytest.mark.parametrize("data", FILES.values(), ids=FILES)
def test_limit_of_pixels_is_exact(data: bytes) -> None:
    assert read_image(data, max_pixels=WIDTH * HEIGHT).shape == (HEIGHT, WIDTH, 3)
    with pytest.raises(ImageTooLargeError):
        read_image(data, max_pixels=WIDTH * HEIGHT - 1)


def test_pillows_own_limit_gives_the_same_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    with pytest.raises(ImageTooLargeError):
        read_image(LOSSLESS["tiff"])


def test_limit_of_bytes_is_exact(tmp_path: Path) -> None:
    data = LOSSLESS["png"]
    path = tmp_path / "photo.png"
    path.write_bytes(data)
    file = io.BytesIO(data)
    file.seek(5)
    for source in (data, bytearray(data), memoryview(data), path, file):
        assert read_image(source, max_bytes=len(data)).shape == (HEIGHT, WIDTH, 3)
        with pytest.raises(ImageTooLargeError, match="bytes"):
            read_image(source, max_bytes=len(data) - 1)
    assert file.tell() == 5


def test_file_over_the_limit_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "huge.jpg"
    with path.open("wb") as file:
        file.truncate(MAX_BYTES + 1)  # sparse: takes no room on the disk
    monkeypatch.setattr("agegender.images._read_to_end", lambda *_: pytest.fail("it was read"))
    with pytest.raises(ImageTooLargeError, match=f"{MAX_BYTES:,}"):
        read_image(path)
    with path.open("rb") as file, pytest.raises(ImageTooLargeError):
        read_image(file)


def test_paths_that_are_no_files(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    os.mkfifo(tmp_path / "pipe")
    for path, reason in (
        (tmp_path / "missing.jpg", "no such file"),
        (tmp_path / "file" / "photo.jpg", "no such file"),
        (tmp_path, "a folder, not a picture"),
        (tmp_path / "pipe", "not a regular file"),
        (tmp_path / ("x" * 300), "too long"),
        ("nul\0byte.jpg", "not a usable path"),
    ):
        with pytest.raises(ImageError, match=reason):
            read_image(path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_file_without_permission(tmp_path: Path) -> None:
    path = tmp_path / "photo.png"
    path.write_bytes(LOSSLESS["png"])
    path.chmod(0)
    with pytest.raises(ImageError, match="no permission"):
        read_image(path)


def test_closed_file_object() -> None:
    file = io.BytesIO(LOSSLESS["png"])
    file.close()
    with pytest.raises(ImageError, match="closed"):
        read_image(file)


@pytest.mark.parametrize("error", [OSError, ValueError, SyntaxError, struct.error, KeyError, RuntimeError])
def test_whatever_a_decoder_raises_is_typed(error: type[Exception], monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise error("deep inside")

    monkeypatch.setattr(PngImagePlugin.PngImageFile, "load", fail)
    with pytest.raises(TruncatedImageError, match="PNG"):
        read_image(LOSSLESS["png"])


def test_out_of_memory_is_too_large(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(PngImagePlugin.PngImageFile, "load", fail)
    with pytest.raises(ImageTooLargeError, match="out of memory"):
        read_image(LOSSLESS["png"])


# Damage


@pytest.mark.parametrize("data", FILES.values(), ids=FILES)
@pytest.mark.filterwarnings("ignore")
def test_cut_anywhere_never_gives_another_picture(data: bytes) -> None:
    whole = read_image(data)
    cuts = {*range(1, len(data), max(1, len(data) // 60)), *range(len(data) - 40, len(data))}
    for cut in sorted(cuts):
        try:
            image = read_image(data[:cut])
        except ImageError:
            continue
        # Only where all that is missing lies behind the picture, such as another page.
        np.testing.assert_array_equal(image, whole)
    with pytest.raises(TruncatedImageError):
        read_image(data[: len(data) // 3])


@pytest.mark.parametrize("name", ["jpeg", "jpeg progressive", "png", "webp", "heic", "bmp", "tiff"])
def test_one_missing_byte_is_noticed(name: str) -> None:
    with pytest.raises(TruncatedImageError):
        read_image(FILES[name][:-1])


def test_gif_may_lack_only_its_trailer() -> None:
    data = LOSSY["gif"]
    np.testing.assert_array_equal(read_image(data[:-1]), read_image(data))
    with pytest.raises(TruncatedImageError):
        read_image(data[:-2])


@pytest.mark.parametrize("name", ["jpeg", "jpeg restarts"])
def test_jpeg_with_half_its_scan_is_refused_though_it_ends_well(name: str) -> None:
    data = FILES[name]
    scan = data.index(b"\xff\xda")
    with pytest.raises(TruncatedImageError):
        read_image(data[: (scan + len(data)) // 2] + b"\xff\xd9")


def test_jpeg_with_something_behind_it_is_fine() -> None:
    data = LOSSY["jpeg"]
    np.testing.assert_array_equal(read_image(data + data + b"trailing"), read_image(data))


def test_png_checksums_are_verified() -> None:
    data = bytearray(LOSSLESS["png"])
    data[data.index(b"IDAT") + 30] ^= 1
    with pytest.raises(TruncatedImageError, match="checksum of a IDAT"):
        read_image(bytes(data))


def test_raw_file_is_not_taken_for_its_thumbnail() -> None:
    with pytest.raises(TruncatedImageError, match="raw"):
        read_image(encode(PICTURE, "TIFF", tiffinfo={254: 1}))


@pytest.mark.parametrize("data", FILES.values(), ids=FILES)
@pytest.mark.filterwarnings("ignore")
def test_damaged_bytes_give_a_picture_or_a_typed_error(data: bytes) -> None:
    rng = np.random.default_rng(7)
    for kind in rng.integers(4, size=60):
        damaged = bytearray(data)
        start = int(rng.integers(len(data)))
        if kind == 0:
            damaged[int(rng.integers(min(len(data), 300)))] ^= 1 << int(rng.integers(8))
        elif kind == 1:
            damaged[start] = int(rng.integers(256))
        elif kind == 2:
            damaged[start : start + 30] = bytes(len(damaged[start : start + 30]))
        else:
            del damaged[start : start + 30]
        try:
            image = read_image(bytes(damaged), max_pixels=10**6)
        except ImageError:
            continue
        assert image.dtype == np.uint8
        assert image.ndim == 3 and image.shape[2] == 3 and image.size


# Side effects


def test_threads_do_not_disturb_each_other() -> None:
    wanted = {name: read_image(data) for name, data in FILES.items()}
    jobs = list(FILES.items()) * 5
    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(lambda job: read_image(job[1]), jobs))
    for (name, _), image in zip(jobs, results, strict=True):
        np.testing.assert_array_equal(image, wanted[name])


def test_import_is_light_and_pillow_is_left_as_it_was() -> None:
    code = """
import sys
from PIL import Image, ImageFile
before = (Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES)
import agegender.images
assert not {"pillow_heif", "tensorflow", "keras", "streamlit"} & set(sys.modules)
agegender.images.read_image(sys.stdin.buffer.read())
assert "pillow_heif" in sys.modules and "HEIF" not in Image.OPEN
assert before == (Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES)
"""
    root = Path(__file__).resolve().parents[1]
    subprocess.run([sys.executable, "-c", code], input=LOSSY["heic"], cwd=root, check=True, timeout=60)
