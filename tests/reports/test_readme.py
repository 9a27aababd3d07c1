"""The README says what the files say."""

from __future__ import annotations

import copy
import json
import re
import subprocess
from pathlib import Path

from agegender.assets import COMPARISON
from agegender.models.card import read_card
from agegender.reports.__main__ import documents, main
from agegender.reports.readme import band_table, systems_table

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
    for name in ("docs/audit.md", "docs/systems.md"):
        (tmp_path / name).write_text("old", encoding="utf-8")
    (tmp_path / "README.md").write_text(README, encoding="utf-8")
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
    age, gender, groups = card["metrics"]["age"], card["metrics"]["gender"], card["groups"]
    groups["by_age"]["76+"] = {"n": 3}
    text = "\n".join(band_table(age, gender, groups))
    assert re.search(r"^\| 76\+ \| \d+ \| [\d.]+ \| [\d.]+ % \|$", text, flags=re.MULTILINE)
    low = groups["by_age"]["0-4"]["age"]["mae"]["low"]
    assert f"({low:.2f} to" in text


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


def test_every_linked_file_is_there():
    links = [link for link in re.findall(r"\]\(([^)#]+)\)", README) if "://" not in link]
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_no_dataset_image_and_no_machine_path_is_committed():
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert [file for file in tracked.splitlines() if file.endswith(".chip.jpg")] == []
