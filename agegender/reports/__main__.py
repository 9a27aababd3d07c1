"""Writes what the repository says in figures: python -m agegender.reports [--check].

README.md's lines of figures, docs/figures.md, docs/systems.md, docs/robustness.md, docs/audit.md and figures
in docs/data.md, from the cards and from what commands measured. To be run in the repository's root. --check
changes nothing and exits with 1 where a document is not what the figures say.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from agegender.assets import AUDIT, COMPARISON
from agegender.models.card import read_card
from agegender.reports import audit, data, figures, robustness, systems


def documents(root: Path) -> dict[Path, str]:
    """All documents as the figures would have them.

    Args:
        root: The repository's.

    Returns:
        What each file should hold.
    """

    def read(path: Path) -> Any:
        return json.loads(path.read_text(encoding="utf-8"))

    comparison, measurements, weights = read(COMPARISON), root / "docs" / "measurements", root / "weights"
    card, bench = read_card("vggface", weights), read(measurements / "bench.json")
    text, sources = (
        path.read_text(encoding="utf-8") for path in (root / "README.md", root / "docs" / "data.md")
    )
    return {
        root / "README.md": figures.with_figures(text, figures.summary(card, comparison, bench)),
        root / "docs" / "figures.md": figures.report(
            card,
            read_card("mobilenet-vggface2", weights),
            comparison,
            bench=bench,
            throughput=read(measurements / "training-throughput.json"),
        ),
        root / "docs" / "systems.md": systems.report(comparison),
        root / "docs" / "robustness.md": robustness.report(
            {name: read(measurements / f"{name}.json") for name in robustness.MEASURED}
        ),
        root / "docs" / "data.md": figures.with_figures(
            sources,
            data.section(read(measurements / "sources.json"), read(measurements / "sources-by-eye.json")),
        ),
        root / "docs" / "audit.md": audit.report(read(AUDIT), read(measurements / "audit-by-eye.json")),
    }


def main() -> int:
    """Writes or checks the documents; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m agegender.reports", description=__doc__)
    parser.add_argument("--check", action="store_true", help="only say whether they are up to date")
    check = parser.parse_args().check
    changed = {path: text for path, text in documents(Path()).items() if path.read_text("utf-8") != text}
    for path, text in changed.items():
        print(f"{path} {'is not up to date' if check else 'written'}")
        if not check:
            path.write_text(text, encoding="utf-8")
    return int(check and bool(changed))


if __name__ == "__main__":
    sys.exit(main())
