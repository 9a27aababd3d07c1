"""docs/data.md: what an audit of all sources found in them."""

from __future__ import annotations

from typing import Any

from agegender.data.duplicates import NEAR_DUPLICATE_BITS
from agegender.reports.markdown import table, wrap

Figures = dict[str, Any]


def section(audit: Figures, by_eye: Figures) -> str:
    """Writes what was measured of several sources.

    Args:
        audit: What `python -m agegender audit --no-model --json` wrote of more than one source.
        by_eye: Counts of a look at pairs of files.

    Returns:
        Markdown.
    """
    parts = ("train", "validation", "test", "dev")
    rows = [
        (
            name,
            f"{figures['files']:,}",
            f"{figures['ranges']:,}",
            *(f"{figures['split'].get(part, 0):,}" for part in parts),
            f"{figures['no_face']:,}",
            f"{figures['leaked']:,}",
        )
        for name, figures in audit["sources"].items()
    ]
    header = ("source", "faces", "by range", *parts, "no face found", "left out")
    conflicts, run = audit["conflicts"], audit["run"]
    near, far = (by_eye["across_sources_by_bits"][bits] for bits in (f"0-{NEAR_DUPLICATE_BITS}", "25-28"))
    within = by_eye["within_a_source_found_by_faces_only_up_to_24_bits"]
    paragraphs = (
        f"Of {audit['labelled']:,} faces, {audit['duplicates']['photos']:,} photos are there more than once, "
        f"{audit['photos_in_several_sources']:,} of them in two sources. {audit['leaked']:,} files are left "
        "out because their photo is used for something later. Splits are counted before that, and before "
        "pictures without a face are left out.",
        f"By eye, all {near['same_photo']} pairs of files of two sources whose faces are at most "
        f"{NEAR_DUPLICATE_BITS} of 256 bits apart are one photo, and {far['same_photo']} of {far['shown']} "
        f"from 25 to 28 bits. Within a source, {within['same_photo']} of {within['shown']} pairs that only "
        "the faces show to be near are one photo.",
        f"Of {conflicts['identical_range_pairs']} pairs of identical files labelled with ranges "
        f"{conflicts['identical_range_differs']} disagree about the range: not everybody sees the same.",
        f"That took {run['cpu_seconds'] / 60:.0f} minutes of processor time, faces known before.",
    )
    return "\n\n".join((table(header, rows), *map(wrap, paragraphs))) + "\n"
