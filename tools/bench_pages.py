"""Measures how long the app's pages take to appear.

    python -m tools.bench_pages [--data DIR] [--json FILE]

Every page of the menu is opened once, and then, for some rounds, by a click in the menu: until its heading
stands there (first paint), and until all of it does. Written are medians, in seconds. The figures in
docs/measurements/pages.json were measured with a folder of UTKFace.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any, Final

from playwright.sync_api import Locator, Page, expect
from tqdm import tqdm

from tools.app_in_browser import PATIENCE, find_chromium, open_chromium, serve, wait_until_drawn

_SETTLED: Final = 300
"""Milliseconds to let the browser rest between two pages."""


def main(arguments: list[str] | None = None) -> int:
    """Runs the command line; returns the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--data", metavar="DIR", help="UTKFace folder for the dataset page; default none")
    parser.add_argument("--rounds", type=int, default=3, metavar="N")
    parser.add_argument("--json", type=Path, metavar="FILE", help="where to write the figures")
    options = parser.parse_args(arguments)
    chromium = find_chromium()
    if chromium is None:
        print("No browser: install Chromium, or name one in AGEGENDER_CHROMIUM.", file=sys.stderr)
        return 2
    environment = {} if options.data is None else {"UTKFACE_DIR": str(Path(options.data).resolve())}
    with (
        tempfile.TemporaryDirectory() as folder,
        serve(Path(folder), environment) as server,
        open_chromium(chromium) as browser,
    ):
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        pages = measure(page, server.address, options.rounds)
    report = {
        "seconds": pages,
        "rounds": options.rounds,
        "dataset": "UTKFace" if environment else None,
        "machine": {"architecture": platform.machine(), "cores": os.cpu_count()},
        "packages": {name: version(name) for name in ("streamlit", "plotly", "playwright")},
    }
    for name, row in pages.items():
        print(f"{name:20} first paint {row['first_paint']:5.2f} s   all {row['all']:5.2f} s")
    if options.json is not None:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    return 0


def measure(page: Page, address: str, rounds: int) -> dict[str, dict[str, Any]]:
    """Goes through the menu again and again.

    Args:
        page: A window.
        address: Of the app.
        rounds: How often each page is measured, after a first visit that is not.

    Returns:
        By name of the page, the medians ``first_paint`` and ``all``, in seconds.
    """
    page.set_default_timeout(1000 * PATIENCE)
    page.goto(address)
    wait_until_drawn(page, patience=4 * PATIENCE)
    links = page.get_by_test_id("stSidebarNavLink").all()
    names = [link.inner_text().split(maxsplit=1)[-1] for link in links]  # the icon comes first
    heading = page.get_by_role("heading", level=1)
    titles: list[str] = []
    for link in [*links[1:], links[0]]:  # the app opens with the first, whose link would change nothing
        _follow(page, link)
        wait_until_drawn(page, patience=4 * PATIENCE)
        titles.append(heading.first.inner_text())
    titles = [titles[-1], *titles[:-1]]
    paints: dict[str, list[float]] = {name: [] for name in names}
    wholes: dict[str, list[float]] = {name: [] for name in names}
    for _ in tqdm(range(rounds), desc="rounds", file=sys.stderr, disable=None):
        order = [*range(1, len(links)), 0]
        for i in order:
            page.wait_for_timeout(_SETTLED)
            start = time.perf_counter()
            links[i].click()
            expect(heading.first).to_have_text(re.compile(re.escape(titles[i])))
            paints[names[i]].append(time.perf_counter() - start)
            wait_until_drawn(page)
            wholes[names[i]].append(time.perf_counter() - start)
    return {
        name: {"first_paint": round(median(paints[name]), 2), "all": round(median(wholes[name]), 2)}
        for name in names
    }


def _follow(page: Page, link: Locator) -> None:
    before = page.url
    link.click()
    page.wait_for_url(lambda url: url != before)
    page.wait_for_timeout(10 * _SETTLED)


if __name__ == "__main__":
    sys.exit(main())
