"""The app as people meet it: served on a port of its own, and opened in a Chromium without a window.

Shared by the browser tests and `tools.take_screenshots`. Needs Playwright (requirements-dev.txt) and a
Chromium of the system's; nothing is downloaded.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from playwright.sync_api import Browser, Page, expect, sync_playwright

ROOT: Final = Path(__file__).resolve().parents[1]
CHROMIUM_VARIABLE: Final = "AGEGENDER_CHROMIUM"
PATIENCE: Final = 180.0
"""Seconds to wait for anything. Waiting ends as soon as the thing is there; a busy machine needs the rest."""

_NAMES: Final = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome")
_ARGUMENTS: Final = (
    "--no-sandbox",  # root, as which containers run, may not have one
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
)


def find_chromium() -> Path | None:
    """The Chromium to drive: the one that ``AGEGENDER_CHROMIUM`` names, else the first on the ``PATH``.

    Raises:
        FileNotFoundError: ``AGEGENDER_CHROMIUM`` names no program.
    """
    named = os.environ.get(CHROMIUM_VARIABLE, "").strip()
    found = next(filter(None, map(shutil.which, [named] if named else _NAMES)), None)
    if named and found is None:
        raise FileNotFoundError(f"{CHROMIUM_VARIABLE} names {named}, which is no program that can be run")
    return None if found is None else Path(found)


@dataclass(frozen=True)
class Server:
    """The running app.

    Attributes:
        address: Without a slash at its end.
        pid: Of its process.
    """

    address: str
    pid: int


@contextmanager
def serve(
    folder: Path,
    environment: Mapping[str, str] | None = None,
    arguments: Sequence[str] = (),
    *,
    checkout: Path = ROOT,
) -> Iterator[Server]:
    """Runs the app until the context is left.

    Args:
        folder: The app's working folder, whose ``runs/`` it shows. Its log is written there, ``server.log``.
        environment: Variables on top of this process's; of these ``UTKFACE_DIR`` is left out.
        arguments: For ``streamlit run``, besides the port.
        checkout: Whose app is run.

    Yields:
        Where it is.

    Raises:
        RuntimeError: The app did not come up; the end of its log is in the message.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    inherited = {name: value for name, value in os.environ.items() if name != "UTKFACE_DIR"}
    log = folder / "server.log"
    own = ["--server.port", str(port), "--server.headless", "true"]
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "streamlit", "run", str(checkout / "app.py"), *arguments, *own],
            cwd=folder,
            env=inherited | {"AGEGENDER_RUNS": str(folder / "runs")} | dict(environment or {}),
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        try:
            server = Server(f"http://127.0.0.1:{port}", process.pid)
            _wait_until_healthy(server.address, process, log)
            yield server
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _wait_until_healthy(address: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + PATIENCE
    while process.poll() is None and time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(f"{address}/_stcore/health", timeout=5):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.05)
    tail = log.read_text(encoding="utf-8", errors="replace")[-2000:]
    raise RuntimeError(f"the app did not come up at {address}; its log ends:\n{tail}")


@contextmanager
def open_chromium(executable: Path, camera: Path | None = None) -> Iterator[Browser]:
    """Starts Chromium without a window.

    Args:
        executable: See `find_chromium`.
        camera: A Y4M or MJPEG video that its webcam shows, over and over; ``None`` for no webcam.
    """
    arguments = list(_ARGUMENTS)
    if camera is not None:
        arguments += [
            "--use-fake-device-for-media-stream",
            "--use-fake-ui-for-media-stream",  # says yes when a page asks for the camera
            f"--use-file-for-fake-video-capture={camera}",
        ]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=arguments)
        expect.set_options(timeout=1000 * PATIENCE)
        try:
            yield browser
        finally:
            browser.close()


def wait_until_drawn(page: Page, patience: float = PATIENCE) -> None:
    """Waits, for so many seconds at most, until Streamlit has run the page and the browser has drawn it.

    Pictures that it is still fetching count: a page left too early would have them refused.
    """
    app = page.locator('[data-testid="stApp"][data-test-script-state="notRunning"]')
    expect(app).to_be_visible(timeout=1000 * patience)
    expect(page.locator('[data-testid="stSkeleton"], [data-stale="true"]')).to_have_count(0)
    page.wait_for_function(
        "() => [...document.images].every(image => image.complete)", timeout=1000 * patience
    )
