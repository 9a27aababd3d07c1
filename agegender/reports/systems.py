"""docs/systems.md: what each idea bought, in the figures of `python -m agegender compare --json`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from agegender.reports.comparison import measured_entries
from agegender.reports.markdown import table, wrap
from agegender.wording import ABSENT, say_figure

_BASELINE: Final = "baseline"

Comparison = Mapping[str, Any]
Entry = Mapping[str, Any]


@dataclass(frozen=True)
class Idea:
    """What is told of a model.

    Attributes:
        words: Its idea, in two sentences.
        reference: What it is held against: a model, a rival, or "baseline".
        why: What the difference between the two is a measure of.
    """

    words: str
    reference: str
    why: str


IDEAS: Final[Mapping[str, Idea]] = {
    "scratch-cnn": Idea(
        "Three blocks of convolution, batch normalisation and pooling with a head for each task, from random "
        "weights. It knows nothing but the training split.",
        _BASELINE,
        "it looks at the face",
    ),
    "resnet18-finetuned": Idea(
        "A ResNet18 whose last layer gives way to two linear heads, which learn first and alone; then "
        "everything learns, gently. Its backbone comes from a run on the training split's faces, because "
        "the build machine could not download one that knows ImageNet.",
        "scratch-cnn",
        "depth, and a backbone that has learnt before",
    ),
    "resnet18-multitask": Idea(
        "A ResNet18 of which only the upper half and the heads learn, age as one normalised number and "
        "gender as a logit. Each task has a dense layer of its own under its answer.",
        "resnet18-finetuned",
        "heads of two layers, and the upper half only at a higher rate, on the same backbone",
    ),
    "age-range": Idea(
        "Three nets in one: gender on a face network, a small CNN that sorts faces into nine age ranges, and "
        "a regressor that hears of the range through an embedding. Years should be easier to tell for who "
        "knows the range.",
        "scratch-cnn",
        "ranges before years, and a face network for gender",
    ),
    "vgg16-multitask": Idea(
        "One VGG16, flattened into a dense layer with batch normalisation and dropout, then a branch for "
        "each task. Both share all convolutions, so two answers cost little more than one. It goes on from "
        "the convolutions of `vggface-vgg16`.",
        "vggface-vgg16",
        "one network for both tasks instead of two, its map flattened instead of averaged, age as one number",
    ),
    "vggface-vgg16": Idea(
        "Two Sequential networks, one a task, on VGG16, the design of VGGFace. Age is answered with a "
        "probability for each year; the lower layers of both are the same and stored once. Its backbone "
        "began as an edge detector that knew ImageNet.",
        "resnet18-finetuned",
        "a wider backbone that knew photos, a network for each task, and a distribution over years",
    ),
    "vggface": Idea(
        "The same pair on a MobileNet that learnt to recognise faces: what tells two people apart also tells "
        "their age. Its backbone is small, and knew faces long before it saw UTKFace.",
        "faceres-deep",
        "training on UTKFace; the base knew ages and genders from other photos",
    ),
    "vggface-open": Idea(
        "The default pair's recipe with FairFace alone, whose terms ask for attribution only. It saw no chip "
        "of UTKFace, and years only as ranges.",
        "vggface",
        "three sources less, those with exact ages and more children and old people among them",
    ),
}
"""From the plainest idea to the best, as they are told."""


def report(comparison: Comparison) -> str:
    """Writes the report as Markdown.

    Args:
        comparison: What `python -m agegender compare --json` wrote.

    Returns:
        The text.
    """
    sections = (
        _opening(comparison),
        _bought_table(comparison),
        _measured(comparison),
        _ideas(comparison),
        _published(comparison),
    )
    return "\n\n".join(section for section in sections if section) + "\n"


def measured_table(comparison: Comparison) -> str:
    """A table of what was measured here, the best at age first, in Markdown."""
    entries = sorted(measured_entries(comparison), key=lambda e: (e["kind"] != "measured", e["mae"] or 1e3))
    adults = any(entry.get("adults", {}).get("mae") is not None for entry in entries)
    header: tuple[str, ...] = (
        "system",
        "age error, years",
        "within 5",
        "gender",
        "parameters",
        "MB",
        "ms a face",
        "training",
    )
    if adults:  # papers that leave out children and old people can be compared with these only
        header = (*header[:4], "error at 21–60", "gender at 21–60", *header[4:])
    rows = [
        (
            f"`{entry['name']}`" + (" (rival)" if entry["kind"] == "rival" else ""),
            say_figure(entry["mae"], ".2f", entry.get("mae_interval")),
            say_figure(entry["cs5"], ".1%"),
            say_figure(entry["gender_accuracy"], ".1%", entry.get("gender_accuracy_interval")),
            *(
                (
                    say_figure(entry.get("adults", {}).get("mae"), ".2f"),
                    say_figure(entry.get("adults", {}).get("gender_accuracy"), ".1%"),
                )
                if adults
                else ()
            ),
            _millions(entry.get("parameters")),
            say_figure(entry["megabytes"], ".1f"),
            say_figure(entry["ms_per_face"], ".1f"),
            _minutes((entry.get("training") or {}).get("seconds")),
        )
        for entry in entries
    ]
    return table(header, rows) if rows else "Nothing is trained and measured yet."


def _opening(comparison: Comparison) -> str:
    lines = [
        "# What each idea bought",
        "",
        "<!-- written by python -m agegender.reports; do not edit -->",
        "",
    ]
    if not comparison["n"]:
        return "\n".join(lines[:3])
    text = (
        f"All are measured on the same {comparison['n']:,} chips of the {comparison['split']} split, from "
        "which none of ours learnt; cards say what each learnt from. Each is held against one that lacks its "
        "idea: below zero its age error is smaller, above zero it is right about gender more often. Where "
        "the 95 % intervals of the two overlap, the gain is in brackets: it may be chance. The page *Compare "
        "models* shows the same by age and group."
    )
    return "\n".join([*lines, wrap(text)])


def _bought_table(comparison: Comparison) -> str:
    """What each trained model gained on its reference."""
    entries = _by_name(comparison)
    header = ("system", "held against", "age error, years", "gender, points", "what differs")
    rows = []
    for name, idea in IDEAS.items():
        entry = entries.get(name)
        other = comparison["baseline"] if idea.reference == _BASELINE else entries.get(idea.reference)
        if entry is None or other is None or not entry["trained"]:
            continue
        reference = "always saying the same" if idea.reference == _BASELINE else f"`{idea.reference}`"
        rows.append(
            (
                f"`{name}`",
                reference,
                _gain(entry, other, "mae", "+z.2f"),
                _gain(entry, other, "gender_accuracy", "+z.1f", scale=100),
                idea.why + _taught(entry, other) + _times(entry, other),
            )
        )
    return table(header, rows) if rows else ""


def _by_name(comparison: Comparison) -> dict[str, Entry]:
    return {entry["name"]: entry for entry in (*comparison["models"], *comparison["rivals"])}


def _gain(entry: Entry, other: Entry, figure: str, form: str, *, scale: float = 1) -> str:
    """How much a figure changed, in brackets where the two intervals overlap."""
    if entry.get(figure) is None or other.get(figure) is None:
        return ABSENT
    changed = format(scale * (entry[figure] - other[figure]), form).replace("-", "−")
    one, two = entry.get(f"{figure}_interval"), other.get(f"{figure}_interval")
    overlap = one and two and one[0] <= two[1] and two[0] <= one[1]
    return f"({changed})" if overlap else changed


def _taught(entry: Entry, other: Entry) -> str:
    """Teachers that the other one did not have: part of what differs, whatever the idea."""
    teachers = [f"`{name}`" for name in entry["teachers"] if name not in (other.get("teachers") or ())]
    return f"; taught by {' and '.join(teachers)} too" if teachers else ""


def _times(entry: Entry, other: Entry) -> str:
    if not entry.get("parameters") or not other.get("parameters"):
        return ""
    ratio = entry["parameters"] / other["parameters"]
    return f"; {ratio:.1f} times the parameters" if ratio >= 1.05 or ratio <= 0.95 else ""


def _measured(comparison: Comparison) -> str:
    hardware = dict.fromkeys(
        training["hardware"]
        for entry in comparison["models"]
        if (training := entry["training"]) and training["hardware"]
    )
    text = (
        "What was measured, with 95 % intervals. Training time is that of all runs a model came from, on "
        f"{'; '.join(hardware) or 'a machine that was not recorded'}, without its base and its teacher. A "
        "rival is somebody else's network, measured here."
    )
    return "\n".join([*([wrap(text), ""] if comparison["n"] else []), measured_table(comparison)])


def _ideas(comparison: Comparison) -> str:
    entries = _by_name(comparison)
    paragraphs = []
    for name, idea in IDEAS.items():
        entry = entries.get(name)
        if entry is None:
            continue
        taught = " and ".join(f"`{teacher}`" for teacher in entry["teachers"])
        words = (
            f"**`{name}`.** {idea.words}",
            f"It also learnt from the answers of {taught}." if taught else "",
            "" if entry["trained"] else f"*Not trained yet: `{entry['how_to_train'][-2]}`.*",
        )
        paragraphs.append(wrap(" ".join(filter(None, words))))
    return "\n\n".join(paragraphs)


def _published(comparison: Comparison) -> str:
    header = ("published", "age error", "gender", "ours", "ours minus theirs", "their words in")
    rows = []
    for entry in comparison["published"]:
        years, points = entry["difference"]["mae"], entry["difference"]["gender_accuracy"]
        differences = (
            None if years is None else f"{years:+.2f} years",
            None if points is None else f"{100 * points:+.1f} points",
        )
        gender = entry["gender_accuracy_words"] or say_figure(entry["gender_accuracy"], ".1%")
        rows.append(
            (
                entry["name"],
                say_figure(entry["mae"], ".2f"),
                gender if entry["score"] is None else f"leaderboard score {entry['score']:g}",
                f"`{entry['against']}`",
                ", ".join(filter(None, differences)) or ABSENT,
                f"{entry['source']}; {entry['split']}" if entry["split"] else entry["source"],
            )
        )
    text = wrap(
        "Published figures are their authors' words, on splits of their own; none was measured here. A "
        "random split leaves copies of test photos among the training photos, ours does not. A leaderboard's "
        "score is a measure of its own. Ours minus theirs is of the same ages as theirs."
    )
    return "\n".join([text, "", table(header, rows)])


def _millions(parameters: float | None) -> str:
    return ABSENT if parameters is None else f"{parameters / 1e6:.1f} M"


def _minutes(seconds: float | None) -> str:
    return ABSENT if seconds is None else f"{seconds / 60:.0f} min"
