"""The audit report says what the measurements say, and shows nobody."""

from __future__ import annotations

import copy
import json
import re
from pathlib import Path

import pytest

from agegender.assets import AUDIT
from agegender.audit.contact_sheets import DISTANCE_BANDS, PAIRS_PER_BAND, SAMPLE_SEED
from agegender.audit.label_table import read_label_table
from agegender.data.duplicates import NEAR_DUPLICATE_BITS
from agegender.reports.audit import report

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def audit():
    return json.loads(AUDIT.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def by_eye():
    return json.loads((ROOT / "docs" / "measurements" / "audit-by-eye.json").read_text(encoding="utf-8"))


def test_the_report_follows_its_figures(audit, by_eye):
    changed = copy.deepcopy(audit)
    changed["duplicates"]["photos"] = 4321
    changed["label_noise"]["age_floor"]["value"] = 9.87
    text = report(changed, by_eye)
    assert "**4,321 photos are there more than once**" in text
    assert "**9.87 years**" in text


def test_lines_are_short_enough_to_read_in_a_terminal(audit, by_eye):
    lines = report(audit, by_eye).splitlines()
    assert max(len(line) for line in lines if not line.startswith("|")) <= 110


def test_files_are_named_only_where_they_cannot_be_used(audit):
    text = (ROOT / "docs" / "audit.md").read_text(encoding="utf-8")
    unusable = [*audit["damaged_names"], *audit["unreadable"], *audit["no_picture"]]
    allowed = {entry["file"] for entry in unusable}
    assert set(re.findall(r"\d+_\d+_[\w.]*jpg", text)) == allowed


def test_the_look_by_eye_is_of_the_sample_the_command_draws(audit, by_eye):
    assert by_eye["sample_seed"] == SAMPLE_SEED
    bands = {f"{low}-{high}": (low, high) for low, high in DISTANCE_BANDS}
    assert by_eye["pairs_by_bits"].keys() == bands.keys()
    for name, (low, high) in bands.items():
        counts = by_eye["pairs_by_bits"][name]
        pairs = sum(n for bits, n in audit["duplicates"]["pairs_by_bits"].items() if low <= int(bits) <= high)
        assert counts["shown"] == min(PAIRS_PER_BAND, pairs)
        assert sum(n for key, n in counts.items() if key != "shown") == counts["shown"]
    for counts in by_eye["suspects_by_rank"].values():
        assert sum(n for key, n in counts.items() if key != "shown") == counts["shown"]
        assert counts["shown"] <= audit["suspects"]["files"]


def test_the_threshold_is_the_one_that_was_looked_at(audit):
    assert audit["duplicates"]["threshold_bits"] == NEAR_DUPLICATE_BITS
    assert audit["split"]["straddling_groups"] == 0


def test_the_shipped_labels_are_those_of_the_audit(audit):
    labels = read_label_table()
    assert len(labels) == audit["labelled"]
    assert labels["split"].value_counts().to_dict() == {
        name: audit["split"][name] for name in ("train", "validation", "test")
    }
    assert int((labels["copies"] > 1).sum()) == audit["duplicates"]["files"]
    days = labels["captured"].dt.strftime("%Y-%m-%d").value_counts().to_dict()
    assert days == audit["dates"]["by_day"]
