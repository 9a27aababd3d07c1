"""The webcam, with a video of a real face in its place."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import expect

pytestmark = pytest.mark.browser


def test_a_snapshot_is_answered(visit):
    visitor = visit()
    page = visitor.page
    page.get_by_role("tab", name="Webcam").click()
    expect(page.locator("video")).to_be_visible()
    page.wait_for_function("document.querySelector('video').videoWidth > 0")
    page.get_by_role("button", name="Take photo").click()
    expect(page.get_by_text("1 face found in snapshot.jpg")).to_be_visible()
    visitor.wait()
    expect(page.get_by_text(re.compile(r"^looks about \d+ \(\d+–\d+\)$"))).to_have_count(1)
    expect(page.get_by_text(re.compile(r"^perceived female, \d+ %$"))).to_have_count(1)
    expect(page.get_by_alt_text("Face 1, cut out of the photo")).to_be_visible()
    visitor.screenshot("webcam-light-1280")
