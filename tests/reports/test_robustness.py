"""The page on robustness says what was measured, faults first of all."""

from __future__ import annotations

import copy
import json
from pathlib import Path

from agegender.reports.robustness import MEASURED, report

MEASUREMENTS = Path(__file__).parents[2] / "docs" / "measurements"


def test_the_report_follows_its_figures():
    measured = {
        name: json.loads((MEASUREMENTS / f"{name}.json").read_text(encoding="utf-8")) for name in MEASURED
    }
    fuzz, turned = measured["fuzz"], measured["turned"]
    assert "Faults: none." in report(measured)
    assert fuzz["faults"] == []
    for figures in turned["faces"].values():
        before, after = figures["before"]["upright"], figures["after"]["upright"]
        refused_or_warned = [1 - shares["answered"] + shares["warned"] for shares in (before, after)]
        assert refused_or_warned[1] - refused_or_warned[0] <= 0.005
        assert min(figures["after"][degrees]["cropped upright"] for degrees in ("90", "180", "270")) > 0.9
    assert measured["visitors"]["errors"] == measured["kills"]["faults"] == []
    changed = copy.deepcopy(fuzz)
    changed["faults"] = [{}, {}]
    changed["targets"]["pictures"]["faults"] = 2
    changed["peak_memory_mb"] = 2345
    text = report(measured | {"fuzz": changed})
    assert "Faults: 2." in text
    assert "2,345 MB" in text.replace("\n", " ")
    assert max(len(line) for line in text.splitlines() if not line.startswith("|")) <= 110
