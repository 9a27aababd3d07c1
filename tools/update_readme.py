"""Writes the README's figures from the cards and measurements: python -m tools.update_readme [--check].

--check changes nothing and exits with 1 where the README is not what the files say.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
BEGIN = "<!-- figures: written by tools/update_readme.py; do not edit by hand -->\n"
END = "<!-- end of figures -->\n"


def read(path: str) -> dict[str, Any]:
    """Reads a JSON file below the repository's root."""
    values: dict[str, Any] = json.loads((ROOT / path).read_text(encoding="utf-8"))
    return values


def figures() -> str:
    """The section's text."""
    card, base = read("weights/vggface/card.json"), read("weights/mobilenet-vggface2/card.json")
    detect = read("docs/measurements/evaluate-detect.json")
    metrics, zero_shot = card["metrics"], base["zero_shot"]
    age, gender = metrics["age"], metrics["gender"]
    gained = zero_shot["age_mae"] - age["mae"]
    rows = (
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
    )
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
        "",
        "| age | chips | error in years | gender accuracy |",
        "|---|---|---|---|",
    ]
    for band, row in age["by_band"].items():
        accuracy = gender["by_band"][band]["accuracy"]
        lines.append(f"| {band.replace('-', '–')} | {row['n']} | {row['mae']:.2f} | {accuracy:.1%} |")
    bench = read("docs/measurements/bench.json")
    lines += ["", speed_sentence(bench)]
    return "\n".join(lines).replace("%", " %") + "\n"


def speed_sentence(bench: dict[str, Any]) -> str:
    """One sentence on speed from what `bench` wrote."""
    predict, photo = bench["predict_ms_per_face"], bench["photo"]
    cores, size = bench["machine"]["cores"], f"{photo['width']} × {photo['height']}"
    return (
        f"Speed on {cores} CPU cores, no GPU (`python -m agegender bench`): {predict['8']:.0f} ms a face\n"
        f"for both networks in a batch of 8, and {photo['ms'] / 1000:.1f} s for a photo of {size} pixels\n"
        f"with {photo['faces']} faces, detection included."
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
