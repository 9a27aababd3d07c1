"""`python -m agegender models`: which models there are, and how good they are."""

from __future__ import annotations

from typing import Any, Final

from agegender.commands import OK, prepare_outputs, say, text_table, write_json
from agegender.models.registry import list_models
from agegender.places import WEIGHTS_VARIABLE
from agegender.wording import ABSENT, say_figure

NOT_HERE: Final = "not here"


def run(*, json: str | None) -> int:
    """Lists the models.

    Returns:
        0.

    Raises:
        ConfigError: The file cannot be written.
    """
    prepare_outputs({"--json": json})
    models = list_models()
    if json is not None:
        write_json(models, json)
        return OK
    header = ("model", "tasks", "parameters", "MB", "input", "engine", "age MAE", "gender")
    rows = [header, *(_row(model) for model in models)]
    for line in text_table(rows):
        say(line)
    say("* is the default. Age MAE in years and gender accuracy: on the test split, from the model's card.")
    say("The engine is what answers: LiteRT starts at once, Keras takes seconds to import TensorFlow.")
    if any(row[-3] == NOT_HERE for row in rows):
        say(f"What is {NOT_HERE} can be trained; or name a folder that holds it in {WEIGHTS_VARIABLE}.")
    return OK


def _row(model: dict[str, Any]) -> tuple[str, ...]:
    metrics = model.get("metrics") or {}
    mae = (metrics.get("age") or {}).get("mae")
    accuracy = (metrics.get("gender") or {}).get("accuracy")
    return (
        model["name"] + (" *" if model.get("default") else ""),
        ", ".join(model["tasks"]),
        say_figure(model.get("parameters"), ","),
        say_figure(model.get("megabytes"), ".1f"),
        "×".join(str(side) for side in model.get("input") or ()) or ABSENT,
        model.get("engine") or NOT_HERE,
        say_figure(mae, ".2f"),
        say_figure(accuracy, ".1%"),
    )
