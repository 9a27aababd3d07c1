"""`python -m agegender models`: which models there are, and how good they are."""

from __future__ import annotations

from typing import Any

from agegender.commands import OK, prepare_outputs, say, write_json
from agegender.models.registry import describe_models


def run(*, json: str | None) -> int:
    """Lists the models.

    Args:
        json: A file, "-" for standard output, or ``None`` for a table in words.

    Returns:
        0.

    Raises:
        ConfigError: The file cannot be written.
    """
    prepare_outputs({"--json": json})
    models = describe_models()
    if json is not None:
        write_json(models, json)
        return OK
    header = ("model", "tasks", "parameters", "MB", "input", "trained", "age MAE", "gender")
    rows = [header, *(_row(model) for model in models)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(header))]
    for row in rows:
        say("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    say("* is the default. Age MAE in years and gender accuracy: on the test split, from the model's card.")
    return OK


def _row(model: dict[str, Any]) -> tuple[str, ...]:
    metrics = model.get("metrics") or {}
    mae = (metrics.get("age") or {}).get("mae")
    accuracy = (metrics.get("gender") or {}).get("accuracy")
    return (
        model["name"] + (" *" if model.get("default") else ""),
        ", ".join(model["tasks"]),
        _cell(model.get("parameters"), ","),
        _cell(model.get("megabytes"), ".1f"),
        "×".join(str(side) for side in model.get("input") or ()) or "-",
        "yes" if model.get("trained") else "no",
        _cell(mae, ".2f"),
        _cell(accuracy, ".1%"),
    )


def _cell(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form).replace("%", " %")
