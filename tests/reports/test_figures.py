"""README and docs say what the figures say, and their links lead somewhere."""

from __future__ import annotations

import copy
import json
import re
import subprocess
from pathlib import Path

import pytest

from agegender.assets import COMPARISON
from agegender.models.card import read_card
from agegender.reports.__main__ import documents, main
from agegender.reports.figures import band_table, set_sentence, summary, systems_table

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_documents_say_what_the_figures_say():
    stale = [path.name for path, text in documents(ROOT).items() if path.read_text(encoding="utf-8") != text]
    assert stale == [], "run python -m agegender.reports"


def test_checking_writes_nothing_and_writing_makes_it_so(tmp_path, monkeypatch, capsys):
    for name in ("docs", "weights"):
        (tmp_path / name).mkdir()
    for name in ("docs/measurements", "weights/vggface", "weights/mobilenet-vggface2"):
        (tmp_path / name).symlink_to(ROOT / name)
    for name in ("docs/audit.md", "docs/figures.md", "docs/robustness.md", "docs/systems.md"):
        (tmp_path / name).write_text("old", encoding="utf-8")
    (tmp_path / "README.md").write_text(README, encoding="utf-8")
    (tmp_path / "docs" / "data.md").write_text((ROOT / "docs" / "data.md").read_text("utf-8"), "utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["reports", "--check"])
    assert main() == 1
    assert (tmp_path / "docs" / "audit.md").read_text(encoding="utf-8") == "old"
    monkeypatch.setattr("sys.argv", ["reports"])
    assert main() == 0
    assert "audit.md written" in capsys.readouterr().out
    for path, text in documents(ROOT).items():
        assert (tmp_path / path.relative_to(ROOT)).read_text(encoding="utf-8") == text


def test_a_band_of_few_faces_has_no_intervals():
    card = copy.deepcopy(read_card("vggface"))
    groups = card["groups"]
    groups["by_age"]["76+"] = {"n": 3}
    text = "\n".join(band_table(card))
    assert re.search(r"^\| 76\+ \| \d+ \| [\d.]+ \| – \| [\d.]+ % \|$", text, flags=re.MULTILINE)
    low = groups["by_age"]["0-4"]["age"]["mae"]["low"]
    assert f"({low:.2f} to" in text


def test_photos_of_other_sources_are_told_by_their_weakest_group():
    def group(accuracy: float) -> dict:
        return {"n": 50, "gender": {"accuracy": {"value": accuracy}}}

    groups = {"by_age": {"0-2": group(0.71), "3-9": {"n": 4}}, "by_ethnicity": {"Black": group(0.84)}}
    measured = {"n": 1936, "gender": {"accuracy": 0.9}, "groups": groups}
    exact = set_sentence("appa-real", {**measured, "age": {"mae": 5.54}})
    assert "photos of APPA-REAL" in exact
    assert "gender 71.0% at 0–2, 90.0% over all; age is off by 5.54 years." in exact
    ranges = {"mae": 9.9, "ranges_n": 1936, "in_range": 0.529, "years_outside": 2.78}
    assert "labelled range for 52.9%, 2.8 years off it." in set_sentence("mine", {**measured, "age": ranges})


def test_the_summary_names_the_ages_at_which_the_model_is_best_and_worst():
    card = copy.deepcopy(read_card("vggface"))
    bands = card["metrics"]["age"]["by_band"]
    for band, row in bands.items():
        row["mae"] = {"5-9": 1.25, "61-75": 8.5}.get(band, 4.0)
    for band, group in card["groups"]["by_age"].items():
        group["age"]["interval_coverage"]["value"] = {"0-4": 0.81, "76+": 0.97}.get(band, 0.9)
    card["groups"]["by_age"]["10-15"] = {"n": 3}
    comparison = json.loads(COMPARISON.read_text(encoding="utf-8"))
    bench = json.loads((ROOT / "docs" / "measurements" / "bench.json").read_text(encoding="utf-8"))
    text = " ".join(summary(card, comparison, bench).split())
    assert "1.25 years at 5–9 to 8.50 years at 61–75" in text
    assert "(81.0 % at 0–4 to 97.0 % at 76+)" in text
    assert text.count("- ") >= 5 and "beside 11 other systems" in text


def test_every_system_that_is_trained_is_in_the_table_and_the_others_are_named():
    comparison = json.loads(COMPARISON.read_text(encoding="utf-8"))
    ours = comparison["models"][0]
    comparison["models"] = [
        ours,
        ours | {"name": "better", "mae": 3.21, "mae_interval": [3.0, 3.4]},
        ours | {"name": "unborn", "trained": False},
    ]
    lines = systems_table(comparison)
    named = [line.split(" | ")[0] for line in "\n".join(lines).splitlines() if line.startswith("| `")]
    assert named[:2] == ["| `better`", "| `vggface`"]
    assert "3.21 (3.00 to 3.40)" in "\n".join(lines)
    assert lines[-1] == "Not trained yet: `unborn`."


@pytest.mark.parametrize(
    "page", [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")], ids=lambda page: page.name
)
def test_every_linked_file_is_there(page):
    links = re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text(encoding="utf-8"))
    assert [link for link in links if "://" not in link and not (page.parent / link).exists()] == []


def test_no_dataset_image_and_no_machine_path_is_committed():
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert [file for file in tracked.splitlines() if file.endswith(".chip.jpg")] == []
