"""README.md's section of figures, from the default model's card and from what commands measured."""

from __future__ import annotations

import re
from typing import Any, Final

from agegender.reports.markdown import table
from agegender.reports.systems import Comparison, measured_table
from agegender.wording import say_figure

BEGIN: Final = "<!-- figures: written by python -m agegender.reports; do not edit by hand -->\n"
END: Final = "<!-- end of figures -->\n"


def with_figures(text: str, section: str) -> str:
    """The README with its section of figures replaced."""
    head, _, rest = text.partition(BEGIN)
    _, _, tail = rest.partition(END)
    return f"{head}{BEGIN}\n{section}\n{END}{tail}"


def figures(
    card: dict[str, Any],
    base: dict[str, Any],
    comparison: Comparison,
    *,
    bench: dict[str, Any],
    throughput: dict[str, Any],
) -> str:
    """The section's text.

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
        *band_table(age, gender, groups),
    ]
    sentences = speed_sentence(bench), throughput_sentence(throughput)
    text = "\n".join([*lines, "", *systems_table(comparison), "", *sentences])
    return re.sub(r"(?<=\d)%", " %", text) + "\n"


def systems_table(comparison: Comparison) -> list[str]:
    """Every system that is trained, and the rivals, as `python -m agegender compare` has them."""
    waiting = [f"`{entry['name']}`" for entry in comparison["models"] if not entry["trained"]]
    lines = [
        "Every system and rival on the same chips. [docs/systems.md](docs/systems.md) tells what each idea",
        "bought; `python -m agegender compare` and the page *Compare models* have more:",
        "",
    ]
    lines.append(measured_table(comparison))
    return [*lines, "", f"Not trained yet: {', '.join(waiting)}."] if waiting else lines


def trust_sentences(card: dict[str, Any]) -> list[str]:
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


def band_table(age: dict[str, Any], gender: dict[str, Any], groups: dict[str, Any]) -> list[str]:
    """The table by age band; a band of few faces has no confidence intervals."""
    rows = []
    for band, row in age["by_band"].items():
        found = groups["by_age"].get(band, {})
        intervals = [
            (known["low"], known["high"]) if (known := found.get(task, {}).get(figure)) else None
            for task, figure in (("age", "mae"), ("gender", "accuracy"))
        ]
        rows.append(
            (
                band.replace("-", "–"),
                row["n"],
                say_figure(row["mae"], ".2f", intervals[0]),
                say_figure(gender["by_band"][band]["accuracy"], ".1%", intervals[1]),
            )
        )
    return [
        "By labelled age, with 95% confidence intervals:",
        "",
        table(("age", "chips", "error in years", "gender accuracy"), rows),
        "",
        "By gender, ethnicity code and their crossings, on bad photos, and how it was trained:",
        "`python -m agegender card`.",
    ]


def speed_sentence(bench: dict[str, Any]) -> str:
    """One sentence on speed from what `bench` wrote."""
    predict, photo = bench["predict_ms_per_face"], bench["photo"]
    cores, size = bench["machine"]["cores"], f"{photo['width']} × {photo['height']}"
    return (
        f"Speed on {cores} CPU cores, no GPU (`python -m agegender bench`): {predict['8']:.0f} ms a face\n"
        f"for both networks in a batch of 8, and {photo['ms'] / 1000:.1f} s for a photo of {size} pixels\n"
        f"with {photo['faces']} faces, detection included."
    )


def throughput_sentence(bench: dict[str, Any]) -> str:
    """One sentence on whether reading and augmenting keep up with training, from `tools.bench_training`."""
    rates = bench["chips_per_second"]
    return (
        f"Training the default recipe there sees {rates['loop']:.0f} chips a second, "
        f"{bench['loop_to_step']:.0%} of what its bare step\n"
        f"could take; reading and augmenting alone would make {rates['generator']:,.0f} "
        "(`python -m tools.bench_training`)."
    )
