"""Writes the README's figures from card and measurements: python -m agegender.reports.readme [--check].

--check changes nothing and exits with 1 where the README is not what the files say.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from pathlib import Path
from typing import Any

from agegender.reports.systems import measured_table

ROOT = Path(__file__).parents[2]
BEGIN = "<!-- figures: written by agegender/reports/readme.py; do not edit by hand -->\n"
END = "<!-- end of figures -->\n"


def read(path: str) -> dict[str, Any]:
    """Reads a JSON file below the repository's root."""
    values: dict[str, Any] = json.loads((ROOT / path).read_text(encoding="utf-8"))
    return values


def figures() -> str:
    """The section's text. Cards of before say less; what one lacks is left out."""
    card, base = read("weights/vggface/card.json"), read("weights/mobilenet-vggface2/card.json")
    # The card has it where the model was published with --detect.
    detect = card.get("detect") or read("docs/measurements/evaluate-detect.json")
    metrics, zero_shot = card["metrics"], base["zero_shot"]
    age, gender = metrics["age"], metrics["gender"]
    groups = card.get("groups", {})
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
    ]
    if groups:
        fixed, always = groups["baseline"], groups["overall"]
        rows.append(
            (
                f"always saying {fixed['age']:.0f} years and {fixed['gender']}",
                always["age"]["baseline_mae"],
                always["age"]["baseline_cs5"],
                always["gender"]["baseline_accuracy"],
            )
        )
    gained = zero_shot["age_mae"] - age["mae"]
    held, off = f"{age['interval_coverage']:.1%}", f"{gender['ece']:.1%}"
    lines = [
        f"Measured on the {metrics['n']:,} UTKFace chips of the test split, which no training of ours saw,",
        "not even as a copy:",
        "",
        "| | age: mean absolute error | within 5 years | gender: accuracy |",
        "|---|---|---|---|",
        *(f"| {name} | {mae:.2f} years | {cs5:.1%} | {accuracy:.1%} |" for name, mae, cs5, accuracy in rows),
        "",
        f"Training took {gained:.2f} years off the error. The age interval holds {held} of the labels and is",
        f"{age['interval_width']:.1f} years wide on average; the gender probability is off by {off} on",
        "average (expected calibration error).",
        *trust_sentences(card),
        "",
        *band_table(age, gender, groups),
    ]
    speed = speed_sentence(read("docs/measurements/bench.json"))
    throughput = throughput_sentence(read("docs/measurements/training-throughput.json"))
    text = "\n".join([*lines, "", *systems_table(), "", speed, throughput])
    return re.sub(r"(?<=\d)%", " %", text) + "\n"


def systems_table() -> list[str]:
    """Every system that is trained, and the rivals, as `python -m agegender compare` has them."""
    comparison = read("docs/measurements/compare.json")
    waiting = [f"`{entry['name']}`" for entry in comparison["models"] if not entry["trained"]]
    lines = [
        "Every system and rival on the same chips. [docs/systems.md](docs/systems.md) tells what each idea",
        "bought; `python -m agegender compare` and the page *Compare models* have more:",
        "",
    ]
    lines += measured_table(comparison)
    return [*lines, "", f"Not trained yet: {', '.join(waiting)}."] if waiting else lines


def trust_sentences(card: dict[str, Any]) -> list[str]:
    """When the model does not answer, and how it holds on bad photos, where the card says so."""
    lines = []
    gender = card.get("groups", {}).get("overall", {}).get("gender", {})
    if "uncertain_share" in gender:
        below = card["calibration"]["gender"]["uncertain_below"]
        lines += [
            f'Where neither gender reaches {below:.0%}, the answer is "can\'t tell": that is so for '
            f"{gender['uncertain_share']['value']:.1%} of the",
            f"faces, and of the others {gender['accuracy_outside']['value']:.1%} are right.",
        ]
    mean = card.get("corruptions", {}).get("mean")
    if mean:
        lines += [
            "On the same chips made dark, blurred, tiny, compressed, covered, badly cropped or turned, the",
            f"error is on average {mean['mae_ratio']:.2f} times as large and gender accuracy "
            f"{mean['gender_points_lost']:.1f} points lower.",
        ]
    return lines


def band_table(age: dict[str, Any], gender: dict[str, Any], groups: dict[str, Any]) -> list[str]:
    """The table by age band, with confidence intervals where the card has them."""
    bands = groups.get("by_age", {})
    between = ", with 95% confidence intervals" if bands else ""
    lines = [f"By labelled age{between}:", ""] if bands else []
    lines += ["| age | chips | error in years | gender accuracy |", "|---|---|---|---|"]
    for band, row in age["by_band"].items():
        error, accuracy = f"{row['mae']:.2f}", f"{gender['by_band'][band]['accuracy']:.1%}"
        found = bands.get(band, {})
        if "age" in found:
            error += " ({low:.2f} to {high:.2f})".format(**found["age"]["mae"])
            accuracy += " ({low:.1%} to {high:.1%})".format(**found["gender"]["accuracy"])
        lines.append(f"| {band.replace('-', '–')} | {row['n']} | {error} | {accuracy} |")
    if bands:
        lines += [
            "",
            "By gender, ethnicity code and their crossings, on bad photos, and how it was trained:",
            "`python -m agegender card`.",
        ]
    return lines


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


def main() -> int:
    """Rewrites or checks the section."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true")
    arguments = parser.parse_args()
    path = ROOT / "README.md"
    text = path.read_text(encoding="utf-8")
    head, _, rest = text.partition(BEGIN)
    _, _, tail = rest.partition(END)
    new = f"{head}{BEGIN}\n{figures()}\n{END}{tail}"
    if arguments.check:
        return int(new != text)
    path.write_text(new, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
