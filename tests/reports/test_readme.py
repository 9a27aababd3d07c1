"""The README says what the files say."""

from __future__ import annotations

import copy
import re
import subprocess
import sys
from pathlib import Path

from agegender.reports import readme as update_readme

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_figures_are_those_of_the_cards():
    command = [sys.executable, "-m", "agegender.reports.readme", "--check"]
    assert subprocess.run(command, cwd=ROOT, check=False).returncode == 0


def test_what_only_newer_cards_have_is_written_where_it_is_there(monkeypatch):
    read = update_readme.read
    card = copy.deepcopy(read("weights/vggface/card.json"))
    age, gender = card["metrics"]["age"], card["metrics"]["gender"]

    def around(value: float) -> dict[str, float]:
        return {"value": value, "low": value * 0.9, "high": value * 1.1}

    def figures(error: float, accuracy: float) -> dict:
        return {"age": {"mae": around(error)}, "gender": {"accuracy": around(accuracy)}}

    by_age = {
        band: figures(row["mae"], gender["by_band"][band]["accuracy"]) for band, row in age["by_band"].items()
    }
    by_age["76+"] = {"n": 3}
    overall = figures(age["mae"], gender["accuracy"])
    overall["age"] |= {"baseline_mae": 14.25, "baseline_cs5": 0.2}
    overall["gender"] |= {
        "baseline_accuracy": 0.52,
        "uncertain_share": around(0.1),
        "accuracy_outside": around(0.98),
    }
    baseline = {"age": 29.0, "gender": "male", "split": "train"}
    card |= {
        "groups": {"baseline": baseline, "overall": overall, "by_age": by_age},
        "corruptions": {"mean": {"mae_ratio": 1.23, "gender_points_lost": 2.5}},
        "detect": {"n": 1234, "age": {"mae": 4.5, "cs5": 0.7}, "gender": {"accuracy": 0.9}},
    }
    monkeypatch.setattr(update_readme, "read", lambda path: card if "vggface/" in path else read(path))
    text = update_readme.figures()
    for words in (
        "| always saying 29 years and male | 14.25 years | 20.0 % | 52.0 % |",
        "(1,234 found) | 4.50 years",
        "that is so for 10.0 % of the",
        "1.23 times as large and gender accuracy 2.5 points lower",
        "with 95 % confidence intervals",
        f"({0.9 * age['by_band']['0-4']['mae']:.2f} to",
    ):
        assert words in text, words
    assert "%%" not in text
    assert re.search(r"^\| 76\+ \| \d+ \| [\d.]+ \| [\d.]+ % \|$", text, flags=re.MULTILINE)


def test_every_system_that_is_trained_is_in_the_table_and_the_others_are_named(monkeypatch):
    read = update_readme.read
    comparison = copy.deepcopy(read("docs/measurements/compare.json"))
    ours = comparison["models"][0]
    comparison["models"] = [
        ours,
        ours | {"name": "better", "mae": 3.21, "mae_interval": [3.0, 3.4]},
        ours | {"name": "unborn", "trained": False},
    ]
    monkeypatch.setattr(
        update_readme, "read", lambda path: comparison if path.endswith("compare.json") else read(path)
    )
    lines = update_readme.systems_table()
    named = [line.split(" | ")[0] for line in lines if line.startswith("| `")]
    assert named[:2] == ["| `better`", "| `vggface`"]
    assert "3.21 (3.00–3.40)" in "\n".join(lines)
    assert lines[-1] == "Not trained yet: `unborn`."


def test_every_linked_file_is_there():
    links = [link for link in re.findall(r"\]\(([^)#]+)\)", README) if "://" not in link]
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_no_dataset_image_and_no_machine_path_is_committed():
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert [file for file in tracked.splitlines() if file.endswith(".chip.jpg")] == []
