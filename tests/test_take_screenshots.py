"""The pictures of the app in the docs, and the browser they are taken with."""

from __future__ import annotations

import pytest
from PIL import Image

from tools import take_screenshots
from tools.app_in_browser import CHROMIUM_VARIABLE, find_chromium


@pytest.mark.parametrize("name", take_screenshots.SHOTS)
def test_every_picture_is_there_and_small(name):
    path = take_screenshots.FOLDER / f"{name}.webp"
    assert path.stat().st_size <= take_screenshots.MAX_BYTES
    with Image.open(path) as picture:
        assert picture.size == take_screenshots.SHOTS[name].size


def test_no_picture_is_left_over():
    files = {path.name for path in take_screenshots.FOLDER.iterdir()}
    assert files == {f"{name}.webp" for name in take_screenshots.SHOTS}


def test_a_browser_that_is_named_must_be_there(monkeypatch, tmp_path):
    monkeypatch.setenv(CHROMIUM_VARIABLE, str(tmp_path / "chromium"))
    with pytest.raises(FileNotFoundError, match="which is no program"):
        find_chromium()


def test_a_browser_is_looked_for_on_the_path(monkeypatch, tmp_path):
    monkeypatch.delenv(CHROMIUM_VARIABLE, raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_chromium() is None
    (tmp_path / "chromium").write_text("#!/bin/sh\n")
    (tmp_path / "chromium").chmod(0o755)
    assert find_chromium() == tmp_path / "chromium"


def test_a_picture_that_cannot_be_made_small_is_refused(monkeypatch):
    monkeypatch.setattr(take_screenshots, "MAX_BYTES", 10)
    with pytest.raises(ValueError, match="does not fit"):
        take_screenshots.to_webp(Image.new("RGB", (8, 8)))
