"""The page on robustness says what was measured, faults first of all."""

from __future__ import annotations

import copy
import json
from pathlib import Path

from agegender.reports.robustness import report

MEASUREMENTS = Path(__file__).parents[2] / "docs" / "measurements"


def test_the_report_follows_its_figures():
    fuzz, limits, conditions = (
        json.loads((MEASUREMENTS / f"{name}.json").read_text(encoding="utf-8"))
        for name in ("fuzz", "limits", "conditions")
    )
    assert "Faults: none." in report(fuzz, limits, conditions)
    assert fuzz["faults"] == []
    changed = copy.deepcopy(fuzz)
    changed["faults"] = [{}, {}]
    changed["targets"]["pictures"]["faults"] = 2
    changed["peak_memory_mb"] = 2345
    text = report(changed, limits, conditions)
    assert "Faults: 2." in text
    assert "2,345 MB" in text.replace("\n", " ")
    assert max(len(line) for line in text.splitlines() if not line.startswith("|")) <= 110
