"""Somebody who looks at the app in a browser, and what bothers them."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import ConsoleMessage, Locator, Page, Request

from tools.app_in_browser import PATIENCE, ROOT, wait_until_drawn

ARTIFACTS = ROOT / "artifacts" / "browser"
PHONE, DESKTOP = 390, 1280

STREAMLITS_OWN = [
    # Its menu puts headings and groups between a list and its items; nothing in app.py changes that.
    '[data-testid="stSidebarNav"]',
    # It writes white on the theme's primary colour, which in the dark theme has to be light enough to be
    # read as text on the dark background. No colour is both.
    '[data-testid="stMultiSelect"] [data-tag] > span',
    # It pales the label of what cannot be used now, as it may (WCAG 1.4.3 leaves out inactive controls), but
    # does not say so in a way that axe knows.
    '[data-testid="stWidgetLabel"][disabled]',
]
"""What axe does not look at, because it is not ours to change."""


@dataclass(frozen=True)
class App:
    """The running app.

    Attributes:
        address: Where it is, without a slash at the end.
        folder: What it was started in. Its ``runs/`` are the training runs that it shows.
    """

    address: str
    folder: Path


@dataclass
class Visitor:
    """One person with one browser window.

    Attributes:
        app: What they look at.
        page: Their window.
        troubles: Errors on the browser's console, and requests to anybody but the app.
    """

    app: App
    page: Page
    troubles: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.page.set_default_timeout(1000 * PATIENCE)
        self.page.on("console", self._hear)
        self.page.on("pageerror", lambda error: self.troubles.append(f"uncaught: {error}"))
        self.page.on("request", self._watch)
        # From now on file choosers come to Playwright. Asked for only when a key is about to open one, that
        # may come too late, and the browser opens its own, which nobody sees.
        self.page.on("filechooser", lambda chooser: None)

    def open(self, path: str = "/") -> None:
        """Opens a page of the app by its address and waits until it is all there."""
        self.page.goto(self.app.address + path)
        self.wait()

    def wait(self) -> None:
        """Waits until the app has answered and the browser has drawn it."""
        wait_until_drawn(self.page)

    def click(self, target: Locator) -> None:
        """Clicks what the app answers by running the page, and waits until that is drawn.

        The browser needs a moment to say that the page runs, in which it looks as though it had run already.
        A run may also be too short for it to say so; then something on the page has changed.
        """
        run = target.evaluate_handle(
            """target => {
                const run = {begun: false};
                const watcher = new MutationObserver(changes => {
                    run.begun ||= changes.some(change => !target.parentElement.contains(change.target));
                });
                watcher.observe(document.querySelector('[data-testid="stApp"]'),
                    {attributeFilter: ["data-test-script-state"], childList: true, subtree: true});
                return run;
            }"""
        )
        target.click()
        self.page.wait_for_function("run => run.begun", arg=run)
        self.wait()

    def part(self, test_id: str) -> Locator:
        """Elements of a kind, by Streamlit's name for it."""
        return self.page.get_by_test_id(test_id)

    def tab_to(self, target: Locator, presses: int = 60) -> None:
        """Presses the tabulator key until something has the focus."""
        target.wait_for()
        for _ in range(presses):
            self.page.keyboard.press("Tab")
            if target.evaluate("element => element === document.activeElement"):
                return
        raise AssertionError(f"{target} was not reached by {presses} presses of the tabulator key")

    def screenshot(self, name: str) -> None:
        """Keeps a picture of the whole page, however long it is, among the artefacts."""
        ARTIFACTS.mkdir(parents=True, exist_ok=True)
        size = self.page.viewport_size
        assert size is not None
        length = self.part("stMain").evaluate("main => main.scrollHeight")
        self.page.set_viewport_size({"width": size["width"], "height": max(length, size["height"])})
        self.page.screenshot(path=ARTIFACTS / f"{name}.png")
        self.page.set_viewport_size(size)

    def wider_than_the_window(self) -> list[str]:
        """What makes the page scroll sideways, as words; empty where nothing does."""
        return self.page.evaluate(
            """() => {
                // The document, and the element that Streamlit scrolls in its place.
                const frames = [document.scrollingElement, document.querySelector('[data-testid="stMain"]')];
                return frames.filter(frame => frame.scrollWidth > frame.clientWidth).map(frame => {
                    const wide = [...frame.querySelectorAll('*')].filter(
                        element => element.getBoundingClientRect().right > frame.clientWidth + 1);
                    const names = wide.slice(0, 5).map(
                        element => element.dataset.testid || element.className || element.tagName);
                    return `${frame.tagName} ${frame.scrollWidth} > ${frame.clientWidth} px: ${names}`;
                });
            }"""
        )

    def missing_pictures(self) -> list[str]:
        """Pictures that stay empty, by their words."""
        return self.page.evaluate(
            """() => [...document.images].filter(image => !image.naturalWidth)
                .map(image => `missing: ${image.alt}`)"""
        )

    def barriers(self) -> list[str]:
        """What axe-core finds serious or critical on the page, a line an element."""
        found = Axe().run(
            self.page, context={"exclude": STREAMLITS_OWN}, options={"resultTypes": ["violations"]}
        )
        return [
            f"{violation['id']}: {_in_short(node['html'])} {_in_short(node['failureSummary'])}"
            for violation in found.response["violations"]
            if violation["impact"] in ("serious", "critical")
            for node in violation["nodes"]
        ]

    def _hear(self, message: ConsoleMessage) -> None:
        address = urlsplit(message.location["url"]).path
        # Opened at /explain, Streamlit's front end first asks for its server below /explain/, and only then
        # where it is. The two 404s of that are its own, and the browser logs them.
        lost = re.fullmatch(r"/[^/]+/_stcore/(health|host-config)", address)
        if message.type == "error" and not (lost and "404" in message.text):
            self.troubles.append(f"console: {message.text} ({address})")

    def _watch(self, request: Request) -> None:
        parts = urlsplit(request.url)
        if parts.scheme not in ("data", "blob") and parts.netloc != urlsplit(self.app.address).netloc:
            self.troubles.append(f"asked somebody else: {request.url}")


def _in_short(text: str) -> str:
    return " ".join(text.split())[:240]
