"""Every page of the menu, and every part of a page, in both themes and on a phone.

Each is opened once a look and examined for all the tests here, because opening takes far longer than asking.
"""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, expect

from tools.app_in_browser import ROOT

from .visitor import DESKTOP, PHONE, App, Visitor

pytestmark = pytest.mark.browser

LOOKS = [("light", DESKTOP), ("light", PHONE), ("dark", DESKTOP), ("dark", PHONE)]


@dataclass(frozen=True)
class Seen:
    """What a page looked like.

    Attributes:
        name: The page, and the part of it that was open.
        title: What its main heading says; empty where it has none.
        errors: What its error boxes say.
        wide: What makes it scroll sideways.
        barriers: What axe-core finds serious.
        troubles: What the browser complained about, and pictures that did not come.
    """

    name: str
    title: str
    errors: list[str]
    wide: list[str]
    barriers: list[str]
    troubles: list[str]


@pytest.fixture(scope="module")
def menu(browser: Browser, app: App) -> list[str]:
    """The addresses of all pages, from the app's own menu."""
    page = browser.new_page(viewport={"width": DESKTOP, "height": 900})
    Visitor(app, page).open()
    links = page.get_by_test_id("stSidebarNavLink")
    paths = [urlsplit(link.get_attribute("href") or "").path for link in links.all()]
    page.close()
    return paths


@pytest.fixture(scope="module", params=LOOKS, ids=lambda look: f"{look[0]}-{look[1]}")
def seen(request: pytest.FixtureRequest, browser: Browser, app: App, menu: list[str]) -> list[Seen]:
    """All pages in one theme at one width, with the example picture where a page takes photos."""
    theme, width = request.param
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=theme)
    found = []
    for path in menu:
        visitor = Visitor(app, context.new_page())
        visitor.open(f"{path}?example=true")
        parts = visitor.page.get_by_role("radiogroup", name="Show", exact=True).get_by_role("radio")
        for number in range(max(1, parts.count())):
            name = path.strip("/") or "predict"
            if number:
                name += f"-{number + 1}"
                visitor.click(parts.nth(number))
                expect(parts.nth(number)).to_be_checked()
                visitor.page.mouse.move(0, 0)  # hovering has colours of its own, which are Streamlit's
            found.append(look_at(visitor, name))
            visitor.screenshot(f"{name}-{theme}-{width}")
        visitor.page.close()
    context.close()
    return found


def look_at(visitor: Visitor, name: str) -> Seen:
    errors = visitor.page.get_by_test_id("stException").or_(
        visitor.page.get_by_test_id("stAlertContentError")
    )
    heading = visitor.page.get_by_role("heading", level=1)
    troubles, visitor.troubles = visitor.troubles + visitor.missing_pictures(), []
    return Seen(
        name,
        title=heading.first.inner_text() if heading.count() else "",
        errors=errors.all_inner_texts(),
        wide=visitor.wider_than_the_window(),
        barriers=visitor.barriers(),
        troubles=troubles,
    )


def test_the_menu_leads_to_every_page_file(menu, seen):
    names = {path.strip("/") or "predict" for path in menu}
    assert names == {path.stem for path in (ROOT / "pages").glob("*.py")}
    assert [page.name for page in seen if not page.title] == []


def listed(seen: list[Seen], kind: str) -> str:
    """All complaints of a kind, a line each; an empty text where there are none."""
    return "\n".join(f"{page.name}: {complaint}" for page in seen for complaint in getattr(page, kind))


def test_no_page_shows_an_error(seen):
    assert not listed(seen, "errors"), listed(seen, "errors")


def test_no_page_scrolls_sideways(seen):
    assert not listed(seen, "wide"), listed(seen, "wide")


def test_axe_finds_no_serious_barrier(seen):
    assert not listed(seen, "barriers"), listed(seen, "barriers")


def test_the_browser_has_nothing_to_complain_about_and_asks_nobody_else(seen):
    assert not listed(seen, "troubles"), listed(seen, "troubles")
