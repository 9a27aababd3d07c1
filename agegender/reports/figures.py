"""How good the default model is: README.md's five lines, and all of it as docs/figures.md."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from agegender.labels import say_source, say_span
from agegender.reports.markdown import table, wrap
from agegender.reports.systems import Comparison, measured_table
from agegender.wording import ABSENT, say_figure

BEGIN: Final = "<!-- figures: written by python -m agegender.reports; do not edit by hand -->\n"
END: Final = "<!-- end of figures -->\n"

Card = Mapping[str, Any]


def with_figures(text: str, section: str) -> str:
    """The README with its section of figures replaced."""
    head, _, rest = text.partition(BEGIN)
    _, _, tail = rest.partition(END)
    return f"{head}{BEGIN}\n{section}\n{END}{tail}"


def summary(card: Card, comparison: Comparison, bench: Mapping[str, Any]) -> str:
    """README's section: what to know in five lines, and where the rest is.

    Args:
        card: The default model's.
        comparison: What `python -m agegender compare --json` wrote.
        bench: What `python -m agegender bench --json` wrote.

    Returns:
        Markdown.
    """
    metrics, groups = card["metrics"], card["groups"]
    age, gender, overall = metrics["age"], metrics["gender"], groups["overall"]["gender"]
    held = {
        band: figures["age"]["interval_coverage"]["value"]
        for band, figures in groups["by_age"].items()
        if "age" in figures
    }
    errors = {band: figures["mae"] for band, figures in age["by_band"].items()}
    right = {band: figures["accuracy"] for band, figures in gender["by_band"].items()}
    coverage, below = card["calibration"]["age"]["coverage"], card["calibration"]["gender"]["uncertain_below"]
    others = len(comparison["models"]) + len(comparison["rivals"]) - 1
    lines = (
        f"**Age is off by {age['mae']:.2f} years on average**, by no more than five for {age['cs5']:.1%}; "
        f"**the gender is the labelled one for {gender['accuracy']:.1%}**. That is on the {metrics['n']:,} "
        "UTKFace chips of the test split, which no training of ours saw, not even as a copy.",
        f"It differs by age: {_range(errors, '.2f', ' years')}; gender {_range(right, '.1%')}.",
        f"Intervals made to hold {coverage:.0%} of labels hold {age['interval_coverage']:.1%} of them "
        f"({_range(held, '.1%')}) and are {age['interval_width']:.1f} years wide on average.",
        f'Where neither gender reaches {below:.0%}, the answer is "can\'t tell": for '
        f"{overall['uncertain_share']['value']:.1%} of the faces; of the others "
        f"{overall['accuracy_outside']['value']:.1%} are right.",
        *map(set_sentence, card.get("sets", {}), card.get("sets", {}).values()),
        speed_sentence(bench),
    )
    text = "\n".join(wrap(line, "- ", "  ") for line in lines)
    link = wrap(
        f"[All figures](docs/figures.md): by age, with intervals, on bad photos, and beside {others} other "
        "systems on the same chips."
    )
    return _spaced(f"{text}\n\n{link}\n")


def set_sentence(source: str, measured: Card) -> str:
    """One sentence on photos of another source, its weakest group first."""
    age, gender, groups = measured["age"], measured["gender"], measured["groups"]
    named = {
        name: figures["gender"]["accuracy"]["value"]
        for key in ("by_age", "by_ethnicity")
        for name, figures in groups[key].items()
        if "gender" in figures
    }
    weakest = min(named, key=named.__getitem__)
    ages = f"age is off by {age['mae']:.2f} years"
    if age.get("ranges_n"):
        ages = (
            f"age is in the labelled range for {age['in_range']:.1%}, {age['years_outside']:.1f} years off it"
        )
    return (
        f"On {measured['n']:,} photos of {say_source(source)}, found and cropped as in the app and "
        f"not trained on: gender {named[weakest]:.1%} at {weakest.replace('-', '–')}, "
        f"{gender['accuracy']:.1%} over all; {ages}."
    )


def _range(by_band: Mapping[str, float], form: str, unit: str = "") -> str:
    """From the least of the bands to the most, each with the ages it is of."""
    least, most = min(by_band, key=by_band.__getitem__), max(by_band, key=by_band.__getitem__)
    return " to ".join(f"{by_band[band]:{form}}{unit} at {band.replace('-', '–')}" for band in (least, most))


def _spaced(text: str) -> str:
    return re.sub(r"(?<=\d)%", " %", text)


def report(
    card: Card,
    base: Card,
    comparison: Comparison,
    *,
    bench: Mapping[str, Any],
    throughput: Mapping[str, Any],
) -> str:
    """Writes docs/figures.md.

    Args:
        card: The default model's.
        base: The card of what it starts from.
        comparison: What `python -m agegender compare --json` wrote.
        bench: What `python -m agegender bench --json` wrote.
        throughput: What `python -m tools.bench_training --json` wrote.

    Returns:
        Markdown.
    """
    detect = card["detect"]
    metrics, zero_shot = card["metrics"], base["zero_shot"]
    age, gender = metrics["age"], metrics["gender"]
    groups = card["groups"]
    fixed, always = groups["baseline"], groups["overall"]
    rows = [
        ("**`vggface`**, on chips", age["mae"], age["cs5"], gender["accuracy"]),
        (
            f"`vggface`, through detection and crop ({detect['n']:,} found)",
            detect["age"]["mae"],
            detect["age"]["cs5"],
            detect["gender"]["accuracy"],
        ),
        (
            "`faceres-deep`, where the base comes from, with its own heads",
            zero_shot["age_mae"],
            zero_shot["age_cs5"],
            zero_shot["gender_accuracy"],
        ),
        (
            f"always saying {fixed['age']:.0f} years and {fixed['gender']}",
            always["age"]["baseline_mae"],
            always["age"]["baseline_cs5"],
            always["gender"]["baseline_accuracy"],
        ),
    ]
    gained = zero_shot["age_mae"] - age["mae"]
    held, off = f"{age['interval_coverage']:.1%}", f"{gender['ece']:.1%}"
    lines = [
        "# How good it is",
        "",
        "<!-- written by python -m agegender.reports; do not edit -->",
        "",
        f"Measured on the {metrics['n']:,} UTKFace chips of the test split, which no training of ours saw,",
        "not even as a copy:",
        "",
        table(
            ("", "age: mean absolute error", "within 5 years", "gender: accuracy"),
            (
                (name, f"{mae:.2f} years", say_figure(cs5, ".1%"), say_figure(accuracy, ".1%"))
                for name, mae, cs5, accuracy in rows
            ),
        ),
        "",
        f"Training took {gained:.2f} years off the error. The age interval holds {held} of the labels and is",
        f"{age['interval_width']:.1f} years wide on average; the gender probability is off by {off} on",
        "average (expected calibration error).",
        *trust_sentences(card),
        "",
        *band_table(card),
    ]
    lines += ["", *sets_table(comparison)]
    sentences = f"{speed_sentence(bench)} {throughput_sentence(throughput)}"
    return _spaced("\n".join([*lines, "", *systems_table(comparison), "", wrap(sentences)]) + "\n")


def systems_table(comparison: Comparison) -> list[str]:
    """Every system that is trained, and the rivals, as `python -m agegender compare` has them."""
    waiting = [f"`{entry['name']}`" for entry in comparison["models"] if not entry["trained"]]
    lines = [
        "Every system and rival on the same chips. [systems.md](systems.md) tells what each idea",
        "bought; `python -m agegender compare` and the page *Compare models* have more:",
        "",
    ]
    lines.append(measured_table(comparison))
    return [*lines, "", f"Not trained yet: {', '.join(waiting)}."] if waiting else lines


def sets_table(comparison: Comparison) -> list[str]:
    """Every system and rival on photos of other sources, best at gender first."""
    found: list[str] = []
    entries = [*comparison["models"], *comparison["rivals"]]
    for source in dict.fromkeys(source for entry in entries for source in entry.get("sets", {})):
        measured = [(entry, entry["sets"][source]) for entry in entries if source in entry.get("sets", {})]
        measured.sort(key=lambda pair: -(pair[1]["gender_accuracy"] or 0))
        ranged = any(figures["in_range"] is not None for _, figures in measured)
        rows = []
        for entry, figures in measured:
            gap = figures["ethnicity_gap"]
            rows.append(
                (
                    f"`{entry['name']}`" + (" (rival)" if entry["kind"] == "rival" else ""),
                    f"{figures['n']:,}",
                    say_figure(figures["gender_accuracy"], ".1%", figures["gender_accuracy_interval"]),
                    say_figure(figures["children"]["gender_accuracy"], ".1%"),
                    say_figure(100 * gap["value"], ".1f") + f" ({gap['worst']})" if gap else ABSENT,
                    *(
                        (say_figure(figures["in_range"], ".1%"), say_figure(figures["years_outside"], ".2f"))
                        if ranged
                        else (
                            say_figure(figures["mae"], ".2f"),
                            say_figure(figures["teenagers"]["mae"], ".2f"),
                        )
                    ),
                )
            )
        ages = ("in the range", "years outside it") if ranged else ("age error, years", "teenagers', 10–19")
        found += [
            f"On photos of {say_source(source)}, found and cropped as in the app, none trained on:",
            "",
            table(
                ("system", "faces", "gender", "of children, 0–9", "points the worst group is behind", *ages),
                rows,
            ),
            "",
        ]
    return found[:-1]


def trust_sentences(card: Card) -> list[str]:
    """When the model does not answer, and how it holds on bad photos."""
    gender, mean = card["groups"]["overall"]["gender"], card["corruptions"]["mean"]
    below = card["calibration"]["gender"]["uncertain_below"]
    return [
        f'Where neither gender reaches {below:.0%}, the answer is "can\'t tell": that is so for '
        f"{gender['uncertain_share']['value']:.1%} of the",
        f"faces, and of the others {gender['accuracy_outside']['value']:.1%} are right.",
        "On the same chips made dark, blurred, tiny, compressed, covered, badly cropped or turned, the",
        f"error is on average {mean['mae_ratio']:.2f} times as large and gender accuracy "
        f"{mean['gender_points_lost']:.1f} points lower.",
    ]


def band_table(card: Card) -> list[str]:
    """The table by age band; a band of few faces has no confidence intervals, and no share of intervals."""
    age, gender, groups = card["metrics"]["age"], card["metrics"]["gender"], card["groups"]
    rows = []
    for band, row in age["by_band"].items():
        found = groups["by_age"].get(band, {})
        intervals = [
            (known["low"], known["high"]) if (known := found.get(task, {}).get(figure)) else None
            for task, figure in (("age", "mae"), ("gender", "accuracy"))
        ]
        held = found.get("age", {}).get("interval_coverage", {}).get("value")
        rows.append(
            (
                say_span(band),
                row["n"],
                say_figure(row["mae"], ".2f", intervals[0]),
                say_figure(held, ".1%"),
                say_figure(gender["by_band"][band]["accuracy"], ".1%", intervals[1]),
            )
        )
    return [
        "By labelled age, with 95% confidence intervals:",
        "",
        table(("age", "chips", "error in years", "age interval holds", "gender accuracy"), rows),
        "",
        "By gender, ethnicity code and their crossings, on bad photos, and how it was trained:",
        "`python -m agegender card`.",
    ]


def speed_sentence(bench: Mapping[str, Any]) -> str:
    """One sentence on speed from what `bench` wrote."""
    predict, photo = bench["predict_ms_per_face"], bench["photo"]
    cores, size = bench["machine"]["cores"], f"{photo['width']} × {photo['height']}"
    return (
        f"On {cores} CPU cores, no GPU, it takes {predict['8']:.0f} ms a face for both networks in a batch "
        f"of 8, and {photo['ms'] / 1000:.1f} s for a photo of {size} pixels with {photo['faces']} faces, "
        "detection included."
    )


def throughput_sentence(bench: Mapping[str, Any]) -> str:
    """One sentence on whether reading and augmenting keep up with training, from `tools.bench_training`."""
    rates = bench["chips_per_second"]
    return (
        f"Training the default recipe there sees {rates['loop']:.0f} chips a second, "
        f"{bench['loop_to_step']:.0%} of what its bare step could take; reading and augmenting alone would "
        f"make {rates['generator']:,.0f}. Measured by `python -m agegender bench` and "
        "`python -m tools.bench_training`."
    )
