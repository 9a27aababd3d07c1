"""Writes the figures of docs/scale.md from what `tools.bench_bulk` and `tools.prove_bulk` measured.

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
PROVEN = ROOT / "docs" / "measurements" / "bulk-engines.json"
PAGE = ROOT / "docs" / "scale.md"
BEGIN = "<!-- figures: written by python -m tools.write_scale_page; do not edit by hand -->\n"
END = "<!-- end of figures -->\n"
PRICE = 0.04
SIZES = (1_000_000, 100_000_000)
CORES = (16, 64, 1024)


def figures(measured: dict[str, Any], proven: dict[str, Any] | None, price: float) -> str:
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
        rates = ", ".join(f"{run['photos_a_second_then']:g} with {run['workers']}" for run in measured["ray"])
        start = measured["ray"][0]["seconds_to_first_part"]
        lines.append(
            "Through Ray on the same machine, by workers of one core each, photos a second once the first "
            f"part is there: {rates}. That part comes after {start:g} s, with one."
        )
    if proven is not None:
        lines.append(proof(proven))
    lines.append(
        f"**Extrapolated** from these {cpu:g} ms, not measured, for such photos, at a price of {price:g} "
        "for a core and hour, as if all cores were as fast and storage never waited for:"
    )
    table = ["| photos | core-hours | price | " + " | ".join(f"{n:,} cores" for n in CORES) + " |"]
    table.append("|---:" * (3 + len(CORES)) + "|")
    for size in SIZES:
        hours = size * cpu / 3.6e6
        spans = " | ".join(_span(hours / n) for n in CORES)
        table.append(f"| {size:,} | {hours:,.0f} | {hours * price:,.0f} | {spans} |")
    return "\n\n".join([*lines, "\n".join(table)]) + "\n"


def proof(proven: dict[str, Any]) -> str:
    """What came of killing both engines in between."""
    rows, engines = proven["rows"], proven["engines"]
    off = rows["largest_difference"]
    missing, twice = (sum(rows[what].values()) for what in ("missing", "twice"))
    killed = " and ".join(f"{engines[name]['killed_after_photos']:,}" for name in ("local", "ray"))
    memory = "; ".join(
        f"{what} {values[1]:.0f} MB in the second tenth of the time, {values[-2]:.0f} MB in the last but one"
        for what, values in (
            ("the local process", engines["local"]["memory_mb"]["started"]),
            ("Ray's driver", engines["ray"]["memory_mb"]["started"]),
            ("its workers", engines["ray"]["memory_mb"]["workers"]),
        )
    )
    return (
        f"{rows['photos']:,} photos of {proven['photo_width']} pixels with {rows['faces']:,} faces, "
        f"{rows['errors']:,} of them broken, went through the local engine and through Ray, each ended by "
        f"`kill -9` (after {killed} photos) and started again: {missing:,} photos are missing, "
        f"{twice:,} are there twice, and of {rows['rows']:,} rows "
        f"{rows['rows_that_differ_otherwise']:,} differ in words; ages differ by up to {off['age']:g} years "
        f"and probabilities by up to {off['gender_probability']:g} (`python -m tools.prove_bulk`). "
        f"Memory after that start: {memory}."
    )


def _span(hours: float) -> str:
    return f"{hours:,.0f} h" if hours > 3 else f"{60 * hours:,.0f} min"


def written(page: str, measured: dict[str, Any], proven: dict[str, Any] | None, price: float) -> str:
    """The page with these figures in it."""
    before, rest = page.split(BEGIN)
    after = rest.split(END)[1]
    return before + BEGIN + "\n" + figures(measured, proven, price) + "\n" + END + after


def read_records() -> tuple[dict[str, Any], dict[str, Any] | None]:
    """What was measured, and what `tools.prove_bulk` found, where that was run."""
    measured = json.loads(MEASURED.read_text(encoding="utf-8"))
    return measured, json.loads(PROVEN.read_text(encoding="utf-8")) if PROVEN.exists() else None


def main() -> int:
    """Writes the page."""
    parser = argparse.ArgumentParser(prog="python -m tools.write_scale_page", description=__doc__)
    parser.add_argument("--price", type=float, default=PRICE)
    options = parser.parse_args()
    measured, proven = read_records()
    page = written(PAGE.read_text(encoding="utf-8"), measured, proven, options.price)
    PAGE.write_text(page, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
