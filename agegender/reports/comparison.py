"""Every model, rival and published figure in one table, from cards and records. Imports no TensorFlow.

What is *measured* was measured here, on the test split. A *rival* is somebody else's network measured here on
the same chips. A *published* figure is somebody's own words on a split of their own: it is shown beside the
others, and never mixed with them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from agegender.assets import RIVALS
from agegender.errors import ModelError
from agegender.files import MALFORMED
from agegender.labels import AGE_BAND_NAMES
from agegender.models.card import read_card, read_test_files
from agegender.models.registry import MODELS, list_models, model_spec
from agegender.reports.others import (
    published_figures,
    read_rivals,
    zero_shot,
)
from agegender.reports.set_figures import group_figures, interval_of, set_figures
from agegender.runs.how_to_train import training_commands

if TYPE_CHECKING:
    import pandas as pd

Entry = dict[str, Any]

_DECIMALS: Final = 4
_HEADLINES: Final = ("mae", "cs5", "gender_accuracy")
_LEADERBOARD_COLUMNS: Final = (
    *("name", "kind", "title", "same_split"),
    *(f"{figure}{end}" for figure in _HEADLINES for end in ("", "_low", "_high")),
    *("parameters", "megabytes", "ms_per_face", "training_seconds"),
)


def compare_models(weights_dir: Path | None = None, *, rivals_file: Path = RIVALS) -> dict[str, Any]:
    """Lays all models side by side, and rivals and published figures beside them.

    Args:
        weights_dir: Where the models' cards are.
        rivals_file: The record of rivals; where there is none, they are left out.

    Returns:
        JSON-ready. Ages and errors are in years, shares and accuracies 0 to 1, intervals ``[low, high]``;
        what a card does not have is ``None``, or empty where it is a table. Keys:

        - ``split``, ``split_hash``, ``n``: the chips that the default model was measured on;
          ``confidence``: of the bootstrap intervals.
        - ``baseline``: ``age`` and ``gender`` to say of everybody, and the ``mae``, ``cs5`` and
          ``gender_accuracy`` of doing so; ``None`` without a card that has them.
        - ``models``: one entry a model, the default first, ``kind`` "measured": ``name``, ``title``,
          ``system``, ``default``, ``tasks``, ``trained``, ``how_to_train`` (commands), ``input``,
          ``parameters``, ``megabytes`` (1e6 bytes; a file that two networks share counts once),
          ``ms_per_face``, ``same_split``, ``n``, ``mae``, ``mae_interval``, ``cs5``, ``cs5_interval``,
          ``bias``, ``interval_coverage``, ``interval_width``, ``gender_accuracy``,
          ``gender_accuracy_interval``, ``auc``, ``ece``, ``adults`` (as a group, of ages 21 to 60),
          ``by_band``, ``by_gender`` and ``by_ethnicity`` (of each group: ``n``, ``mae``,
          ``gender_accuracy`` and their intervals), ``ranges`` (``accuracy``, ``within_one``,
          ``own_answer``, ``confusion``), ``reliability``, ``corruptions`` (``mae_ratio``,
          ``gender_points_lost``), ``through_detection``, ``sets`` (by source, see
          `agegender.reports.set_figures`), ``training`` (``seconds``, ``hardware``, ``runs``), ``base``,
          ``teachers`` (models whose answers it learnt from, too), ``licence``.
        - ``rivals``: ``kind`` "rival": ``name``, ``version``, ``detector``, ``n``, ``no_face``,
          ``same_split``, ``mae``, ``cs5``, ``bias``, ``gender_accuracy``, ``by_band``, ``sets``,
          ``ms_per_face``, ``megabytes``, ``url``, ``licence``.
        - ``published``: ``kind`` "published": ``name``, ``mae``, ``gender_accuracy``,
          ``gender_accuracy_words``, ``score`` (a leaderboard's own measure), ``source``, ``split``,
          ``adults`` (whether it is of ages 21 to 60 alone), ``url``.

        Rivals and published figures also have ``against``, the model of ours they are held against, and
        ``difference``: ours minus theirs in ``mae`` and ``gender_accuracy``, on the same ages as theirs.

    Raises:
        ModelError: A card or the record of rivals is damaged.
    """
    try:
        return _compared(weights_dir, rivals_file)
    except MALFORMED as error:
        raise ModelError(f"a model's card is damaged: {error!r}") from error


def _compared(weights_dir: Path | None, rivals_file: Path) -> dict[str, Any]:
    models = [_model(row, weights_dir) for row in list_models(weights_dir)]
    trained = [entry for entry in models if entry["trained"]]
    reference = next((entry for entry in trained if entry["default"]), trained[0] if trained else None)
    card = read_card(reference["name"], weights_dir) if reference else {}
    split_hash = card.get("split", {}).get("hash")
    by_name = {entry["name"]: entry for entry in models}
    found = (*zero_shot(weights_dir), *read_rivals(rivals_file))
    rivals = {rival["name"]: rival for rival in found}  # the record knows more than the card
    # Models that learnt from other sources, too, have another split, and may have the same test files.
    alike = {split_hash}
    tested = {entry["split_hash"]: read_test_files(entry["name"], weights_dir) for entry in trained}
    alike |= {theirs for theirs, files in tested.items() if files and files == tested.get(split_hash)}
    for entry in (*models, *rivals.values()):
        theirs = entry.pop("split_hash")
        entry["same_split"] = None if None in (theirs, split_hash) else theirs in alike
    return {
        "split": card.get("metrics", {}).get("split"),
        "split_hash": split_hash,
        "n": card.get("metrics", {}).get("n"),
        "confidence": card.get("groups", {}).get("confidence"),
        "baseline": _baseline(card),
        "models": models,
        "rivals": [_held_against(rival, by_name) for rival in rivals.values()],
        "published": [_held_against(figure, by_name) for figure in published_figures()],
    }


def leaderboard(comparison: Mapping[str, Any]) -> pd.DataFrame:
    """The headline figures of what was measured here: trained models, then rivals.

    Args:
        comparison: As `compare_models` gives it.

    Returns:
        One row an entry, the best at age first within its kind: ``name``, ``kind``, ``title``,
        ``same_split``, and as float64, NaN where there is no such figure, ``mae`` (years), ``cs5`` and
        ``gender_accuracy`` (0 to 1), each with ``…_low`` and ``…_high``, ``parameters``, ``megabytes``,
        ``ms_per_face`` and ``training_seconds``.
    """
    import pandas as pd  # here: only the page of all models lays them out in a table

    rows = []
    for entry in measured_entries(comparison):
        row = {name: entry.get(name) for name in ("name", "kind", "title", "same_split")}
        for figure in _HEADLINES:
            low, high = entry.get(f"{figure}_interval") or (None, None)
            row |= {figure: entry.get(figure), f"{figure}_low": low, f"{figure}_high": high}
        row |= {name: entry.get(name) for name in ("parameters", "megabytes", "ms_per_face")}
        rows.append(row | {"training_seconds": (entry.get("training") or {}).get("seconds")})
    table = pd.DataFrame(rows, columns=_LEADERBOARD_COLUMNS)
    table = table.astype(dict.fromkeys(_LEADERBOARD_COLUMNS[4:], "float64"))
    return table.sort_values(["kind", "mae"], kind="stable", ignore_index=True)


def measured_entries(comparison: Mapping[str, Any]) -> list[Entry]:
    """What was measured here: the trained models in the comparison's order, then the rivals."""
    return [entry for entry in comparison["models"] if entry["trained"]] + list(comparison["rivals"])


def _model(row: Mapping[str, Any], weights_dir: Path | None) -> Entry:
    name, trained, system = row["name"], row["trained"], model_spec(row["name"], weights_dir).system
    card = read_card(name, weights_dir) if trained else {}
    metrics, groups = card.get("metrics", {}), card.get("groups", {})
    age, gender = metrics.get("age", {}), metrics.get("gender", {})
    overall = groups.get("overall", {})
    keys = ("name", "title", "default", "tasks", "trained", "input", "parameters")
    return {
        "kind": "measured",
        **{key: row[key] for key in keys},
        "system": system,
        "how_to_train": training_commands(name, system) if name in MODELS else [],
        "megabytes": row["megabytes"] if trained else None,
        "ms_per_face": metrics.get("ms_per_face"),
        "split_hash": card.get("split", {}).get("hash"),
        "n": metrics.get("n"),
        "mae": age.get("mae"),
        "mae_interval": interval_of(overall, "age", "mae"),
        "cs5": age.get("cs5"),
        "cs5_interval": interval_of(overall, "age", "cs5"),
        **{key: age.get(key) for key in ("bias", "interval_coverage", "interval_width")},
        "gender_accuracy": gender.get("accuracy"),
        "gender_accuracy_interval": interval_of(overall, "gender", "accuracy"),
        **{key: gender.get(key) for key in ("auc", "ece")},
        "adults": group_figures(groups.get("adults", {})),
        "by_band": _bands(age, gender, groups.get("by_age", {})),
        "by_gender": _groups(groups.get("by_gender", {})),
        "by_ethnicity": _groups(groups.get("by_ethnicity", {})),
        "ranges": age.get("ranges"),
        "reliability": gender.get("reliability", []),
        "corruptions": card.get("corruptions", {}).get("mean"),
        "through_detection": _through_detection(card.get("detect")),
        "sets": {source: set_figures(measured) for source, measured in card.get("sets", {}).items()},
        "training": _training(card),
        "base": card.get("base"),
        "teachers": _teachers(card),
        "licence": card.get("licence", {}).get("weights"),
    }


def _groups(members: Mapping[str, Any]) -> dict[str, Entry]:
    return {name: group_figures(figures) for name, figures in members.items()}


def _bands(age: Mapping[str, Any], gender: Mapping[str, Any], by_age: Mapping[str, Any]) -> dict[str, Entry]:
    """The nine bands, small ones too: figures as the metrics have them, intervals where there are any."""
    bands: dict[str, Entry] = {}
    for name in AGE_BAND_NAMES:
        ages, genders = (metrics.get("by_band", {}).get(name, {}) for metrics in (age, gender))
        if ages or genders:
            bands[name] = {
                **group_figures(by_age.get(name, {})),
                "n": (ages or genders).get("n"),
                "mae": ages.get("mae"),
                "gender_accuracy": genders.get("accuracy"),
            }
    return bands


def _through_detection(detect: Mapping[str, Any] | None) -> Entry | None:
    if not detect:
        return None
    return {
        "n": detect.get("n"),
        "no_face": detect.get("no_face"),
        "mae": detect.get("age", {}).get("mae"),
        "gender_accuracy": detect.get("gender", {}).get("accuracy"),
    }


def _training(card: Mapping[str, Any]) -> Entry | None:
    """Time and hardware of all runs a model came from; one that two networks went on from counts once."""
    records = card.get("training")
    if not records:
        return None
    runs: dict[str, Entry] = {}
    for network, last in records.items():
        for depth, record in enumerate(_chain(last)):
            found = record.get("validation", {})
            run = record.get("run") or f"{network}, {depth} before"
            runs[run] = {
                "run": run,
                "task": record.get("config", {}).get("task", network),
                "epochs": found.get("epochs"),
                "seconds": found.get("seconds"),
                "hardware": record.get("environment", {}).get("machine"),
            }
    seconds = [run["seconds"] for run in runs.values()]
    hardware = dict.fromkeys(run["hardware"] for run in runs.values() if run["hardware"])
    return {
        "seconds": None if None in seconds else round(sum(seconds), 1),
        "hardware": "; ".join(hardware) or None,
        "runs": list(runs.values()),
    }


def _teachers(card: Mapping[str, Any]) -> list[str]:
    """Models whose answers were mixed into the labels, of any run that a model came from."""
    chains = (run for last in card.get("training", {}).values() for run in _chain(last))
    found = {run.get("config", {}).get("teacher") for run in chains} | set(card.get("teachers") or ())
    return sorted(name for name in found if name)


def _chain(record: Mapping[str, Any] | None) -> Iterator[Mapping[str, Any]]:
    """A run's record, that of the run it went on from, and so on."""
    while record:
        yield record
        record = record.get("start")


def _baseline(card: Mapping[str, Any]) -> Entry | None:
    groups = card.get("groups", {})
    if "baseline" not in groups:
        return None
    overall = groups.get("overall", {})
    age, gender = overall.get("age", {}), overall.get("gender", {})
    return {
        "age": groups["baseline"].get("age"),
        "gender": groups["baseline"].get("gender"),
        "mae": age.get("baseline_mae"),
        "cs5": age.get("baseline_cs5"),
        "gender_accuracy": gender.get("baseline_accuracy"),
    }


def _held_against(entry: Entry, models: Mapping[str, Entry]) -> Entry:
    """Adds what our counterpart does better or worse: ours minus theirs."""
    ours = models.get(entry["against"], {})
    if entry.get("adults"):
        ours = ours.get("adults", {})
    difference = {
        figure: None
        if entry.get(figure) is None or ours.get(figure) is None
        else round(ours[figure] - entry[figure], _DECIMALS)
        for figure in ("mae", "gender_accuracy")
    }
    return entry | {"difference": difference}
