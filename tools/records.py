"""What a measurement leaves: the JSON that documents quote, and that whoever runs the command sees."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from agegender.commands.bench import describe_machine, describe_versions
from agegender.export import to_json, write_atomically


def write_record(record: dict[str, Any], path: Path | None) -> None:
    """Prints a record, with what it was measured on and with, and writes it to a file where one is named."""
    text = to_json({"machine": describe_machine(), "versions": describe_versions(), **record})
    print(text, end="")
    if path is not None:
        write_atomically(path, text)
