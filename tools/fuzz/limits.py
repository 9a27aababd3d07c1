"""Measures the largest accepted picture in every format: seconds and memory to read it, and to predict it.

python -m tools.fuzz.limits --json docs/measurements/limits.json
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pillow_heif
from PIL import Image

from agegender.assets import EXAMPLE
from agegender.images import MAX_PIXELS, read_image
from tools.fuzz.seeds import HAS_JXL, color_profile, encode_16_bits
from tools.records import write_record

SIZE = (12_000, 10_000)

PREDICT = """
import json, sys, time
from agegender.__main__ import main
from tools.fuzz.limits import peak_memory_mb

assert main(["predict", sys.argv[1], "--json", sys.argv[2]]) == 0
with open(sys.argv[2]) as file:
    [photo] = json.load(file)["images"]
figures = {"faces": len(photo["faces"]), "seconds": time.process_time(), "peak_memory_mb": peak_memory_mb()}
print(json.dumps(figures))
"""
"""The command line on one photo, in a process of its own; the seconds are all of that process's."""


def main() -> int:
    """Makes the pictures one after another and has each read."""
    parser = argparse.ArgumentParser(prog="python -m tools.fuzz.limits", description=__doc__)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--read", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.read is not None:
        began = time.process_time()
        height, width = read_image(options.read).shape[:2]
        seconds, memory = time.process_time() - began, peak_memory_mb()
        print(json.dumps({"pixels": height * width, "seconds": seconds, "peak_memory_mb": memory}))
        return 0
    formats: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, write in kinds().items():
            path = Path(folder, "picture")
            write(path)
            found = _in_a_process("-m", "tools.fuzz.limits", "--read", str(path))
            predicted = _in_a_process("-c", PREDICT, str(path), str(path.with_suffix(".json")))
            formats[name] = {"file_mb": path.stat().st_size / 1e6, **found, "predicted": predicted}
            print(name, formats[name], file=sys.stderr)
    for figures in formats.values():
        figures.update({key: round(figures[key], 1) for key in ("file_mb", "seconds")})
        figures["predicted"]["seconds"] = round(figures["predicted"]["seconds"], 1)
    write_record({"size": SIZE, "accepted_pixels": MAX_PIXELS, "formats": formats}, options.json)
    return 0


def _in_a_process(*arguments: str) -> dict[str, Any]:
    run = subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.PIPE)
    found: dict[str, Any] = json.loads(run.stdout)
    return found


def peak_memory_mb() -> int:
    """The most memory this process has held. What `resource` says counts the parent's too, on Linux."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.split("VmHWM:")[1].split()[0]) // 1000


def kinds() -> dict[str, Callable[[Path], object]]:
    """How to write the picture in every format, the costly kinds of each."""
    width, height = SIZE
    x, y = np.meshgrid(np.arange(width, dtype=np.uint32), np.arange(height, dtype=np.uint32))
    pixels = np.stack([x // 50 + y % 7, y // 40 + x % 5, (x + y) // 100], axis=2).astype(np.uint8)
    picture = Image.fromarray(pixels)
    with Image.open(EXAMPLE) as photo:
        half = width // 2, round(width / 2 * photo.height / photo.width)
        picture.paste(photo.convert("RGB").resize(half), (width // 4, height // 4))
    pixels = np.asarray(picture)
    clear = picture.copy()
    clear.putalpha(picture.getchannel("R"))
    profile = color_profile(b"RGB ", 2.2)

    def saved(file_format: str, **options: object) -> Callable[[Path], None]:
        return lambda path: picture.save(path, file_format, **options)

    turned = Image.Exif()
    turned[0x0112] = 6
    ways: dict[str, Callable[[Path], object]] = {
        "JPEG": saved("JPEG", exif=turned),
        "JPEG, progressive": saved("JPEG", progressive=True),
        "JPEG, colour profile": saved("JPEG", icc_profile=profile),
        "JPEG, CMYK": lambda path: picture.convert("CMYK").save(path, "JPEG"),
        "PNG": saved("PNG", compress_level=1),
        "PNG, alpha, colour profile": lambda path: clear.save(
            path, "PNG", compress_level=1, icc_profile=profile
        ),
        "PNG, 16 bits": lambda path: path.write_bytes(encode_16_bits(".png", pixels * np.uint16(256))),
        "WebP": saved("WEBP", method=0),
        "WebP, alpha": lambda path: clear.save(path, "WEBP", method=0),
        "AVIF": saved("AVIF", speed=10, quality=60),
        "HEIC": lambda path: pillow_heif.from_pillow(picture).save(path, quality=50),
        "GIF": saved("GIF", interlace=1),
        "BMP": lambda path: picture.resize((8_000, 8_000)).save(path, "BMP"),  # more would be over 200 MiB
        "TIFF": saved("TIFF", compression="tiff_lzw"),
    }
    if HAS_JXL:
        ways["JPEG XL"] = saved("JXL", effort=3)
    return ways


if __name__ == "__main__":
    sys.exit(main())
