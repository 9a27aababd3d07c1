"""Measures the largest accepted picture in every format: seconds and memory to read it.

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

from agegender.images import MAX_PIXELS, read_image
from tools.fuzz.seeds import HAS_JXL, encode_16_bits
from tools.records import write_record

SIZE = (12_000, 10_000)


def main() -> int:
    """Makes the pictures one after another and has each read."""
    parser = argparse.ArgumentParser(prog="python -m tools.fuzz.limits", description=__doc__)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--read", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.read is not None:
        began = time.process_time()
        image = read_image(options.read)
        seconds = time.process_time() - began
        print(json.dumps({"pixels": image.size // 3, "seconds": seconds, "peak_memory_mb": peak_memory_mb()}))
        return 0
    formats: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, write in kinds().items():
            path = Path(folder, "picture")
            write(path)
            command = [sys.executable, "-m", "tools.fuzz.limits", "--read", str(path)]
            found = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
            formats[name] = {"file_mb": path.stat().st_size / 1e6, **found}
            print(name, formats[name], file=sys.stderr)
    for figures in formats.values():
        figures.update({key: round(figures[key], 1) for key in ("file_mb", "seconds")})
    write_record({"size": SIZE, "accepted_pixels": MAX_PIXELS, "formats": formats}, options.json)
    return 0


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

    def saved(file_format: str, **options: object) -> Callable[[Path], None]:
        return lambda path: picture.save(path, file_format, **options)

    turned = Image.Exif()
    turned[0x0112] = 6
    ways: dict[str, Callable[[Path], object]] = {
        "JPEG": saved("JPEG", exif=turned),
        "JPEG, progressive": saved("JPEG", progressive=True),
        "PNG": saved("PNG", compress_level=1),
        "PNG, 16 bits": lambda path: path.write_bytes(encode_16_bits(".png", pixels * np.uint16(256))),
        "WebP": saved("WEBP", method=0),
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
