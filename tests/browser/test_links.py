"""An address that somebody passed on opens what they saw, and choices write themselves into it."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import expect

from tools.app_in_browser import wait_until_drawn

pytestmark = pytest.mark.browser


def test_a_link_to_one_face(visit):
    visitor = visit("/explain?example=true&face=7")
    page = visitor.page
    expect(visitor.part("stSidebarNavLink")).to_have_count(8)
    expect(page.get_by_role("switch", name="Show the example")).to_be_checked()
    expect(page.get_by_role("radio", name="7", exact=True)).to_be_checked()
    # Face 7 of the example is Grace Hopper at 77, far from all others.
    expect(page.get_by_role("heading", name=re.compile(r"^looks about [78]\d"))).to_be_visible()


def test_a_card_leads_to_its_explanation(visit):
    visitor = visit("/?example=true")
    page = visitor.page
    page.get_by_role("link", name="Why this answer for face 7?").click()
    expect(page).to_have_url(re.compile(r"/explain\?(.*&)?face=7"))
    expect(page.get_by_role("radio", name="7", exact=True)).to_be_checked()
    expect(page.get_by_role("heading", name=re.compile(r"^looks about [78]\d"))).to_be_visible()


def test_an_address_passed_on_shows_the_same_curve(visit, app):
    mine = visit("/training_curves").page
    mine.get_by_role("radio", name="Gender").click()
    expect(mine.get_by_role("heading", name="Accuracy", exact=True)).to_be_visible()
    mine.get_by_role("radio", name="Hours").click()
    expect(mine).to_have_url(re.compile(r"about=.*over=|over=.*about="))
    theirs = visit(mine.url.removeprefix(app.address)).page
    expect(theirs.get_by_role("radio", name="Gender")).to_be_checked()
    expect(theirs.get_by_role("radio", name="Hours")).to_be_checked()
    expect(theirs.get_by_role("heading", name="Accuracy", exact=True)).to_be_visible()


def test_a_link_to_a_part_of_the_dataset_page(visit):
    page = visit("/dataset_explorer?section=Split").page
    expect(page.get_by_role("radio", name="Split")).to_be_checked()


def test_the_last_of_several_quick_clicks_counts_and_the_browser_goes_back_to_it(visit):
    visitor = visit("/dataset_explorer")
    page = visitor.page
    for name in ("Audit", "Browse", "Split", "Distribution", "Browse", "Augmentation"):
        page.get_by_role("radio", name=name).click()
    expect(page).to_have_url(re.compile(r"section=Augmentation"))
    expect(page.get_by_text("Other random draws")).to_be_visible()
    wait_until_drawn(page)
    expect(page.get_by_role("radio", name="Augmentation")).to_be_checked()
    visitor.click(visitor.part("stSidebarNavLink").filter(has_text="Compare models"))
    expect(page.get_by_role("heading", level=1)).to_contain_text("Compare models")
    page.go_back()  # Streamlit clears the page's choices from its address before it leaves: a step of its own
    expect(page.get_by_role("radio", name="Distribution")).to_be_checked()
    page.go_back()
    expect(page.get_by_role("radio", name="Augmentation")).to_be_checked()
    page.go_forward()
    page.go_forward()
    expect(page.get_by_role("heading", level=1)).to_contain_text("Compare models")


def test_model_and_photos_go_along_from_page_to_page(visit):
    visitor = visit("/?example=true")
    page = visitor.page
    visitor.part("stSidebarUserContent").get_by_role("combobox", name="Model").click()
    page.get_by_role("option", name="scratch-cnn").click()
    expect(page).to_have_url(re.compile(r"model=scratch-cnn"))
    for name in ("About", "Explain"):
        visitor.part("stSidebarNavLink").filter(has_text=name).click()
        expect(page).to_have_url(re.compile(rf"/{name.lower()}\?(.*&)?model=scratch-cnn"))
    expect(page.get_by_role("switch", name="Show the example")).to_be_checked()


def test_a_click_on_a_bar_narrows_the_other_charts_and_the_address(visit):
    page = visit("/dataset_explorer").page

    def click(chart: str, bar: int) -> None:
        # Plotly's bars lie below what catches the mouse, so the mouse goes where the bar is drawn, once it
        # stays there: charts are drawn anew, and move, for a while after the page has run.
        drawn = page.locator(f"[class*='st-key-{chart}_'] .bars .point").nth(bar)
        box = None
        while box is None or box != drawn.bounding_box():
            wait_until_drawn(page)
            drawn.scroll_into_view_if_needed()
            box = drawn.bounding_box()
            page.wait_for_timeout(500)
        page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)

    click("genders", 1)
    expect(page).to_have_url(re.compile(r"gender=female"))
    expect(page.get_by_role("combobox", name=re.compile("Gender"))).to_be_visible()
    click("ethnicities", 0)
    expect(page).to_have_url(re.compile(r"ethnicity=White"))
    click("genders", 1)
    expect(page).not_to_have_url(re.compile(r"gender="))
    expect(page).to_have_url(re.compile(r"ethnicity=White"))
