"""What docs/data.md says of the sources follows what the audit of them measured."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import pytest

from agegender.assets import AUDIT
from agegender.reports.data import section

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def measured():
    folder = ROOT / "docs" / "measurements"
    return [json.loads((folder / f"{name}.json").read_text()) for name in ("sources", "sources-by-eye")]


def test_the_section_follows_its_figures(measured):
    audit, by_eye = copy.deepcopy(measured)
    audit["sources"] = {"mine": {"files": 1234, "ranges": 5, "no_face": 6, "leaked": 7, "split": {"dev": 8}}}
    audit["photos_in_several_sources"] = 4321
    by_eye["across_sources_by_bits"]["25-28"] = {"shown": 9, "same_photo": 3, "different": 6}
    text = section(audit, by_eye)
    assert "| mine | 1,234 | 5 | 0 | 0 | 0 | 8 | 6 | 7 |" in text
    assert "4,321 of them in two sources" in text
    assert "3 of 9 from 25 to 28 bits" in " ".join(text.split())
    assert max(len(line) for line in text.splitlines() if not line.startswith("|")) <= 110


def test_utkface_is_split_there_as_it_is_alone(measured):
    alone = json.loads(AUDIT.read_text(encoding="utf-8"))["split"]
    among = measured[0]["sources"]["utkface"]["split"]
    assert {name: alone[name] for name in ("train", "validation", "test")} == among
