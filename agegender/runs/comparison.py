"""Recipes side by side: what differs between runs, line by line. Imports no TensorFlow."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import pandas as pd

ABSENT: Final = "—"
"""Stands where a run does not have a setting."""


def compare_configs(
    configs: Mapping[str, Mapping[str, Any]], *, only_differences: bool = True
) -> pd.DataFrame:
    """Lays recipes side by side.

    Args:
        configs: Each run's name and its recipe as JSON gives it.
        only_differences: Whether lines that are the same in every run are left out.

    Returns:
        One row a setting, in the order of the recipes: the column ``setting``, then one for each run, all
        text. Nested keys are dotted, and the members of a list go by their name where they have one:
        "stages.finetune.epochs". `ABSENT` stands where a run does not have the setting.
    """
    lines = {run: flatten(config) for run, config in configs.items()}
    settings = dict.fromkeys(key for flat in lines.values() for key in flat)
    rows = {key: [flat.get(key, ABSENT) for flat in lines.values()] for key in settings}
    kept = {key: row for key, row in rows.items() if not only_differences or len(set(row)) > 1}
    table = pd.DataFrame.from_dict(kept, orient="index", columns=list(lines), dtype=str)
    return table.rename_axis("setting").reset_index()


def flatten(config: Mapping[str, Any]) -> dict[str, str]:
    """Turns a nested recipe into lines of text by dotted key; see `compare_configs`."""
    lines: dict[str, str] = {}
    for key, value in config.items():
        members = _members(value)
        if members is None:
            lines[str(key)] = _say(value)
        else:
            lines |= {f"{key}.{inner}": text for inner, text in flatten(members).items()}
    return lines


def _members(value: Any) -> Mapping[str, Any] | None:
    """What a value holds by name, or ``None`` where it is a line of its own."""
    if isinstance(value, Mapping):
        return value or None
    if not (isinstance(value, list) and value and all(isinstance(member, Mapping) for member in value)):
        return None
    return {
        str(member.get("name", number)): {key: inner for key, inner in member.items() if key != "name"}
        for number, member in enumerate(value, start=1)
    }


def _say(value: Any) -> str:
    if value is None or value in ({}, []):
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.6g}"  # 0.075, where JSON may say 0.07500000000000001
    if isinstance(value, list):
        return ", ".join(_say(member) for member in value)
    return str(value)
