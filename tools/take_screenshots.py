"""Takes the pictures of the app that README and docs show: python -m tools.take_screenshots [NAME...].

They come from the running app with the shipped models, in a browser. People are those of the built-in
example and of scikit-image's, who are free to show; the dataset page is opened without a folder, so that no
picture of UTKFace is on it.
"""

from __future__ import annotations

import argparse
import io
import math
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final, Literal

import cv2
from PIL import Image
from playwright.sync_api import Browser, FilePayload, Page

from tools.app_in_browser import PATIENCE, ROOT, find_chromium, open_chromium, serve, wait_until_drawn
from tools.clips import Pixels, film, portraits, put, save_clip, scene

FOLDER: Final = ROOT / "docs" / "images"
MAX_BYTES: Final = 200_000
_QUALITIES: Final = (88, 80, 70, 60)


@dataclass(frozen=True)
class Shot:
    """A picture to take.

    Attributes:
        path: Of the page, with its choices.
        size: Width and height of the window, in pixels.
        theme: Of the app.
        heading: A heading to begin the picture with; "" for the top of the page.
        act: What to do on the page first.
    """

    path: str
    size: tuple[int, int]
    theme: Literal["light", "dark"] = "light"
    heading: str = ""
    act: Callable[[Page], None] = lambda page: None


_heads = cache(portraits)


def draw_people(frame: Pixels, time: float) -> None:
    """Two people who sway, before the webcam or in a clip."""
    width, height = frame.shape[1::-1]
    sway = 0.004 * width * math.sin(math.pi * time)
    put(frame, _heads()["collins"], 0.3 * width + sway, 0.5 * height, 0.6 * height)
    put(frame, _heads()["hopper"], 0.7 * width - sway, 0.52 * height, 0.58 * height)


def follow_clip(page: Page) -> None:
    """Uploads a clip in which one of the two comes later, and waits for its people."""

    def draw(frame: Pixels, time: float) -> None:
        draw_people(frame, time)
        if time < 2:
            frame[:, frame.shape[1] // 2 :] = scene(*frame.shape[1::-1])[:, frame.shape[1] // 2 :]

    clip = io.BytesIO()
    save_clip(clip, film(draw, 6, 10, (640, 360)), container="mp4")
    file = FilePayload(name="two people.mp4", mimeType="video/mp4", buffer=clip.getvalue())
    page.locator('input[type="file"]').set_input_files(file)
    page.get_by_role("button", name="Look at it").click()
    page.get_by_role("heading", name="All people").wait_for()
    wait_until_drawn(page)


def start_camera(page: Page) -> None:
    """Starts it and waits until an age has settled."""
    page.get_by_role("button", name="Start camera").click()
    page.locator("canvas[aria-label*='person 2']").wait_for()
    page.wait_for_timeout(4000)


SHOTS: Final = {
    "app": Shot("/?example=true", (1280, 1460)),
    "explain": Shot("/explain?example=true&face=6", (1280, 1280), heading="Where the answer comes from"),
    "video": Shot("/video", (1280, 1700), act=follow_clip),
    "live": Shot("/live", (1280, 1000), act=start_camera),
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
        open_chromium(chromium, _camera(Path(folder))) as browser,
    ):
        for name in names:
            picture = to_webp(take(browser, server.address, SHOTS[name]))
            (FOLDER / f"{name}.webp").write_bytes(picture)
            print(f"docs/images/{name}.webp  {len(picture) / 1000:.0f} kB")
    return 0


def _camera(folder: Path) -> Path:
    """A video for the webcam."""
    path = folder / "camera.mjpeg"
    frames = (cv2.imencode(".jpg", frame[..., ::-1])[1] for _, frame in film(draw_people, 2, 12, (640, 480)))
    path.write_bytes(b"".join(frame.tobytes() for frame in frames))
    return path


def take(browser: Browser, address: str, shot: Shot) -> Image.Image:
    """Opens a page and takes its picture."""
    width, height = shot.size
    page = browser.new_page(
        viewport={"width": width, "height": height}, color_scheme=shot.theme, permissions=["camera"]
    )
    page.set_default_timeout(1000 * PATIENCE)
    page.goto(address + shot.path)
    wait_until_drawn(page)
    shot.act(page)
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
