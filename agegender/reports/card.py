"""A model's card as Markdown: what it is, how good, for whom, and what it must not be used for.

Everything comes from ``card.json``; what was not measured, or does not apply, is left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

import numpy as np

from agegender.errors import ModelError
from agegender.evaluation.corruptions import CORRUPTIONS
from agegender.files import MALFORMED
from agegender.labels import say_source, say_span
from agegender.models.card import runtime_of
from agegender.reports.markdown import table
from agegender.wording import ABSENT, say_figure

Card = Mapping[str, Any]
Row = tuple[str, ...]

_GROUPINGS: Final = (
    ("by_age", "By age", "labelled age"),
    ("by_gender", "By gender", "labelled gender"),
    ("by_ethnicity", "By ethnicity code", "UTKFace's code"),
    ("by_age_and_gender", "By age and gender", "group"),
    ("by_age_and_ethnicity", "By age and ethnicity code", "group"),
    ("by_gender_and_ethnicity", "By gender and ethnicity code", "group"),
)
_OVERALL: Final = (
    # (task, figure, what it is, how to write it, the baseline's figure)
    ("age", "mae", "age: mean absolute error, years", ".2f", "baseline_mae"),
    ("age", "cs5", "age: within five years", ".1%", "baseline_cs5"),
    ("age", "bias", "age: predicted minus labelled, years", "+.2f", None),
    ("age", "interval_coverage", "age interval holds the label", ".1%", None),
    ("age", "interval_width", "age interval: mean width, years", ".1f", None),
    ("gender", "accuracy", "gender: accuracy, every face called", ".1%", "baseline_accuracy"),
    ("gender", "uncertain_share", 'gender: share of faces answered "can\'t tell"', ".1%", None),
    ("gender", "accuracy_outside", "gender: accuracy of the others", ".1%", None),
)

_RANGES: Final = (
    ("age", "in_range", "age: in the labelled range", ".1%", None),
    ("age", "years_outside", "age: years outside it", ".2f", None),
    ("age", "interval_touches", "age interval touches the range", ".1%", None),
    ("age", "interval_holds_middle", "age interval holds its middle", ".1%", None),
)
_WEAKEST: Final = 3
"""So many groups of each grouping are named."""

_RUNTIMES: Final = {
    "LiteRT": "LiteRT, from its light form; TensorFlow only to train and explain",
    "Keras": "TensorFlow, as Keras networks",
}
_DIFFERENCES: Final = {"age": "{} years of age", "female": "{} of the probability of *female*"}


def card_markdown(card: Card) -> str:
    """Renders a card.

    Args:
        card: What `read_card` gives: a model's, or that of a base that models start from.

    Returns:
        Markdown, ending in a newline.

    Raises:
        ModelError: The card is damaged.
    """
    sections = (
        *(_head, _accuracy, _groups, _sets, _corruptions, _detection),
        *(_calibration, _training, _zero_shot, _use, _licence),
    )
    try:
        lines = [line for section in sections for line in section(card)]
    except MALFORMED as error:
        raise ModelError(f"the card of {card.get('name')!r} is damaged: {error!r}") from error
    return "\n".join(lines).rstrip("\n") + "\n"


def _head(card: Card) -> Iterable[str]:
    options = card.get("options", {})
    yield f"# {card['name']}: {card.get('title', 'a model')}"
    yield ""
    height, width = options.get("input_size") or (None, None)
    facts = (
        ("Answers", " and ".join(card.get("tasks") or ()) or "nothing by itself: models start from it"),
        ("System", card.get("system")),
        ("Backbone", options.get("backbone")),
        ("Base", card.get("base")),
        ("Teachers", ", ".join(card.get("teachers", ()))),
        ("Input", f"face chip, RGB, {width} × {height} pixels" if height else None),
        ("Parameters", f"{card['parameters']:,}" if "parameters" in card else None),
        ("Runs on", _RUNTIMES[runtime_of(card)] if card.get("tasks") else None),
        ("Published", card.get("published")),
    )
    yield from (f"- {name}: {value}" for name, value in facts if value)
    yield from (f"- Note: {note}" for note in card.get("notes", ()))
    yield ""


def _accuracy(card: Card) -> Iterable[str]:
    metrics, groups = card.get("metrics"), card.get("groups", {})
    if not metrics:
        return
    yield "## How good it is"
    yield ""
    yield (
        f"Measured on the {metrics['n']:,} chips of the {metrics['split']} split, which took part neither in "
        "training nor in calibration, not even as copies."
    )
    yield ""
    overall, baseline = groups.get("overall", {}), groups.get("baseline", {})
    rows = []
    for task, name, words, form, fixed in _OVERALL:
        measured = overall.get(task, {}).get(name, metrics.get(task, {}).get(name))
        if measured is None:
            continue
        always = _figure(overall.get(task, {}).get(fixed), form) if fixed else ""
        rows.append((words, _figure(measured, form), always))
    gender = metrics.get("gender", {})
    rows += [
        (words, _figure(gender.get(name), form), "")
        for name, words, form in (
            ("auc", "gender: area under the ROC curve", ".4f"),
            ("ece", "gender: expected calibration error", ".4f"),
        )
        if gender.get(name) is not None
    ]
    if not baseline:
        yield from _table(("figure", "this model"), [row[:2] for row in rows])
    else:
        said = [f"{baseline['age']:.0f} years"] * ("age" in overall)
        said += [baseline["gender"]] * ("gender" in overall)
        yield from _table(("figure", "this model", f"always saying {' and '.join(said)}"), rows)
        yield (
            f"In brackets: {groups['confidence']:.0%} confidence intervals, {groups['method']}, "
            f"{groups['resamples']:,} resamples. The last column says of every face the median age and the "
            f"most common gender label of the {baseline['split']} split."
        ).replace("%", " %")
        yield ""


def _groups(card: Card) -> Iterable[str]:
    groups = card.get("groups")
    if not groups:
        return
    yield "## For whom"
    yield ""
    yield (
        "Groups are those of the labels. A group of fewer than "
        f"{groups['least_faces']} faces has no figures: they would say more of chance than of the group."
    )
    yield ""
    columns: tuple[tuple[str, str, str, str], ...] = (
        ("age", "mae", "age error, years", ".2f"),
        ("age", "baseline_mae", "baseline", ".2f"),
        ("age", "interval_coverage", "interval holds", ".1%"),
        ("age", "interval_width", "interval width", ".1f"),
        ("gender", "accuracy", "gender accuracy", ".1%"),
        ("gender", "baseline_accuracy", "baseline", ".1%"),
        ("gender", "uncertain_share", "can't tell", ".1%"),
    )
    known = [c for c in columns if c[1] in groups["overall"].get(c[0], {})]
    for key, title, first in _GROUPINGS:
        members: Mapping[str, Card] = groups.get(key, {})
        if not members:
            continue
        yield f"### {title}"
        yield ""
        rows = [
            (
                say_span(name),
                f"{figures['n']:,}",
                *(_figure(figures.get(task, {}).get(figure), form) for task, figure, _, form in known),
            )
            for name, figures in members.items()
        ]
        yield from _table((first, "faces", *(words for _, _, words, _ in known)), rows)


def _sets(card: Card) -> Iterable[str]:
    measured: Mapping[str, Card] = card.get("sets", {})
    if not measured:
        return
    yield "## On photos of other sources"
    yield ""
    yield (
        "What other sources keep for such a check: never trained on, nothing calibrated on it, every photo "
        "found and cropped as in the app."
    )
    yield ""
    names = [f"{say_source(source)}, {figures['split']}" for source, figures in measured.items()]
    overall = [figures["groups"]["overall"] for figures in measured.values()]
    rows: list[Row] = [("faces", *(f"{figures['n']:,}" for figures in measured.values()))]
    rows.append(("no face found", *(f"{figures['no_face']:,}" for figures in measured.values())))
    for task, name, words, form, _ in (*_OVERALL, *_RANGES):
        cells = [_figure(group.get(task, {}).get(name), form) for group in overall]
        if set(cells) != {ABSENT}:
            rows.append((words, *cells))
    errors = [figures.get("gender", {}).get("ece") for figures in measured.values()]
    rows.append(("gender: expected calibration error", *(_figure(error, ".4f") for error in errors)))
    yield from _table(("figure", *names), rows)
    for source, figures in measured.items():
        yield f"### {say_source(source)}: the weakest groups first"
        yield ""
        yield from _weakest(figures["groups"])
        gap = (figures["groups"].get("ethnicity_gap") or {}).get("gender")
        if gap:
            points = _figure({end: 100 * gap[end] for end in ("value", "low", "high")}, ".1f")
            yield f"{gap['worst']} is behind {gap['best']} by {points} points of gender's accuracy."
            yield ""


def _weakest(groups: Card) -> Iterable[str]:
    """A few groups of each kind, by accuracy of gender from the lowest."""
    rows = []
    for key, *_ in _GROUPINGS:
        known = {
            name: figures
            for name, figures in groups.get(key, {}).items()
            if "accuracy" in figures.get("gender", {})
        }
        ranked = sorted(known, key=lambda name: known[name]["gender"]["accuracy"]["value"])
        for name in ranked[:_WEAKEST]:
            age, gender = known[name].get("age", {}), known[name]["gender"]
            off = (
                age.get("mae")
                if (age.get("mae") or {}).get("value") is not None
                else age.get("years_outside")
            )
            rows.append(
                (
                    say_span(name),
                    f"{known[name]['n']:,}",
                    _figure(gender["accuracy"], ".1%"),
                    _figure(off, ".2f"),
                )
            )
    yield from _table(("group", "faces", "gender accuracy", "years off, or outside the range"), rows)


def _corruptions(card: Card) -> Iterable[str]:
    measured = card.get("corruptions")
    if not measured:
        return
    yield "## On bad photos"
    yield ""
    yield (
        f"The same chips at {measured['chip_size']} pixels, each made worse in one way, with a fixed seed. "
        "The error is also given as a multiple of that on the chips as they are."
    )
    yield ""
    rows = []
    for kind, figures in measured["by_kind"].items():
        age, gender = figures.get("age", {}), figures.get("gender", {})
        rows.append(
            (
                CORRUPTIONS[kind].title if kind in CORRUPTIONS else kind,
                _figure(age.get("mae"), ".2f"),
                _times(age.get("mae_ratio")),
                _figure(gender.get("accuracy"), ".1%"),
                _figure(gender.get("points_lost"), ".1f"),
            )
        )
    mean = measured.get("mean", {})
    rows.append(
        (
            "**mean**",
            "",
            _times(mean.get("mae_ratio")),
            "",
            _figure(mean.get("gender_points_lost"), ".1f"),
        )
    )
    header = ("change", "age error, years", "multiple", "gender accuracy", "points lost")
    yield from _table(header, rows)


def _detection(card: Card) -> Iterable[str]:
    measured = card.get("detect")
    if not measured:
        return
    yield "## Through detection"
    yield ""
    yield (
        "The same chips with a border, each found and cropped as a face in a photo is: "
        f"{measured['n']:,} were found, {measured['no_face']:,} were not."
    )
    yield ""
    rows = [
        (words, _figure(measured.get(task, {}).get(name), form))
        for task, name, words, form, _ in _OVERALL
        if measured.get(task, {}).get(name) is not None
    ]
    yield from _table(("figure", "through detection"), rows)


def _calibration(card: Card) -> Iterable[str]:
    calibration = card.get("calibration", {})
    if not calibration:
        return
    yield "## Calibration"
    yield ""
    age, gender = calibration.get("age"), calibration.get("gender")
    if age:
        ways = {
            "bands": "the years to which the predicted distribution gives enough probability on both sides, "
            "with a conformal threshold for each age band; what each band then held is in the table by age",
            "residuals": "the prediction plus quantiles of the errors of faces predicted about as old, "
            "which guarantees nothing for those labelled in one age band",
        }
        ranges = ""
        if age.get("ranges_n"):
            ranges = ", labelled with ranges of years, of which every year counts alike"
        yield (
            f"- Age interval, made to hold {age['coverage']:.0%} of the labels: {ways[age['method']]}. "
            f"Fitted on {age['n']:,} chips of the {age['split']} split{ranges}."
        ).replace("%", " %")
        number = "the network's number" if age["method"] == "residuals" else "the distribution's mean"
        yield f"- The age is a whole year, as labels are: the nearest to {number}."
    if gender:
        low, high = 1 - gender["uncertain_below"], gender["uncertain_below"]
        yield (
            f"- Gender probability: the network's logit over {gender['temperature']:g} (temperature scaling, "
            f"{gender['n']:,} chips of the {gender['split']} split). Between {low:.0%} and {high:.0%} "
            'probability of female the answer is "can\'t tell".'
        ).replace("%", " %")
    yield ""


def _training(card: Card) -> Iterable[str]:
    training, split, data = card.get("training"), card.get("split"), card.get("data", {})
    if not training:
        return
    yield "## How it was trained"
    yield ""
    if split:
        names = [name for name in ("train", "validation", "test") if name in split["sizes"]]
        sizes = ", ".join(f"{split['sizes'][name]:,} {name}" for name in names)
        record = f", record `{split['file']}` beside the card" if "file" in split else ""
        if "used" in data:
            used = ", ".join(f"{size:,} {use}" for use, size in data["used"].items())
            yield f"- Learnt from {data['name']} alone: {used}. Other sources only measured it."
        name = "All sources" if "used" in data else data.get("name", "UTKFace")
        yield f"- Data: {name}, {data.get('files', 0):,} chips: {sizes}."
        yield f"- Split: decided by content, copies together; hash `{split['hash']}`{record}."
    for network, record in training.items():
        yield from _run(f"- Network for {_network(network)}", record)
        if record.get("seconds"):
            yield f"  - Time in training, with the runs before it: {_duration(record['seconds'])}"
    yield ""
    yield "Every setting is in `card.json`, the course of training in `history.csv`."
    yield ""


def _run(head: str, record: Card, indent: str = "  ") -> Iterable[str]:
    config, validation = record.get("config", {}), record.get("validation", {})
    environment = record.get("environment", {})
    name = f", run `{record['run']}`" if "run" in record else ""
    figures = [
        words
        for key, words in (
            ("mae", f"error {validation.get('mae', 0):.2f} years"),
            ("accuracy", f"accuracy {validation.get('accuracy', 0):.1%}".replace("%", " %")),
        )
        if key in validation
    ]
    part = "selection half of the validation" if validation.get("split") == "selection" else "validation"
    yield f"{head}{name}: {', '.join(figures) or 'no figures'} on the {part} split"
    if config.get("stages"):
        stages = (
            f"{s['name']} {s['epochs']} {'epoch' if s['epochs'] == 1 else 'epochs'} at {s['learning_rate']:g}"
            for s in config["stages"]
        )
        yield f"{indent}- Stages: {'; '.join(stages)}"
    settings = (
        ("optimizer", "{}"),
        ("schedule", "{}"),
        ("batch_size", "batches of {}"),
        ("layer_decay", "layer decay {}"),
        ("ema_momentum", "moving average {}"),
        ("label_smoothing", "label smoothing {}"),
    )
    said = [form.format(config[key]) for key, form in settings if config.get(key) is not None]
    if said:
        yield f"{indent}- Recipe: {', '.join(said)}"
    if config.get("teacher"):
        weight = config.get("teacher_weight", 0)
        yield f"{indent}- Teacher: `{config['teacher']}`, {weight:.0%} of the labels".replace("%", " %")
    if environment:
        keras = environment.get("packages", {}).get("keras", "?")
        yield f"{indent}- On {environment.get('machine', 'an unknown machine')}, Keras {keras}"
    if record.get("start"):
        head = f"{indent}- Went on from a network for {_network(record['start'])}"
        yield from _run(head, record["start"], indent + "  ")


def _network(task: Any) -> str:
    if isinstance(task, Mapping):
        task = task.get("config", {}).get("task", "?")
    return "age and gender" if task == "both" else str(task)


def _zero_shot(card: Card) -> Iterable[str]:
    measured = card.get("zero_shot")
    if not measured:
        return
    yield "## With its own heads"
    yield ""
    yield (
        f"On {measured['n']:,} chips of the {measured['split']} split ({measured['dataset']}), untrained by "
        f"us: age error {measured['age_mae']:.2f} years, within five years {measured['age_cs5']:.1%}, gender "
        f"accuracy {measured['gender_accuracy']:.1%}."
    ).replace("%", " %")
    yield ""


def _use(card: Card) -> Iterable[str]:
    if card.get("intended_use"):
        yield "## What it is for"
        yield ""
        yield str(card["intended_use"])
        yield ""
    if card.get("limits"):
        yield "## What it is not for, and its limits"
        yield ""
        yield from (f"- {limit}" for limit in card["limits"])
        yield ""


def _licence(card: Card) -> Iterable[str]:
    yield "## Licence and provenance"
    yield ""
    for section in ("licence", "provenance"):
        for key, value in card.get(section, {}).items():
            if not isinstance(value, Mapping):
                yield f"- {key.capitalize()}: {value}"
    yield ""
    light = card.get("light", {})
    files = {**card.get("files", {}), **light.get("files", {})}
    if files:
        yield from _table(("file", "SHA-256"), [(f"`{f}`", f"`{checksum}`") for f, checksum in files.items()])
    if light:
        yield _say_difference(light["difference"])
        yield ""


def _say_difference(difference: Mapping[str, Any]) -> str:
    """What the light form was proved by."""
    most = [
        words.format(np.format_float_positional(difference[output], trim="-"))
        for output, words in _DIFFERENCES.items()
        if output in difference
    ]
    return (
        "The `.tflite` files are the light form of the networks in the weight files, in half precision too. "
        f"Over the {difference['n']:,} chips of the {difference['split']} split the two differ by up to "
        f"{' and '.join(most)}, before calibration."
    )


def _table(header: Row, rows: Iterable[Row]) -> Iterable[str]:
    yield table(header, rows)
    yield ""


def _figure(measured: Any, form: str) -> str:
    """A figure, with its confidence interval where it has one."""
    if not isinstance(measured, Mapping):
        return say_figure(measured, form)
    low, high = measured.get("low"), measured.get("high")
    return say_figure(measured.get("value"), form, None if low is None or high is None else (low, high))


def _times(ratio: float | None) -> str:
    return ABSENT if ratio is None else f"× {ratio:.2f}"


def _duration(seconds: float) -> str:
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min"
