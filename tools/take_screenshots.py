"""Takes the pictures of the app that README and docs show: python -m tools.take_screenshots [NAME...].

They come from the running app with the shipped models, in a browser. People are those of the built-in
example, who are free to show; the dataset page is opened without a folder, so that no picture of UTKFace is
on it.
"""

from __future__ import annotations

import argparse
import io
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from PIL import Image
from playwright.sync_api import Browser

from tools.app_in_browser import PATIENCE, ROOT, find_chromium, open_chromium, serve, wait_until_drawn

FOLDER: Final = ROOT / "docs" / "images"
MAX_BYTES: Final = 200_000
_QUALITIES: Final = (88, 80, 70, 60)


@dataclass(frozen=True)
class Shot:
    """A picture to take.

    Attributes:
        path: Of the page, with its choices.
        size: Width and height of the window, in pixels.
        theme: "light" or "dark".
        heading: A heading to begin the picture with; "" for the top of the page.
    """

    path: str
    size: tuple[int, int]
    theme: str = "light"
    heading: str = ""


SHOTS: Final = {
    "app": Shot("/?example=true", (1280, 1460)),
    "explain": Shot("/explain?example=true&face=6", (1280, 1280), heading="Where the answer comes from"),
    "training": Shot("/training_curves", (1280, 1280), "dark"),
    "compare": Shot("/compare_models", (1280, 1000)),
    "dataset": Shot("/dataset_explorer", (1280, 1000)),
}


def main(arguments: list[str] | None = None) -> int:
    """Takes the pictures; see the module's docstring."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"which of {', '.join(SHOTS)}; default all")
    names = parser.parse_args(arguments).names or list(SHOTS)
    unknown = set(names) - SHOTS.keys()
    if unknown:
        parser.error(f"no picture is called {', '.join(sorted(unknown))}")
    chromium = find_chromium()
    if chromium is None:
        print("no browser: `apt-get install chromium`, or name one in AGEGENDER_CHROMIUM", file=sys.stderr)
        return 2
    FOLDER.mkdir(exist_ok=True)
    with (
        tempfile.TemporaryDirectory() as folder,  # with no runs but those of the published models
        serve(Path(folder)) as server,
        open_chromium(chromium) as browser,
    ):
        for name in names:
            picture = to_webp(take(browser, server.address, SHOTS[name]))
            (FOLDER / f"{name}.webp").write_bytes(picture)
            print(f"docs/images/{name}.webp  {len(picture) / 1000:.0f} kB")
    return 0


def take(browser: Browser, address: str, shot: Shot) -> Image.Image:
    """Opens a page and takes its picture."""
    width, height = shot.size
    page = browser.new_page(viewport={"width": width, "height": height}, color_scheme=shot.theme)
    page.set_default_timeout(1000 * PATIENCE)
    page.goto(address + shot.path)
    wait_until_drawn(page)
    if shot.heading:
        heading = page.get_by_role("heading", name=shot.heading)
        heading.evaluate("element => element.scrollIntoView({block: 'start'})")
    png = page.screenshot(animations="disabled")
    page.close()
    return Image.open(io.BytesIO(png)).convert("RGB")


def to_webp(picture: Image.Image) -> bytes:
    """Encodes a picture as well as fits into `MAX_BYTES`.

    Raises:
        ValueError: It does not fit.
    """
    for quality in _QUALITIES:
        buffer = io.BytesIO()
        picture.save(buffer, "WEBP", quality=quality, method=6)
        if buffer.tell() <= MAX_BYTES:
            return buffer.getvalue()
    raise ValueError(f"a picture of {picture.size} does not fit into {MAX_BYTES:,} bytes")


if __name__ == "__main__":
    raise SystemExit(main())
