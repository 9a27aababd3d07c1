"""`python -m agegender card`: a model's card for people."""

from __future__ import annotations

import sys

from agegender.commands import OK, SOME_FAILED, complain, prepare_outputs, progress_bars
from agegender.export import write_atomically
from agegender.models.card import find_model, read_card
from agegender.models.registry import DEFAULT_MODEL
from agegender.reports.card import card_markdown


def run(name: str | None, *, output: str | None, data: list[str] | None) -> int:
    """Renders a model's card as Markdown.

    Returns:
        0, or 1 where the split is another one, which is then said on standard error.

    Raises:
        WeightsNotFoundError: There is no such card.
        ConfigError: The model has no record of its split, or the output cannot be written.
        DatasetError: The folder is missing or holds no labelled chip.
    """
    prepare_outputs({"--output": output})
    name = name or DEFAULT_MODEL
    text = card_markdown(read_card(name))
    same = data is None or _same_split(name, data)
    if output is not None:
        write_atomically(output, text)
    else:
        sys.stdout.write(text)
        sys.stdout.flush()
    return OK if same else SOME_FAILED


def _same_split(name: str, data: list[str]) -> bool:
    # Here: a card alone needs none of what these need.
    from agegender.data.duplicates import fingerprint
    from agegender.data.split import assign_splits
    from agegender.data.split_file import check_split
    from agegender.data.table import read_dataset
    from agegender.models.card import SPLIT_FILE

    dataset = read_dataset(data)
    with progress_bars("file") as progress:
        prints = fingerprint(dataset, progress=progress)
    check = check_split(find_model(name) / SPLIT_FILE, prints.digests, assign_splits(dataset, prints=prints))
    complain(f"split of {', '.join(data)}: {check.in_words()}")
    return check.same
