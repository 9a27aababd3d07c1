"""Markdown as the reports write it: tables and paragraphs of lines that a terminal holds."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence
from typing import Final

LINE: Final = 110


def table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table, in lines."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(str(cell) for cell in cells)} |" for cells in lines)


def wrap(text: str, first: str = "", rest: str = "") -> str:
    """A paragraph in lines of at most `LINE` characters.

    Args:
        text: Words, with whatever white space between them.
        first: What the first line begins with.
        rest: What the others begin with.

    Returns:
        The lines, joined.
    """
    return textwrap.fill(
        " ".join(text.split()),
        LINE,
        initial_indent=first,
        subsequent_indent=rest,
        break_long_words=False,
        break_on_hyphens=False,
    )
