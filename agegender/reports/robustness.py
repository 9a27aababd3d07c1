"""docs/robustness.md: what was tried to break the package, and what came of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from agegender.faces.condition import CONDITION_WARNINGS
from agegender.reports.markdown import table, wrap

Figures = Mapping[str, Any]


def report(fuzz: Figures, limits: Figures, conditions: Figures) -> str:
    """Writes the report as Markdown.

    Args:
        fuzz: What `python -m tools.fuzz --json` wrote.
        limits: What `python -m tools.fuzz.limits --json` wrote.
        conditions: What `python -m tools.once.measure_conditions --json` wrote.

    Returns:
        The text.
    """
    sections = (_opening(), _hostile(fuzz), _limits(limits), _conditions(conditions))
    return "\n\n".join(sections) + "\n"


def _opening() -> str:
    return "# What was tried to break it\n\n<!-- written by python -m agegender.reports; do not edit -->"


def _hostile(fuzz: Figures) -> str:
    bounds, faults = fuzz["bounds"], fuzz["faults"]
    words = wrap(
        f"""{fuzz["inputs"]:,} damaged files were given to everything that reads one: good files of every
        format and feature with wrong lengths, sizes and types in their headers, cut, spliced, joined with
        others, and documents with values of other kinds, nested too deep or of numbers without end. Each has
        to be read or refused with a typed error, and a file of under {bounds["file_bytes"] / 1e6:g} MB that
        states at most {bounds["stated_pixels"] / 1e6:g} megapixels within {bounds["seconds"]:g} seconds and
        1 GB."""
    )
    rows = [
        (
            name,
            f"{figures['inputs']:,}",
            f"{figures.get('accepted', 0):,}",
            f"{figures.get('refused', 0):,}",
            f"{figures.get('faults', 0):,}",
            f"{figures['slowest_seconds']:.2f}",
        )
        for name, figures in sorted(fuzz["targets"].items(), key=lambda item: -item[1]["inputs"])
    ]
    header = ("files", "tried", "read", "refused", "faults", "slowest, seconds")
    memory = wrap(
        f"""Seconds are the processor's. No process that read {fuzz["shard"]:,} of them, one after another,
        held more than {fuzz["peak_memory_mb"]:,} MB. Faults: {len(faults) or "none"}. Again, or further:
        `python -m tools.fuzz --inputs N --folder DIR`; it goes on where it stopped. The gate tries 5,000
        each time, and every file that was a fault once (`tests/regressions`)."""
    )
    return f"## Hostile files\n\n{words}\n\n{table(header, rows)}\n\n{memory}"


def _limits(limits: Figures) -> str:
    words = wrap(
        f"""Beyond these bounds up to {limits["accepted_pixels"] / 1e6:g} megapixels are accepted. So much
        took a picture of that size (BMP: of the 200 MiB that a file may have) in each format, read in a
        process of its own. Pictures of over 30 megapixels are decoded one at a time, however many threads
        read."""
    )
    rows = [
        (
            name,
            f"{figures['pixels'] / 1e6:.0f}",
            f"{figures['file_mb']:.1f}",
            f"{figures['seconds']:.1f}",
            f"{figures['peak_memory_mb']:,}",
        )
        for name, figures in limits["formats"].items()
    ]
    return f"## The largest pictures\n\n{words}\n\n" + table(
        ("format", "megapixels", "file, MB", "seconds", "peak memory, MB"), rows
    )


def _conditions(conditions: Figures) -> str:
    words = wrap(
        """Faces that can hardly be seen, or are none, still get an answer, with a warning. How many of the
        chips of each kind are warned about:"""
    )
    rows = [
        (name, f"{figures['n']:,}", *(f"{100 * figures[word]:.1f} %" for word in CONDITION_WARNINGS))
        for name, figures in conditions.items()
    ]
    header = ("chips", "tried", *CONDITION_WARNINGS)
    return f"## Faces that cannot be judged\n\n{words}\n\n{table(header, rows)}"
