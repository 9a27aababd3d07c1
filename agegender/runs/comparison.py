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
    lines = {
        run: {key: _say(value) for key, value in flatten(config).items()} for run, config in configs.items()
    }
    settings = dict.fromkeys(key for flat in lines.values() for key in flat)
    rows = {key: [flat.get(key, ABSENT) for flat in lines.values()] for key in settings}
    kept = {key: row for key, row in rows.items() if not only_differences or len(set(row)) > 1}
    table = pd.DataFrame.from_dict(kept, orient="index", columns=list(lines), dtype=str)
    return table.rename_axis("setting").reset_index()


def flatten(config: Mapping[str, Any]) -> dict[str, Any]:
    """Turns a nested recipe into one level.

    Args:
        config: As JSON gives it.

    Returns:
        Values by dotted key: ``options.dropout``. An object in a list goes by its ``name`` or else its place,
        counted from 1: ``stages.head.epochs``. Other lists, and empty objects, stay as they are.
    """
    flat: dict[str, Any] = {}
    for key, value in config.items():
        members = _members(value)
        if members is None:
            flat[str(key)] = value
        else:
            flat |= {f"{key}.{inner}": found for inner, found in flatten(members).items()}
    return flat


def _members(value: Any) -> Mapping[str, Any] | None:
    """What a value holds by name, or ``None`` where it stays as it is."""
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
