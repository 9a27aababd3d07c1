from __future__ import annotations

import io
import os
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from unittest.mock import Mock

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageCms, ImageFile, PngImagePlugin

from agegender import images
from agegender.errors import (
    EmptyImageError,
    ImageError,
    ImageTooLargeError,
    NotAnImageError,
    TruncatedImageError,
)
from agegender.image_formats import ImageFormat
from agegender.images import IMAGE_SUFFIXES, MAX_BYTES, MAX_PIXELS, read_image
from tools.fuzz.seeds import (
    ALPHA,
    CLEAR,
    GREY,
    HAS_JXL,
    HEIGHT,
    PICTURE,
    PIXELS,
    SRGB,
    WIDTH,
    bmp_with_alpha,
    color_profile,
    encode,
    encode_16_bits,
    exif,
    lossless,
    lossy,
    pictures,
    png,
)

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


def on_white(colors: NDArray[np.uint8], alpha: NDArray[np.uint8]) -> NDArray[np.float64]:
    share = alpha[..., None] / 255
    return colors * share + 255 * (1 - share)


def difference(got: NDArray[np.uint8], wanted: NDArray[np.generic]) -> float:
    assert got.shape == wanted.shape
    return float(np.abs(got.astype(np.float64) - wanted).max())


def replaced(data: bytes, at: int, new: bytes) -> bytes:
    return data[:at] + new + data[at + len(new) :]


# Formats


def test_every_format_gives_the_pixels_plain_and_the_callers_own() -> None:
    for name, data in pictures().items():
        image = read_image(data)
        assert difference(image, PIXELS) <= (0 if name in lossless() else 18 if "jxl" in name else 12), name
        assert image.dtype == np.uint8
        assert image.flags.c_contiguous and image.flags.writeable and image.flags.owndata


def test_grey_and_black_and_white_become_rgb() -> None:
    for format in ("JPEG", "PNG", "WEBP", "TIFF", "AVIF"):
        assert difference(read_image(encode(GREY, format)), np.dstack([np.asarray(GREY)] * 3)) <= 8
    for format in ("PNG", "BMP", "TIFF"):
        image = read_image(encode(GREY.point(lambda v: 255 * (v > 128)).convert("1"), format))
        np.testing.assert_array_equal(image[..., 0] > 0, np.asarray(GREY) > 128)
        assert set(np.unique(image)) == {0, 255}


def test_content_decides_not_the_name(tmp_path: Path) -> None:
    path = tmp_path / "photo.txt"
    path.write_bytes(lossless()["png"])
    np.testing.assert_array_equal(read_image(path), PIXELS)
    # One container, several codecs: the first brand may be one for all of them.
    avif = lossy()["avif"]
    np.testing.assert_array_equal(read_image(replaced(avif, 8, b"mif1")), read_image(avif))


def test_suffixes_are_lower_case_with_a_dot() -> None:
    known = {
        ".jpg",
        ".jpeg",
        ".png",
        ".webp",
        ".avif",
        ".heic",
        ".hif",
        ".jxl",
        ".gif",
        ".bmp",
        ".tif",
        ".tiff",
    }
    assert known <= IMAGE_SUFFIXES
    assert all(suffix.startswith(".") and suffix == suffix.lower() for suffix in IMAGE_SUFFIXES)


def test_jpeg_xl_says_what_it_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pillow_jxl", None)
    with pytest.raises(TruncatedImageError, match="install pillow-jxl-plugin"):
        read_image(b"\xff\x0a" + bytes(100))


@pytest.mark.skipif(not HAS_JXL, reason="pillow-jxl-plugin is not installed")
def test_jpeg_xl_with_alpha_and_as_packed_jpeg(tmp_path: Path) -> None:
    assert difference(read_image(encode(CLEAR, "JXL", lossless=True)), on_white(PIXELS, ALPHA)) <= 1
    (tmp_path / "a.jpg").write_bytes(encode(PICTURE, "JPEG", quality=95, exif=exif(6)))
    with Image.open(tmp_path / "a.jpg") as jpeg, pytest.warns(UserWarning, match="reconstruction"):
        packed = encode(jpeg, "JXL", lossless_jpeg=None)
    np.testing.assert_array_equal(read_image(packed), read_image(tmp_path / "a.jpg"))


# Sources


def test_every_kind_of_source(tmp_path: Path) -> None:
    data = lossless()["png"]
    path = tmp_path / "photo.png"
    path.write_bytes(data)
    with path.open("rb") as file:
        for source in (str(path), path, data, bytearray(data), memoryview(data), io.BytesIO(data), file):
            np.testing.assert_array_equal(read_image(source), PIXELS)


def test_file_object_is_read_from_its_start_and_put_back() -> None:
    file = io.BytesIO(lossless()["png"])
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
    np.testing.assert_array_equal(read_image(Pipe(lossless()["png"])), PIXELS)
    with pytest.raises(ImageTooLargeError):
        read_image(Pipe(lossless()["png"]), max_bytes=100)


def test_wrong_kinds_of_source_are_type_errors(tmp_path: Path) -> None:
    path = tmp_path / "photo.jpg"
    path.write_bytes(lossy()["jpeg"])
    with pytest.raises(TypeError, match="NoneType"):
        read_image(None)
    with path.open() as text, pytest.raises(TypeError, match="'rb'"):
        read_image(text)


# Orientation


def test_orientation_is_applied_once() -> None:
    for format, options in (
        ("JPEG", {"quality": 95}),
        ("PNG", {}),
        ("WEBP", {"lossless": True}),
        ("TIFF", {}),
        ("TIFF", {"compression": "tiff_lzw"}),
        ("HEIC", {"quality": 95}),  # the encoder writes both the HEIF turn and the EXIF tag
        ("AVIF", {"quality": 95}),
    ):
        for orientation, turn in TURNS.items():
            stored = Image.fromarray(np.ascontiguousarray(TURNS[UNDO[orientation]](PIXELS)))
            np.testing.assert_array_equal(turn(np.asarray(stored)), PIXELS)
            image = read_image(encode(stored, format, exif=exif(orientation), **options))
            allowed = 12 if format in {"JPEG", "HEIC", "AVIF"} else 0
            assert difference(image, PIXELS) <= allowed, (format, orientation)


@pytest.mark.filterwarnings("ignore")
def test_orientation_that_makes_no_sense_is_ignored() -> None:
    for tags in (exif(0), exif(9), b"Exif\0\0MM\0*\0\0\0\x08\xff\xff", b"Exif\0\0rubbish"):
        assert difference(read_image(encode(PICTURE, "JPEG", exif=tags, quality=95)), PIXELS) <= 12


# Depth


def test_16_bits_are_scaled_not_clipped() -> None:
    ramp = np.linspace(0, 65535, WIDTH * HEIGHT).astype(np.uint16).reshape(HEIGHT, WIDTH)
    wanted = np.dstack([ramp / 257] * 3)
    grey = Image.fromarray(ramp)
    for data in (encode(grey, "PNG"), encode(grey, "TIFF"), encode(grey, "TIFF", compression="tiff_lzw")):
        assert difference(read_image(data), wanted) <= 0.5
    assert difference(read_image(encode(grey, "TIFF", tiffinfo={262: 0})), 255 - wanted) <= 0.5

    values = np.random.default_rng(0).integers(0, 65536, (HEIGHT, WIDTH, 3)).astype(np.uint16)
    for suffix in (".png", ".tiff"):
        assert difference(read_image(encode_16_bits(suffix, values)), values / 257) < 1
    clear = encode_16_bits(".png", np.dstack([values, ALPHA.astype(np.uint16) * 257]))
    assert difference(read_image(clear), on_white(values / 257, ALPHA)) < 2


def test_float_and_32_bit_tiff_are_scaled_from_the_usual_ranges() -> None:
    wanted = np.dstack([np.asarray(GREY)] * 3)
    for white in (1.0, 255.0, 65535.0):
        values = (np.asarray(GREY) / 255 * white).astype(np.float32)
        assert difference(read_image(encode(Image.fromarray(values), "TIFF")), wanted) <= 1
    whole = (np.asarray(GREY).astype(np.int64) * (2**31 - 1) // 255).astype(np.int32)
    assert difference(read_image(encode(Image.fromarray(whole), "TIFF")), wanted) <= 1


def test_what_is_no_shade_of_grey_or_misread_is_refused() -> None:
    for value in (np.nan, np.inf, -1000.0, 1e30):
        values = np.asarray(GREY).astype(np.float32)
        values[3, 3] = value
        with pytest.raises(TruncatedImageError, match=r"grey|finite"):
            read_image(encode(Image.fromarray(values), "TIFF"))
    data = encode_16_bits(".tiff", np.zeros((8, 8, 3), np.uint16), (cv2.IMWRITE_TIFF_COMPRESSION, 1))
    entry = data.index(struct.pack("<HH", 284, 3), 8)
    with pytest.raises(TruncatedImageError, match="one after the other"):
        read_image(replaced(data, entry + 8, b"\2"))


# Alpha, palettes, ink


def test_alpha_lies_over_white() -> None:
    wanted = on_white(PIXELS, ALPHA)
    for format, options in (("PNG", {}), ("WEBP", {"lossless": True, "exact": True}), ("TIFF", {})):
        assert difference(read_image(encode(CLEAR, format, **options)), wanted) <= 1
    for format in ("HEIC", "AVIF"):
        assert difference(read_image(encode(CLEAR, format, quality=95)), wanted) <= 20
    grey = Image.merge("LA", (GREY, CLEAR.getchannel("A")))
    assert difference(read_image(encode(grey, "PNG")), on_white(np.dstack([GREY] * 3), ALPHA)) <= 1
    # The fourth byte of a BMP is alpha only where any is set; of a PNG always.
    assert difference(read_image(bmp_with_alpha(51)), on_white(PIXELS, np.full_like(ALPHA, 51))) <= 1
    empty = encode(Image.new("RGBA", (2, 2), (9, 9, 9, 0)), "PNG")
    np.testing.assert_array_equal(read_image(empty), np.full((2, 2, 3), 255))


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


def test_png_with_one_transparent_colour_at_every_depth() -> None:
    for data, wanted in (
        (png((8, 1), 1, 0, b"\0\xaa", tRNS=b"\0\1"), [255, 0, 255, 0, 255, 0, 255, 0]),
        (png((4, 1), 2, 0, b"\0\x1b", tRNS=b"\0\1"), [0, 255, 170, 255]),
        (png((2, 1), 4, 0, b"\0\x37", tRNS=b"\0\3"), [255, 119]),
        (png((2, 1), 8, 0, b"\0\x12\x34", tRNS=b"\0\x12"), [255, 0x34]),
        (png((2, 1), 16, 0, b"\0\x12\x34\x34\x34", tRNS=b"\x12\x34"), [255, 0x34]),
        (png((2, 1), 16, 2, b"\0" + b"\x12\x34" * 3 + b"\x34\x34" * 3, tRNS=b"\x12\x34" * 3), [255, 0x34]),
    ):
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


def test_other_colour_models_in_tiff() -> None:
    for mode in ("CMYK", "LAB"):  # Pillow's 8-bit LAB rounds coarsely, so the mean counts
        image = read_image(encode(PICTURE.convert(mode), "TIFF"))
        assert np.abs(image.astype(int) - PIXELS).mean() < 2


# Colour profiles


def test_display_p3_is_converted_to_srgb() -> None:
    picture = Image.new("RGB", (16, 16), (200, 100, 100))
    lossless, best = {"lossless": True}, {"quality": 100}
    for format, options in {
        "PNG": {},
        "TIFF": {},
        "WEBP": lossless,
        "JPEG": best,
        "HEIC": best,
        "AVIF": best,
    }.items():
        image = read_image(encode(picture, format, icc_profile=color_profile(b"RGB ", 2.2), **options))
        # By the published matrices: P3 (200, 100, 100) is sRGB (216, 93, 97).
        assert difference(image, np.full((16, 16, 3), (216, 93, 97))) <= 3, format


def test_profiles_are_judged_by_their_content() -> None:
    linear = color_profile(b"RGB ", 1.0, name=b"sRGB IEC61966-2.1", primaries=SRGB)
    image = read_image(encode(Image.new("RGB", (2, 2), (55, 55, 55)), "PNG", icc_profile=linear))
    assert difference(image, np.full((2, 2, 3), 128)) <= 2  # linear 55/255 is 128/255 in sRGB
    from PIL import ImageCms

    srgb = (
        ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))
        .tobytes()
        .replace(b"s\0R\0G\0B", b"x\0y\0z\0w")
    )
    np.testing.assert_array_equal(read_image(encode(PICTURE, "PNG", icc_profile=srgb)), PIXELS)


def test_profile_keeps_alpha_and_serves_grey() -> None:
    clear = Image.new("RGBA", (2, 2), (200, 100, 100, 51))
    image = read_image(encode(clear, "PNG", icc_profile=color_profile(b"RGB ", 2.2)))
    assert difference(image, np.full((2, 2, 3), (247.2, 222.6, 223.4))) <= 2
    linear = color_profile(b"GRAY", 1.0)
    image = read_image(encode(Image.new("L", (2, 2), 55), "PNG", icc_profile=linear))
    assert difference(image, np.full((2, 2, 3), 128)) <= 2


def test_profile_that_does_not_fit_is_ignored() -> None:
    for profile in (b"rubbish", color_profile(b"RGB ", 2.2)[:200], color_profile(b"GRAY", 1.0)):
        np.testing.assert_array_equal(read_image(encode(PICTURE, "PNG", icc_profile=profile)), PIXELS)


def test_the_gamma_of_a_png_is_undone() -> None:
    def colour(gamma: int, kind: int = 2, pixel: bytes = bytes([55, 0, 255]), **chunks: bytes) -> list[int]:
        image = png((1, 1), 8, kind, b"\0" + pixel, gAMA=struct.pack(">I", gamma), **chunks)
        return read_image(image)[0, 0].tolist()

    assert colour(100000) == [128, 0, 255]  # linear light
    assert colour(100000, kind=0, pixel=b"\x37") == [128] * 3
    assert colour(100000, kind=6, pixel=bytes([55, 0, 255, 51])) == [230, 204, 255]  # 0.2 of it over white
    assert colour(100000, kind=3, pixel=b"\0", PLTE=bytes([55, 0, 255])) == [128, 0, 255]
    for same in (colour(45455), colour(0), colour(100000, sRGB=b"\0")):
        assert same == [55, 0, 255]


# Refusals


def test_not_an_image() -> None:
    names = "JPEG, PNG, WebP, AVIF, HEIC, JPEG XL, GIF, BMP, TIFF"
    for data in (
        b"hello",
        b"BMW makes cars, and this text is about them",
        b"PK\3\4" + bytes(99),
        b"<svg/>",
        bytes(500),
    ):
        with pytest.raises(NotAnImageError, match=names):
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


def claiming(width: int, height: int) -> dict[str, bytes]:
    """Small files whose headers claim another size."""
    jpeg, gif, little = lossy()["jpeg"], lossy()["gif"], struct.pack("<HH", width, height)
    gif = replaced(gif, 6, little)
    files = {
        "png": png((width, height), 8, 2, b""),
        "jpeg": replaced(jpeg, jpeg.index(b"\xff\xc0") + 5, struct.pack(">HH", height, width)),
        "gif": replaced(gif, gif.index(b",", 13 + 3 * (2 << (gif[10] & 7))) + 5, little),
        "bmp": replaced(lossless()["bmp"], 18, struct.pack("<ii", width, height)),
    }
    if width:
        canvas = struct.pack("<I", width - 1)[:3] + struct.pack("<I", height - 1)[:3]
        files["webp"] = b"RIFF\x16\0\0\0WEBPVP8X\x0a\0\0\0" + bytes(4) + canvas
        tiff = lossless()["tiff"]
        for tag, side in ((256, width), (257, height)):
            tiff = replaced(tiff, tiff.index(struct.pack("<HHI", tag, 4, 1)) + 8, struct.pack("<I", side))
        files["tiff"] = tiff
        # Bits, lowest first: not small, height, no ratio, width; each side as 18 bits less one.
        files["jxl"] = b"\xff\x0a" + (2 << 1 | height - 1 << 3 | 2 << 24 | width - 1 << 26).to_bytes(
            12, "little"
        )
    return files


def test_no_pixels() -> None:
    for data in claiming(0, 9).values():
        with pytest.raises(EmptyImageError, match="0 × 9 pixels"):
            read_image(data)


def test_too_many_pixels_are_refused_before_decoding(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ImageFile.ImageFile, "load", lambda *_: pytest.fail("decoding began"))
    for format, data in claiming(65500, 65500).items():
        if format != "jxl" or HAS_JXL:
            with pytest.raises(
                ImageTooLargeError, match=f"65500 × 65500 pixels are more than {MAX_PIXELS:,}"
            ):
                read_image(data)


def test_limits_are_exact(tmp_path: Path) -> None:
    for data in pictures().values():
        assert read_image(data, max_pixels=WIDTH * HEIGHT).shape == (HEIGHT, WIDTH, 3)
        with pytest.raises(ImageTooLargeError):
            read_image(data, max_pixels=WIDTH * HEIGHT - 1)
    data = lossless()["png"]
    path = tmp_path / "photo.png"
    path.write_bytes(data)
    file = io.BytesIO(data)
    file.seek(5)
    for source in (data, bytearray(data), memoryview(data), path, file):
        assert read_image(source, max_bytes=len(data)).shape == (HEIGHT, WIDTH, 3)
        with pytest.raises(ImageTooLargeError, match="bytes"):
            read_image(source, max_bytes=len(data) - 1)
    assert file.tell() == 5


def test_pillows_own_limit_gives_the_same_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    with pytest.raises(ImageTooLargeError):
        read_image(lossless()["tiff"])


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


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may read everything")
def test_file_without_permission(tmp_path: Path) -> None:
    path = tmp_path / "photo.png"
    path.write_bytes(lossless()["png"])
    path.chmod(0)
    with pytest.raises(ImageError, match="no permission"):
        read_image(path)


def test_closed_file_object() -> None:
    file = io.BytesIO(lossless()["png"])
    file.close()
    with pytest.raises(ImageError, match="closed"):
        read_image(file)


def test_whatever_a_decoder_raises_is_typed(monkeypatch: pytest.MonkeyPatch) -> None:
    kinds: dict[type[Exception], type[ImageError]] = dict.fromkeys(
        (OSError, ValueError, SyntaxError, struct.error, KeyError, RuntimeError), TruncatedImageError
    )
    for raised, expected in {**kinds, MemoryError: ImageTooLargeError}.items():
        load = Mock(side_effect=raised("deep inside"))
        monkeypatch.setattr(PngImagePlugin.PngImageFile, "load", load)
        with pytest.raises(expected, match=r"deep inside|too early"):
            read_image(lossless()["png"])


# Damage


@pytest.mark.filterwarnings("ignore")
def test_cut_anywhere_never_gives_another_picture() -> None:
    for name, data in pictures().items():
        whole = read_image(data)
        cuts = {*range(1, len(data), max(1, len(data) // 60)), *range(len(data) - 40, len(data))}
        for cut in sorted(cuts):
            try:
                image = read_image(data[:cut])
            except ImageError:
                continue
            # Only where all that is missing lies behind the picture, such as another page.
            np.testing.assert_array_equal(image, whole, err_msg=f"{name} cut to {cut} of {len(data)}")
        with pytest.raises(TruncatedImageError):
            read_image(data[: len(data) // 3])


def test_one_missing_byte_is_noticed_but_in_an_end_mark() -> None:
    for name in ("png", "webp", "heic", "avif", "bmp", "tiff"):
        with pytest.raises(TruncatedImageError):
            read_image(pictures()[name][:-1])
    for name in ("jpeg", "jpeg progressive", "jpeg restarts", "gif"):
        data = pictures()[name]
        for lacking in (1, 2):  # of GIF's two, one ends the data and one the file
            np.testing.assert_array_equal(read_image(data[:-lacking]), read_image(data))
        with pytest.raises(TruncatedImageError):
            read_image(data[:-3])


def test_jpeg_with_half_its_scan_is_refused_though_it_ends_well() -> None:
    for name in ("jpeg", "jpeg restarts"):
        data = lossy()[name]
        scan = data.index(b"\xff\xda")
        with pytest.raises(TruncatedImageError):
            read_image(data[: (scan + len(data)) // 2] + b"\xff\xd9")


def test_progressive_jpeg_without_its_last_scans_is_no_whole_one() -> None:
    data = lossy()["jpeg progressive"]
    with pytest.raises(TruncatedImageError):
        read_image(data[: data.rindex(b"\xff\xda")])


def test_jpeg_with_something_behind_it_is_fine() -> None:
    data = lossy()["jpeg"]
    np.testing.assert_array_equal(read_image(data + data + b"trailing"), read_image(data))


def test_png_checksums_are_verified() -> None:
    data = bytearray(lossless()["png"])
    data[data.index(b"IDAT") + 30] ^= 1
    with pytest.raises(TruncatedImageError, match="checksum of a IDAT"):
        read_image(bytes(data))


def test_raw_file_is_not_taken_for_its_thumbnail() -> None:
    with pytest.raises(TruncatedImageError, match="raw"):
        read_image(encode(PICTURE, "TIFF", tiffinfo={254: 1}))


# Side effects


def test_threads_do_not_disturb_each_other() -> None:
    wanted = {name: read_image(data) for name, data in pictures().items()}
    jobs = list(pictures().items()) * 5
    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(lambda job: read_image(job[1]), jobs))
    for (name, _), image in zip(jobs, results, strict=True):
        np.testing.assert_array_equal(image, wanted[name])


def test_large_pictures_are_decoded_one_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    most, now, guard = 0, 0, threading.Lock()
    convert = images._upright_rgb

    def watched(image: Image.Image, known: ImageFormat) -> NDArray[np.uint8]:
        nonlocal most, now
        with guard:
            now += 1
            most = max(most, now)
        time.sleep(0.01)
        with guard:
            now -= 1
        return convert(image, known)

    monkeypatch.setattr(images, "_upright_rgb", watched)
    jobs = list(pictures().values())
    for large, together in ((WIDTH * HEIGHT - 1, 1), (WIDTH * HEIGHT, 8)):
        monkeypatch.setattr(images, "_LARGE", large)
        most = 0
        with ThreadPoolExecutor(8) as pool:
            assert len(list(pool.map(read_image, jobs))) == len(jobs)
        assert 1 <= most <= together and (most > 1) == (together > 1)


def test_import_is_light_and_pillow_is_left_as_it_was() -> None:
    code = """
import sys
from PIL import Image, ImageFile
before = (Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES)
import agegender.images
assert not {"pillow_heif", "pillow_jxl", "tensorflow", "keras", "streamlit"} & set(sys.modules)
agegender.images.read_image(sys.stdin.buffer.read())
assert "pillow_heif" in sys.modules and "HEIF" not in Image.OPEN
assert before == (Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES)
"""
    root = Path(__file__).resolve().parents[1]
    subprocess.run([sys.executable, "-c", code], input=lossy()["heic"], cwd=root, check=True, timeout=60)


def test_lab_colours_are_prepared_for_once_however_many_strips_there_are(monkeypatch):
    """Preparing takes 5 ms: a file of 5 kB that was narrow and high took 5 seconds."""
    profiles = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
    noise = np.random.default_rng(3).integers(0, 256, (1500, 8, 3), dtype=np.uint8)
    picture = ImageCms.buildTransform(*profiles, "RGB", "LAB").apply(Image.fromarray(noise))
    buffer = io.BytesIO()
    picture.save(buffer, "TIFF")
    whole = np.asarray(picture.convert("RGB"))
    build, built = ImageCms.buildTransform, []
    monkeypatch.setattr(ImageCms, "buildTransform", lambda *args: built.append(1) or build(*args))
    assert (read_image(buffer.getvalue()) == whole).all()
    assert len(built) == 1
