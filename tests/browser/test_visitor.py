"""What looks for trouble finds it: each check of `visitor`, on a page that has the trouble."""

from __future__ import annotations

import pytest
from playwright.sync_api import Browser

from .visitor import App, Visitor

pytestmark = pytest.mark.browser

HERE = "http://app.test"
FRAME = (
    '<html lang="en"><title>Page</title><body style="margin:0"><main data-testid="stMain">{}</main></body>'
)
FINE = "<h1>Fine</h1><p>Black on white.</p>"


@pytest.fixture
def show(browser: Browser, tmp_path):
    """Shows a page made of a text, at the address of no app, in a window 390 pixels wide."""
    page = browser.new_page(viewport={"width": 390, "height": 800})
    visitor = Visitor(App(HERE, tmp_path), page)
    answers = {f"{HERE}/": ""}

    def answer(route):
        known = route.request.url in answers
        route.fulfill(
            status=200 if known else 404,
            body=answers.get(route.request.url, ""),
            content_type="text/html",
        )

    def show_(content: str) -> Visitor:
        answers[f"{HERE}/"] = FRAME.format(content)
        page.route("**/*", answer)
        page.goto(f"{HERE}/")
        return visitor

    yield show_
    page.close()


def test_a_fine_page_is_fine(show):
    visitor = show(FINE)
    assert (visitor.wider_than_the_window(), visitor.barriers(), visitor.troubles) == ([], [], [])


@pytest.mark.parametrize("style", ["", "overflow-x: auto"])
def test_what_is_too_wide_is_named(show, style):
    visitor = show(FINE + '<div data-testid="wall" style="width: 900px">Wide</div>')
    visitor.part("stMain").evaluate("(main, style) => main.style.cssText = style", style)
    wide = visitor.wider_than_the_window()
    assert wide
    assert all("wall" in words and "900 > 390" in words for words in wide)


@pytest.mark.parametrize(
    ("content", "rule"),
    [
        (FINE + '<p style="color: #aaa">Pale</p>', "color-contrast"),
        (FINE + '<img src="data:,">', "image-alt"),
        (FINE + "<button></button>", "button-name"),
    ],
)
def test_a_barrier_is_named(show, content, rule):
    assert [line.split(":")[0] for line in show(content).barriers()] == [rule]


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("console.error('broken')", "console: broken"),
        ("setTimeout(() => { throw new Error('lost') })", "uncaught: lost"),
        ("fetch('https://fonts.example/a.woff')", "asked somebody else: https://fonts.example/a.woff"),
        ("fetch('/missing')", "404"),
        ("fetch('/_stcore/health')", "404"),
    ],
)
def test_trouble_is_heard(show, code, words):
    visitor = show(FINE)
    visitor.page.evaluate(f"() => {{ {code}; }}")
    for _ in range(100):
        if any(words in trouble for trouble in visitor.troubles):
            return
        visitor.page.wait_for_timeout(50)
    raise AssertionError(visitor.troubles)


def test_streamlits_own_lost_requests_are_not_trouble(show):
    visitor = show(FINE)
    for name in ("health", "host-config"):
        with visitor.page.expect_console_message() as message:
            visitor.page.evaluate(f"() => fetch('/explain/_stcore/{name}')")
        assert "404" in message.value.text
    assert visitor.troubles == []
