"""The built-in example picture: fit to ship, and its licence on record beside it."""

from __future__ import annotations

import re

import pytest
from PIL import Image

from agegender.assets import EXAMPLE

SOURCES = {
    "mexico.webp": ("Elidealista", "CC0-1.0"),
    "astronaut.png": ("NASA", "public domain"),
    "grace_hopper.jpg": ("US Navy", "public domain"),
}


@pytest.fixture(scope="module")
def readme() -> str:
    return EXAMPLE.with_name("README.md").read_text(encoding="utf-8")


def test_example_is_small_enough_to_ship_and_large_enough_to_show() -> None:
    assert 50_000 < EXAMPLE.stat().st_size < 300_000
    with Image.open(EXAMPLE) as image:
        assert 1200 <= max(image.size) <= 1600


def test_example_decodes_to_a_colour_photo() -> None:
    with Image.open(EXAMPLE) as image:
        assert (image.format, image.mode) == ("JPEG", "RGB")
        image.load()  # a truncated file raises here
        low, high = image.convert("L").getextrema()
    assert high - low > 200


def test_example_carries_no_metadata() -> None:
    with Image.open(EXAMPLE) as image:
        assert not image.getexif()
        assert not {"exif", "xmp", "icc_profile", "comment"} & image.info.keys()


@pytest.mark.parametrize("file", SOURCES)
def test_readme_gives_author_and_licence_of_each_source(readme: str, file: str) -> None:
    rows = [line for line in readme.splitlines() if line.startswith("|") and file in line]
    assert len(rows) == 1
    author, licence = SOURCES[file]
    cells = [cell.strip() for cell in rows[0].strip("|").split("|")]
    assert len(cells) == 5
    assert author in cells[2]
    assert re.search(r"package `[\w-]+` \d+\.\d+", cells[3]), "name and version of the package it came from"
    assert cells[4].startswith(licence)


def test_readme_states_the_licence_of_the_whole(readme: str) -> None:
    assert "`example.jpg`" in readme
    assert "dedicated to the public domain under CC0 1.0" in readme
