"""The real app with its real models, seen in a real Chromium.

One server and one browser serve all tests in this folder. They end with its last test, before others begin:
Playwright keeps an event loop running in the main thread for as long as it is open.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from playwright.sync_api import Browser

from tools.app_in_browser import PATIENCE, find_chromium, open_chromium, serve, wait_until_drawn

from .visitor import DESKTOP, App, Visitor

NO_BROWSER = "no browser: `apt-get install chromium`, or name a Chromium in AGEGENDER_CHROMIUM"


@pytest.fixture(scope="package")
def chromium() -> Path:
    """The system's Chromium."""
    path = find_chromium()
    if path is None:
        pytest.skip(NO_BROWSER)
    return path


@pytest.fixture(scope="package")
def camera(tmp_path_factory: pytest.TempPathFactory, astronaut: NDArray[np.uint8]) -> Path:
    """A video for the browser's webcam, 640 by 480: Eileen Collins, swaying a little."""
    path = tmp_path_factory.mktemp("camera") / "astronaut.mjpeg"
    with path.open("wb") as video:
        for x in (40, 50, 60, 70, 60, 50):
            frame = np.full((480, 640, 3), 70, np.uint8)
            frame[:, x : x + 512] = astronaut[:480]
            encoded = cv2.imencode(".jpg", frame[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 95])[1]
            video.write(encoded.tobytes())
    return path


@pytest.fixture(scope="package")
def app(browser: Browser, tmp_path_factory: pytest.TempPathFactory, fake_utkface: Path) -> Iterator[App]:
    """The app on a port of its own, in a folder of its own, with a dataset that shows no people.

    It has loaded TensorFlow and the model, which no test should have to be that patient for.
    """
    folder = tmp_path_factory.mktemp("app")
    (folder / "runs").mkdir()
    with serve(folder, {"UTKFACE_DIR": str(fake_utkface)}) as server:
        page = browser.new_page()
        page.goto(f"{server.address}/explain?example=true")
        wait_until_drawn(page, patience=4 * PATIENCE)
        page.close()
        yield App(server.address, folder)
    log = (folder / "server.log").read_text(encoding="utf-8")
    assert "Traceback" not in log, log[-5000:]


@pytest.fixture(scope="package")
def browser(chromium: Path, camera: Path) -> Iterator[Browser]:
    """The one Chromium of all tests, with a face before its webcam."""
    with open_chromium(chromium, camera) as browser:
        yield browser


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Leaves the outcome where `visit` finds it, and sums up all skips for want of a browser in one line."""
    report = yield
    if report.skipped and NO_BROWSER in str(report.longrepr):
        report.longrepr = (str(Path(__file__).parent), None, f"Skipped: {NO_BROWSER}")
    if call.when == "call":
        item.stash[_FAILED] = report.failed
    return report


_FAILED = pytest.StashKey[bool]()


@pytest.fixture
def visit(request: pytest.FixtureRequest, browser: Browser, app: App) -> Iterator[Callable[..., Visitor]]:
    """Opens the app in a window of its own, at an address; whoever comes is a new visitor.

    A test that fails leaves pictures of its windows. One that passes fails all the same where the browser
    had something to complain about.
    """
    visitors: list[Visitor] = []

    def open_(path: str = "/", *, theme: str = "light", width: int = DESKTOP) -> Visitor:
        context = browser.new_context(
            viewport={"width": width, "height": 900}, color_scheme=theme, permissions=["camera"]
        )
        visitors.append(Visitor(app, context.new_page()))
        visitors[-1].open(path)
        return visitors[-1]

    yield open_
    for number, visitor in enumerate(visitors, start=1):
        if request.node.stash.get(_FAILED, False):
            visitor.screenshot(f"failed-{request.node.name}-{number}")
        visitor.page.context.close()
    assert [trouble for visitor in visitors for trouble in visitor.troubles] == []
