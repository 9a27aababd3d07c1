"""What a chip itself shows: detail, light, the shades of a photo."""

from __future__ import annotations

from random import Random

import cv2
import numpy as np
import pytest

from agegender.faces import Face, crop_face
from agegender.faces.condition import BLURRED, DARK, DRAWN, condition_warnings
from agegender.faces.crop import SMALL
from tools.once.measure_conditions import compressed, draw_face

EYES = ((205.0, 108.0), (248.0, 110.0), (226.0, 135.0), (208.0, 155.0), (244.0, 156.0))
"""Landmarks of the astronaut."""


@pytest.fixture
def chip(astronaut):
    return crop_face(astronaut, Face((180.0, 70.0, 270.0, 185.0), 1.0, EYES)).pixels


def test_a_good_chip_gets_no_warning_with_any_margin(astronaut, chip):
    assert condition_warnings(chip) == ()
    face = Face((180.0, 70.0, 270.0, 185.0), 1.0, EYES)
    for margin in (0, 50):
        assert crop_face(astronaut, face, margin).warnings == ()
        blurred = np.asarray(cv2.GaussianBlur(astronaut, (0, 0), 4), np.uint8)
        assert crop_face(blurred, face, margin).warnings == (BLURRED,)


def test_blurred_dark_and_drawn_are_told_apart(chip):
    blurred = np.asarray(cv2.GaussianBlur(chip, (0, 0), 8), np.uint8)
    assert condition_warnings(blurred) == (BLURRED,)
    assert condition_warnings((chip * 0.08).astype(np.uint8)) == (DARK,)
    assert condition_warnings(np.zeros_like(chip)) == (DARK,)
    assert condition_warnings(np.full_like(chip, 200)) == (BLURRED,)
    drawn = [np.asarray(draw_face(Random(seed), 200)) for seed in range(60)]
    for quality in (None, 75):
        said = [condition_warnings(face if quality is None else compressed(face, quality)) for face in drawn]
        assert sum(words == (DRAWN,) for words in said) >= 0.75 * len(said)
    assert condition_warnings(compressed(chip, 30)) == ()


def test_a_small_face_is_not_called_blurred_too(astronaut):
    tiny = np.asarray(cv2.resize(astronaut, (100, 100), interpolation=cv2.INTER_AREA), np.uint8)
    points = tuple((x * 100 / 512, y * 100 / 512) for x, y in EYES)
    assert crop_face(tiny, Face((35.0, 14.0, 53.0, 36.0), 1.0, points)).warnings == (SMALL,)
