"""Measures how long the app takes to answer, how long its pages take to appear, and what memory it holds.

    python -m tools.bench_pages [--data DIR] [--json FILE]

- *First photo*: from the server's start until a photo that was dropped into the open page has its card.
- *Photo*: the same of a server that has answered before, from the drop on, for a photo of one face and for
  the example with its seven; until the first card stands there, and until all of the page does.
- *Pages*: each page by a click in the menu, until its heading stands there (first paint), and until all does.
- *Memory* of the server after each of these, and after visitors who leave ten photos each in an open page.

Browser and server share the machine. Written are medians of some rounds, in seconds, and megabytes.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import platform
import re
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any, Final

import skimage.data
from PIL import Image
from playwright.sync_api import Browser, FilePayload, Locator, Page, expect
from tqdm import tqdm

from agegender.assets import EXAMPLE
from tools.app_in_browser import PATIENCE, Server, find_chromium, open_chromium, serve, wait_until_drawn

_SETTLED: Final = 300
"""Milliseconds to let the browser rest between two pages."""


def main(arguments: list[str] | None = None) -> int:
    """Runs the command line; returns the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--data", metavar="DIR", help="UTKFace folder for the dataset page; default none")
    parser.add_argument("--rounds", type=int, default=3, metavar="N")
    parser.add_argument("--visitors", type=int, default=20, metavar="N", help="who leave ten photos each")
    parser.add_argument("--json", type=Path, metavar="FILE", help="where to write the figures")
    options = parser.parse_args(arguments)
    chromium = find_chromium()
    if chromium is None:
        print("No browser: install Chromium, or name one in AGEGENDER_CHROMIUM.", file=sys.stderr)
        return 2
    environment = {} if options.data is None else {"UTKFACE_DIR": str(Path(options.data).resolve())}
    start = time.perf_counter()
    with (
        tempfile.TemporaryDirectory() as folder,
        open_chromium(chromium) as browser,
        serve(Path(folder), environment) as server,
    ):
        memory = {}
        visit(browser, server, [_ONE_FACE(0)]).close()
        first = time.perf_counter() - start
        memory["after the first photo"] = memory_of(server)
        photos = {
            name: measure_photos(browser, server, make, options.rounds)
            for name, make in (("one face", _ONE_FACE), ("seven faces", _SEVEN_FACES))
        }
        window = browser.new_page(viewport={"width": 1280, "height": 900})
        pages = measure(window, server.address, options.rounds)
        window.close()
        memory["after all pages"] = memory_of(server)
        guests = [
            visit(browser, server, [_SEVEN_FACES(1000 + 10 * i + k) for k in range(10)])
            for i in range(options.visitors)
        ]
        memory[f"after {10 * len(guests)} photos of {len(guests)} visitors"] = memory_of(server)
        for guest in guests:
            guest.close()
    report = {
        "first_photo": round(first, 2),
        "photo": photos,
        "pages": pages,
        "memory_mb": memory,
        "rounds": options.rounds,
        "dataset": "UTKFace" if environment else None,
        "machine": {"architecture": platform.machine(), "cores": os.cpu_count()},
        "packages": {name: version(name) for name in ("streamlit", "plotly", "playwright")},
    }
    print(f"first photo, from the server's start: {first:.1f} s")
    for name, row in photos.items():
        print(f"photo of {name:11} first card {row['first_card']:5.2f} s   all {row['all']:5.2f} s")
    for name, megabytes in memory.items():
        print(f"memory {name}: {megabytes} MB")
    for name, row in pages.items():
        print(f"{name:20} first paint {row['first_paint']:5.2f} s   all {row['all']:5.2f} s")
    if options.json is not None:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    return 0


def visit(browser: Browser, server: Server, photos: list[bytes]) -> Page:
    """Opens the app in a window of its own, gives it photos, and waits until they are answered."""
    page = browser.new_context(viewport={"width": 1280, "height": 900}).new_page()
    page.set_default_timeout(1000 * PATIENCE)
    page.goto(server.address)
    wait_until_drawn(page, patience=4 * PATIENCE)
    drop(page, photos)
    wait_until_drawn(page, patience=4 * PATIENCE)
    return page


def drop(page: Page, photos: list[bytes]) -> None:
    """Gives the app photos and waits for the first card."""
    files: list[FilePayload] = [
        {"name": f"{number}.jpg", "mimeType": "image/jpeg", "buffer": photo}
        for number, photo in enumerate(photos)
    ]
    page.locator('input[type="file"]').set_input_files(files)
    page.get_by_text("looks about").first.wait_for()


def measure_photos(
    browser: Browser, server: Server, make: Callable[[int], bytes], rounds: int
) -> dict[str, float]:
    """Drops photos that the server has not seen, each into a page of a new visitor.

    Args:
        browser: Chromium.
        server: A server that has answered before.
        make: Gives a photo, another for each number.
        rounds: How many.

    Returns:
        The medians ``first_card`` and ``all``, in seconds from the drop on.
    """
    cards, wholes = [], []
    for number in range(1, rounds + 1):
        page = browser.new_context(viewport={"width": 1280, "height": 900}).new_page()
        page.set_default_timeout(1000 * PATIENCE)
        page.goto(server.address)
        wait_until_drawn(page)
        page.wait_for_timeout(10 * _SETTLED)
        start = time.perf_counter()
        drop(page, [make(number)])
        cards.append(time.perf_counter() - start)
        wait_until_drawn(page)
        wholes.append(time.perf_counter() - start)
        page.context.close()
    return {"first_card": round(median(cards), 2), "all": round(median(wholes), 2)}


def memory_of(server: Server) -> int | None:
    """Megabytes that the server's process holds in memory; ``None`` where the system does not tell."""
    try:
        status = Path(f"/proc/{server.pid}/status").read_text(encoding="utf-8")
    except OSError:
        return None
    return round(int(re.findall(r"VmRSS:\s+(\d+) kB", status)[0]) / 1000)


def _photo(picture: Image.Image, number: int) -> bytes:
    """A photo that differs from every other by a pixel."""
    copy, buffer = picture.copy(), io.BytesIO()
    copy.putpixel((0, 0), (number % 256, number // 256, 0))
    copy.save(buffer, "JPEG", quality=95)
    return buffer.getvalue()


_ONE_FACE: Final = partial(_photo, Image.fromarray(skimage.data.astronaut()).resize((1024, 1024)))
_SEVEN_FACES: Final = partial(_photo, Image.open(EXAMPLE).convert("RGB"))


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
