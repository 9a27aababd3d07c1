"""Measures how long visitors of the app wait for answers, and what its server holds in memory.

    python -m tools.bench_app [--before CHECKOUT]

In a Chromium on the same machine: from starting the server until a page is open and the first uploaded photo
has its first card; later, with all loaded, from an upload to its first card; and the server's memory after
each of some visitors has brought some photos, once nobody can come back to these, and the same after as many
visitors again. Both versions take turns, and so does an app of three lines that only says that a file came:
what Streamlit and the browser take by themselves. Goes to docs/benchmarks/, see `tools.bench_history`. Linux
only, for the memory.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.metadata import version
from itertools import cycle, islice
from pathlib import Path
from statistics import median
from typing import Any, Final

from playwright.sync_api import Browser, FilePayload, Page
from tqdm import tqdm

from agegender.assets import EXAMPLE
from tools.app_in_browser import (
    PATIENCE,
    ROOT,
    Server,
    find_chromium,
    open_chromium,
    serve,
    wait_until_drawn,
)
from tools.bench_history import BARE, BEFORE, FOLDER, NOW, record
from tools.bench_rivals.photos import write_photos


@dataclass(frozen=True)
class App:
    """A version of the app, by its checkout, and variables on top of this process's."""

    checkout: Path
    environment: Mapping[str, str] = field(default_factory=dict)

    @contextmanager
    def served(self) -> Iterator[Server]:
        """Runs it until the context is left."""
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            # The version before names its icon by a path that is relative to where it is started.
            (folder / "ui").symlink_to(self.checkout / "ui", target_is_directory=True)
            with serve(folder, self.environment, checkout=self.checkout) as server:
                yield server


_ANSWERED = """() => [...document.querySelectorAll("p")].some(
    (words) => words.textContent.startsWith("looks about") && words.checkVisibility()
)"""
_OPEN = """() => document.querySelector('input[type="file"]') !== null"""
"""Whether a card is there, and whether the uploader is, for the browser."""

_BARE = """import streamlit as st
if st.file_uploader("photo", accept_multiple_files=True):
    st.markdown("looks about right")
"""

_GONE: Final = 135.0
"""Seconds after which nobody can come back to their photos: server.disconnectedSessionTTL is 120."""


def main() -> int:
    """Runs the command line; returns the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--before", type=Path, help="a checkout of the version before")
    parser.add_argument("--starts", type=int, default=3, help="how often the server is started")
    parser.add_argument("--uploads", type=int, default=5, help="later uploads, each start")
    parser.add_argument("--visitors", type=int, default=20)
    parser.add_argument("--photos", type=int, default=10, help="of each visitor")
    parser.add_argument("--output", type=Path, default=FOLDER)
    options = parser.parse_args()
    chromium = find_chromium()
    if chromium is None:
        print("No browser: install Chromium, or name one in AGEGENDER_CHROMIUM.", file=sys.stderr)
        return 2
    apps = {NOW: App(ROOT)}
    if options.before:
        before = options.before.resolve()
        apps[BEFORE] = App(before, {"AGEGENDER_WEIGHTS": str(before / "weights")})
    load = os.getloadavg()[0]
    waits: dict[str, list[dict[str, Any]]] = {name: [] for name in [*apps, BARE]}
    with open_chromium(chromium) as browser, tempfile.TemporaryDirectory() as bare:
        (Path(bare) / "app.py").write_text(_BARE, encoding="utf-8")
        for _ in tqdm(range(options.starts), desc="starts", disable=None):
            for name, app in (apps | {BARE: App(Path(bare))}).items():
                waits[name].append(measure_waits(app, browser, options.uploads))
        with tempfile.TemporaryDirectory() as folder:
            photos = [path.read_bytes() for path in write_photos(Path(folder))]
        memory = {
            name: measure_memory(app, browser, photos, options.visitors, options.photos)
            for name, app in apps.items()
        }
    figures = {
        "load": load,
        "starts": options.starts,
        "uploads": options.uploads,
        "visitors": options.visitors,
        "photos": options.visitors * options.photos,
        "packages": {name: version(name) for name in ("streamlit", "playwright")},
        "versions": {name: _medians(waits[name]) | memory.get(name, {}) for name in waits},
    }
    print(record("app", figures, options.output))
    return 0


def measure_waits(app: App, browser: Browser, uploads: int) -> dict[str, Any]:
    """Starts a server and times its answers.

    Args:
        app: Which.
        browser: Is running already.
        uploads: How many photos are uploaded after the first one, each by a new visitor.

    Returns:
        Seconds: ``start_to_page_s``, ``first_upload_to_card_s`` and ``start_to_first_card_s``, the whole; and
        ``upload_to_card_s``, a list.
    """
    began = time.perf_counter()
    with app.served() as server:
        with _visitor(browser, server.address) as page:
            opened = time.perf_counter()
            first = _upload(page, {"example.jpg": EXAMPLE.read_bytes()})
            answered = time.perf_counter()
        later = []
        for _ in range(uploads):
            with _visitor(browser, server.address) as page:
                wait_until_drawn(page)
                later.append(_upload(page, {"example.jpg": EXAMPLE.read_bytes()}))
                wait_until_drawn(page)
    return {
        "start_to_page_s": opened - began,
        "first_upload_to_card_s": first,
        "start_to_first_card_s": answered - began,
        "upload_to_card_s": later,
    }


def measure_memory(
    app: App, browser: Browser, photos: Sequence[bytes], visitors: int, each: int
) -> dict[str, Any]:
    """Lets visitors come one after another, bring their photos all at once, and go when they have seen them.

    Then as many again. A visitor who has left may come back for a while, so that their photos stay that long.

    Args:
        app: Which.
        browser: Is running already.
        photos: JPEG files.
        visitors: How many come.
        each: How many photos each of them brings; no two are the same file.

    Returns:
        Megabytes of 10⁶ bytes that the server holds: ``memory_mb_by_visitor``, after each one; ``memory_mb``
        and ``peak_memory_mb`` after the first so many visitors; and ``memory_mb_without_visitors``, once all
        have left for good, of both times.
    """
    held, alone = [], []
    peak = 0.0
    with app.served() as server:
        for visitor in tqdm(range(2 * visitors), desc="visitors", disable=None):
            # What follows a JPEG's end is nobody's concern, and makes it another file.
            files = {
                f"photo-{number}.jpg": photo + bytes([visitor, number])
                for number, photo in enumerate(islice(cycle(photos), each))
            }
            with _visitor(browser, server.address) as page:
                _upload(page, files)
                wait_until_drawn(page)
            held.append(_status(server.pid, "VmRSS"))
            peak = peak or (len(held) == visitors and _status(server.pid, "VmHWM"))
            if len(held) % visitors == 0:
                time.sleep(_GONE)
                alone.append(_status(server.pid, "VmRSS"))
    return {
        "memory_mb": held[visitors - 1],
        "peak_memory_mb": peak,
        "memory_mb_by_visitor": held,
        "memory_mb_without_visitors": alone,
    }


@contextmanager
def _visitor(browser: Browser, address: str) -> Iterator[Page]:
    """A window of somebody new, in which the first page is open."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    page = context.new_page()
    page.set_default_timeout(1000 * PATIENCE)
    page.goto(address)
    page.wait_for_function(_OPEN, polling="raf")  # a locator looks ever more rarely, at last twice a second
    yield page
    context.close()


def _upload(page: Page, files: Mapping[str, bytes]) -> float:
    """Uploads JPEG files; returns the seconds until the first card is there."""
    began = time.perf_counter()
    page.locator('input[type="file"]').set_input_files(
        [FilePayload(name=name, mimeType="image/jpeg", buffer=data) for name, data in files.items()]
    )
    page.wait_for_function(_ANSWERED, polling="raf")
    return time.perf_counter() - began


def _medians(runs: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    def all_of(key: str) -> list[float]:
        values = [run[key] for run in runs]
        return [one for many in values for one in many] if isinstance(values[0], list) else values

    return {key: round(median(all_of(key)), 3) for key in runs[0]}


def _status(process: int, key: str) -> float:
    text = Path(f"/proc/{process}/status").read_text(encoding="ascii", errors="replace")
    kilobytes = next(line.split()[1] for line in text.splitlines() if line.startswith(f"{key}:"))
    return round(int(kilobytes) * 1024 / 1e6, 1)


if __name__ == "__main__":
    sys.exit(main())
