"""Everything by keyboard alone, from the address bar on."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from tools.app_in_browser import ROOT

pytestmark = pytest.mark.browser


def test_upload_and_downloads_without_a_mouse(visit):
    visitor = visit()
    page = visitor.page
    visitor.tab_to(page.get_by_role("button", name="Upload", exact=True))
    with page.expect_file_chooser() as chooser:
        page.keyboard.press("Enter")
    chooser.value.set_files(ROOT / "agegender" / "assets" / "example.jpg")
    expect(page.get_by_text("7 faces found in example.jpg")).to_be_visible()
    visitor.wait()
    for name, file in [
        ("Annotated photo", "example.annotated.png"),
        ("CSV", "faces.csv"),
        ("JSON", "faces.json"),
    ]:
        visitor.tab_to(page.get_by_role("button", name=name, exact=True))
        with page.expect_download() as download:
            page.keyboard.press("Space")
        assert download.value.suggested_filename == file
        assert download.value.path().stat().st_size > 0


def test_the_menu_without_a_mouse(visit):
    visitor = visit()
    visitor.tab_to(visitor.part("stSidebarNavLink").filter(has_text="About"))
    visitor.page.keyboard.press("Enter")
    expect(visitor.page.get_by_role("heading", level=1)).to_contain_text("About")
