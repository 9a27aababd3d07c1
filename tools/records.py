"""What a measurement leaves: the JSON that documents quote, and that whoever runs the command sees."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from agegender.export import to_json, write_atomically


def write_record(record: dict[str, Any], path: Path | None) -> None:
    """Prints a record, and writes it to a file where one is named."""
    text = to_json(record)
    print(text, end="")
    if path is not None:
        write_atomically(path, text)
