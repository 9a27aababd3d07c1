"""How work that takes a while says how far it is."""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[str, int, int], object]
"""Called with what is being done, in words, how much of that is done, and how much of it there is.
What it returns is not looked at."""


def within(progress: Progress, first: float, last: float) -> Progress:
    """What a part of some work reports to, so that the whole goes from 0 to 100 once.

    Args:
        progress: Of the whole.
        first: Percent of the whole that is done when the part begins.
        last: Percent that is done when it ends.

    Returns:
        For the part.
    """

    def advance(what: str, done: int, total: int) -> None:
        progress(what, round(first + (last - first) * done / max(total, 1)), 100)

    return advance
