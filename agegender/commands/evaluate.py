"""`python -m agegender evaluate`: how good a model is on labelled chips."""

from __future__ import annotations

from typing import Any, Final

from agegender.commands import (
    OK,
    SOME_FAILED,
    complain,
    load_predictor,
    prepare_outputs,
    progress_bars,
    say,
    write_json,
)
from agegender.data.table import read_dataset
from agegender.errors import ConfigError
from agegender.evaluation.corruptions import CORRUPTIONS, evaluate_corruptions
from agegender.evaluation.evaluate import Evaluation, evaluate, select_rows
from agegender.faces import FaceDetector
from agegender.wording import say_figure

_UNLABELLED_SHOWN: Final = 20
"""A folder may hold thousands of other pictures; UTKFace's own damaged names are fewer than this."""


def run(
    data: list[str] | None,
    *,
    model: str | None,
    split: str | None,
    detect: bool,
    corruptions: bool,
    limit: int | None,
    json: str | None,
) -> int:
    """Evaluates a model on labelled faces.

    Returns:
        0, or 1 where some files could not be read.

    Raises:
        ConfigError: Corruptions are asked for of pictures that are no chips.
        DatasetError: The folder is missing or holds no labelled chip.
        ModelError: The model is unknown or not trained.
    """
    prepare_outputs({"--json": json})
    dataset = read_dataset(data)
    with progress_bars("file") as progress:
        rows = select_rows(dataset, split=split, limit=limit, progress=progress)
    photos = int((~rows["aligned"]).sum())
    if corruptions and photos:
        raise ConfigError(
            f"{photos} of these {len(rows)} pictures are no chips in UTKFace's geometry, for which the "
            "corruptions are made: measure UTKFace's alone"
        )

    predictor = load_predictor(model)
    with progress_bars("face") as progress:
        detector = FaceDetector() if detect else None
        result = evaluate(predictor, dataset, rows, detector=detector, progress=progress)
    if not corruptions:
        return report(result, json)
    with progress_bars("face") as progress:
        corrupted = evaluate_corruptions(predictor, dataset, rows, clean=result, progress=progress)
    return report(result, json, corruptions=corrupted)


def report(result: Evaluation, json: str | None, *, corruptions: dict[str, Any] | None = None) -> int:
    """Writes the figures and names the files that have none.

    Args:
        result: A finished evaluation.
        json: A file, "-" for standard output, or ``None`` for words.
        corruptions: What `evaluate_corruptions` said, to be told with it.

    Returns:
        0, or 1 where some files could not be read. Names that are no labels are told, but are no failure:
        UTKFace itself has eight.
    """
    for file, reason in result.failed:
        complain(f"{file}: {reason}")
    for file, reason in result.unlabelled[:_UNLABELLED_SHOWN]:
        complain(f"{file}: skipped: {reason}")
    if len(result.unlabelled) > _UNLABELLED_SHOWN:
        complain(f"and {len(result.unlabelled) - _UNLABELLED_SHOWN} more skipped for their names")
    document = result.document()
    if corruptions is not None:
        document["corruptions"] = corruptions
    if json is not None:
        write_json(document, json)
    else:
        for line in _in_words(document):
            say(line)
    return SOME_FAILED if result.failed else OK


def _in_words(document: dict[str, Any]) -> list[str]:
    """Lays the figures out for people."""
    counts = f"{document['n']} faces, {document['skipped']} skipped, {document['no_face']} without a face"
    lines = [f"{document['model']}: {counts}"]
    age, gender = document.get("age"), document.get("gender")
    if age is not None:
        lines += [
            f"age     mean absolute error {say_figure(age['mae'], '.2f')} years, "
            f"bias {say_figure(age['bias'], '+.2f')}, within 5 years {say_figure(age['cs5'], '.1%')}",
            f"        intervals hold {say_figure(age['interval_coverage'], '.1%')} of the labels, "
            f"{say_figure(age['interval_width'], '.1f')} years wide on average",
        ]
    if gender is not None:
        lines.append(
            f"gender  accuracy {say_figure(gender['accuracy'], '.1%')}, "
            f"AUC {say_figure(gender['auc'], '.4f')}, calibration error {say_figure(gender['ece'], '.4f')}"
        )
    if age is not None and "in_range" in age:
        lines.insert(
            2,
            f"        of {age['ranges_n']:,} labelled ranges {say_figure(age['in_range'], '.1%')} hold the "
            f"answer, which is {say_figure(age['years_outside'], '.2f')} years outside on average",
        )
    lines.append(f"speed   {say_figure(document['ms_per_face'], '.1f')} ms a face")
    bands = (age or gender or {}).get("by_band", {})
    if bands:
        lines.append(f"{'years':>8} {'faces':>6} {'MAE':>6} {'gender':>8}")
    for band, figures in bands.items():
        mae = age["by_band"][band]["mae"] if age else None
        accuracy = gender["by_band"][band]["accuracy"] if gender else None
        lines.append(
            f"{band:>8} {figures['n']:>6} {say_figure(mae, '.2f'):>6} {say_figure(accuracy, '.1%'):>8}"
        )
    for name in ("by_source", "by_group"):
        if len(document[name]) > 1:
            lines += _parts_in_words(name.removeprefix("by_"), document[name])
    return lines + (_corruptions_in_words(document["corruptions"]) if "corruptions" in document else [])


def _parts_in_words(what: str, parts: dict[str, Any]) -> list[str]:
    """Lays out one line a source, or a group of people; where labels are ranges, with what that means."""
    width = max(len(what), *map(len, parts))
    ranged = any("in_range" in figures.get("age", {}) for figures in parts.values())
    head = f" {'in range':>9} {'outside':>8}" if ranged else ""
    lines = [f"{what:>{width}} {'faces':>6} {'MAE':>6} {'gender':>8}{head}"]
    for name, figures in parts.items():
        age = figures.get("age", {})
        accuracy = say_figure(figures.get("gender", {}).get("accuracy"), ".1%")
        line = f"{name:>{width}} {figures['n']:>6} {say_figure(age.get('mae'), '.2f'):>6} {accuracy:>8}"
        if "in_range" in age:
            line += f" {say_figure(age['in_range'], '.1%'):>9} {say_figure(age['years_outside'], '.2f'):>8}"
        lines.append(line)
    return lines


def _corruptions_in_words(corruptions: dict[str, Any]) -> list[str]:
    """Lays out one line a corruption, and their mean."""
    row = "{:<27} {:>6} {:>8} {:>8} {:>12}".format
    lines = [row("corruption", "MAE", "× clean", "gender", "points lost")]
    for name, figures in corruptions["by_kind"].items():
        age, gender = figures.get("age", {}), figures.get("gender", {})
        lines.append(
            row(
                CORRUPTIONS[name].title,
                say_figure(age.get("mae"), ".2f"),
                say_figure(age.get("mae_ratio"), ".2f"),
                say_figure(gender.get("accuracy"), ".1%"),
                say_figure(gender.get("points_lost"), ".1f"),
            )
        )
    ratio, lost = (corruptions["mean"].get(key) for key in ("mae_ratio", "gender_points_lost"))
    return [*lines, row("mean", "", say_figure(ratio, ".2f"), "", say_figure(lost, ".1f"))]
