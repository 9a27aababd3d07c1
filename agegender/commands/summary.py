"""`python -m agegender summary`: how many people of which age and gender many photos show."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from agegender.commands import OK, complain, prepare_outputs, progress_bars, say, text_table, write_json
from agegender.files import is_url, printable
from agegender.summary import UNKNOWN_MONTH, summarize
from agegender.wording import ABSENT, say_count

SHOWN: Final = 20
"""Folders, and months, in words: those with the most faces; `--json` has all."""


def run(source: str, *, json: str | None) -> int:
    """Summarizes what ``predict --parquet`` or ``predict --json`` wrote.

    Args:
        source: The folder, here or at a URL, a part of it, or the JSON file.
        json: A file, "-" for standard output, or ``None`` for tables in words.

    Returns:
        0.

    Raises:
        ConfigError: The source is neither, or the JSON cannot be written.
    """
    prepare_outputs({"--json": json}, inputs=[] if is_url(source) else [Path(source)])
    with progress_bars("group") as progress:
        summary = summarize(source, progress)
    if json is not None:
        write_json(summary, json)
    else:
        for line in _lines(summary):
            say(line)
    if not summary["corrected"]:
        complain(f"not corrected for the errors of {summary['model']}: {summary['not_corrected']}")
    return OK


def _lines(summary: Mapping[str, Any]) -> Iterator[str]:
    every = summary["all"]
    yield f"photos: {summary['photos']:,}, faces: {summary['faces']:,}, failed: {summary['errors']:,}"
    if every["cannot_tell"]:
        yield f"gender left open: {every['cannot_tell']:,}; counted as the likelier"
    yield ""
    cells = every["by_age_and_gender"]
    rows = [["age", "male", "female", "both"]]
    rows += [
        [band["age"], *(say_count(cell) for cell in cells if cell["age"] == band["age"]), say_count(band)]
        for band in every["by_age"]
    ]
    rows.append(["all", *(say_count(gender) for gender in every["by_gender"]), f"{every['faces']:,}"])
    yield from text_table(rows)
    for what, groups in (("folder", summary["by_folder"]), ("month", summary["by_month"])):
        if len(groups) > 1 or (what == "month" and UNKNOWN_MONTH not in groups):
            yield ""
            yield from text_table(_group_rows(what, groups))
    yield ""
    if summary["corrected"]:
        yield (
            f"So many were answered so → so many there may be, from what the card of {summary['model']} says "
            "of its errors (95 % interval)."
        )
    yield "How faces look to a model, not what people are; a face in two photos counts twice."


def _group_rows(what: str, groups: Mapping[str, Any]) -> Sequence[Sequence[str]]:
    largest = sorted(groups, key=lambda name: -groups[name]["faces"])[:SHOWN]
    rows = [[what, "photos", "faces", "male", "female"]]
    for name in sorted(largest):
        group = groups[name]
        counts = [f"{group['photos']:,}", f"{group['faces']:,}"]
        rows.append([printable(name), *counts, *(say_count(gender) for gender in group["by_gender"])])
    if len(groups) > SHOWN:
        rows.append([f"and {len(groups) - SHOWN:,} more", *[ABSENT] * 4])
    return rows
