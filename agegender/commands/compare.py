"""`python -m agegender compare`: every model side by side, with rivals and published figures beside them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from agegender.commands import OK, prepare_outputs, say, text_table, write_json
from agegender.reports.comparison import compare_models, measured_entries
from agegender.wording import ABSENT, say_duration, say_figure

_HEADER: Final = (
    "model",
    "age MAE",
    "within 5",
    "gender",
    "parameters",
    "MB",
    "ms a face",
    "training",
)


def run(*, json: str | None) -> int:
    """Compares the models by their cards.

    Returns:
        0.

    Raises:
        ModelError: A card or the record of rivals is damaged.
        ConfigError: The file cannot be written.
    """
    prepare_outputs({"--json": json})
    comparison = compare_models()
    if json is not None:
        write_json(comparison, json)
        return OK
    for block in (_measured(comparison), _published(comparison), _untrained(comparison)):
        for line in block:
            say(line)
    return OK


def _measured(comparison: Mapping[str, Any]) -> Iterable[str]:
    entries = measured_entries(comparison)
    if not entries:
        return
    if comparison["n"]:
        yield f"Measured here, on the {comparison['n']:,} chips of the {comparison['split']} split:"
    yield from text_table([_HEADER, *(_row(entry) for entry in entries)])
    yield (
        "* is the default. MAE in years; in brackets, 95 % intervals over the test photos. Within 5: answers "
        "at most five years off."
    )
    if any(entry["same_split"] is False for entry in entries):
        yield "! was measured on another split: not to be compared with the others."
    yield ""


def _row(entry: Mapping[str, Any]) -> tuple[str, ...]:
    seconds = (entry.get("training") or {}).get("seconds")
    marks = " *" * bool(entry.get("default")) + " !" * (entry["same_split"] is False)
    return (
        (entry["name"] if entry["kind"] == "measured" else f"rival: {entry['name']}") + marks,
        say_figure(entry["mae"], ".2f", entry.get("mae_interval")),
        say_figure(entry["cs5"], ".1%"),
        say_figure(entry["gender_accuracy"], ".1%", entry.get("gender_accuracy_interval")),
        say_figure(entry.get("parameters"), ","),
        say_figure(entry["megabytes"], ".1f"),
        say_figure(entry["ms_per_face"], ".1f"),
        ABSENT if seconds is None else say_duration(seconds),
    )


def _published(comparison: Mapping[str, Any]) -> Iterable[str]:
    header = (
        "published, in their words, on other splits",
        "age MAE",
        "gender",
        "against",
        "ours minus theirs",
    )
    rows = []
    for entry in comparison["published"]:
        score = None if entry["score"] is None else f"{entry['score']:g} (a leaderboard's score)"
        gender = entry["gender_accuracy_words"] or say_figure(entry["gender_accuracy"], ".1%")
        rows.append(
            (
                entry["name"],
                score or say_figure(entry["mae"], ".2f"),
                gender,
                entry["against"],
                _difference(**entry["difference"]),
            )
        )
    yield from text_table([header, *rows])
    yield ""


def _difference(mae: float | None, gender_accuracy: float | None) -> str:
    years = None if mae is None else f"{mae:+.2f} years"
    points = None if gender_accuracy is None else f"{100 * gender_accuracy:+.1f} points"
    return ", ".join(filter(None, (years, points))) or ABSENT


def _untrained(comparison: Mapping[str, Any]) -> Iterable[str]:
    for entry in comparison["models"]:
        if not entry["trained"]:
            yield f"{entry['name']} is not trained yet. To train it:"
            yield from (f"    {command}" for command in entry["how_to_train"])
