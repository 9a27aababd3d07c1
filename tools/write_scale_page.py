"""Writes the figures of docs/scale.md from what `tools.bench_bulk` measured.

    python -m tools.write_scale_page --price 0.04

The price is that of one core for one hour, in whatever currency; it is an input, not a measurement.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
MEASURED = ROOT / "docs" / "measurements" / "bulk.json"
PAGE = ROOT / "docs" / "scale.md"
BEGIN = "<!-- figures: written by python -m tools.write_scale_page; do not edit by hand -->\n"
END = "<!-- end of figures -->\n"
PRICE = 0.04
SIZES = (1_000_000, 100_000_000)
CORES = (16, 64, 1024)


def figures(measured: dict[str, Any], price: float) -> str:
    """The figures in words and as a table."""
    local = measured["local"]
    cpu = local["cpu_ms_a_photo"]["local"]
    memory = local["memory_mb"]
    every = local["photos"] // local["turns"]
    lines = [
        f"Measured on {local['photos']:,} photos of {measured['photo_width']} pixels with "
        f"{local['faces'] / local['photos']:.1f} faces each, on {measured['cores']} cores of a machine that "
        f"did other things, too (load {measured['load_before']:g}): {cpu:g} ms of one core a photo, "
        f"{100 * local['overhead']:+.1f} % beside `Predictor.predict` alone, which writes nothing. It "
        f"held {memory['first_turn']:.0f} MB after the first {every} photos and {memory['last_turn']:.0f} MB "
        "after the last."
    ]
    if measured["ray"] is not None:
        ray = measured["ray"]
        lines.append(
            f"Through Ray on the same machine: {ray['seconds_to_first_part']:g} s to the first part, "
            f"which is the cluster's start, then {ray['photos_a_second_then']:g} photos a second."
        )
    lines.append(
        f"**Extrapolated** from these {cpu:g} ms, not measured, for such photos, at a price of {price:g} "
        "for a core and hour, as if all cores were as fast and storage never waited for:"
    )
    table = ["| photos | core-hours | price | " + " | ".join(f"{n:,} cores" for n in CORES) + " |"]
    table.append("|---:" * (3 + len(CORES)) + "|")
    for size in SIZES:
        hours = size * cpu / 3.6e6
        spans = " | ".join(f"{hours / n:,.1f} h" for n in CORES)
        table.append(f"| {size:,} | {hours:,.0f} | {hours * price:,.0f} | {spans} |")
    return "\n\n".join([*lines, "\n".join(table)]) + "\n"


def written(page: str, measured: dict[str, Any], price: float) -> str:
    """The page with these figures in it."""
    before, rest = page.split(BEGIN)
    after = rest.split(END)[1]
    return before + BEGIN + "\n" + figures(measured, price) + "\n" + END + after


def main() -> int:
    """Writes the page."""
    parser = argparse.ArgumentParser(prog="python -m tools.write_scale_page", description=__doc__)
    parser.add_argument("--price", type=float, default=PRICE)
    options = parser.parse_args()
    measured = json.loads(MEASURED.read_text(encoding="utf-8"))
    PAGE.write_text(written(PAGE.read_text(encoding="utf-8"), measured, options.price), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
