"""The room around a face that a chip shows, made larger and smaller again."""

from __future__ import annotations

import numpy as np
import pytest

from agegender.faces import CHIP_LANDMARKS, CHIP_SIZE, Face, crop_face
from agegender.faces.chip import change_margin
from tests.conftest import make_chip


def picture(*shape: int) -> np.ndarray:
    return np.random.default_rng(1).integers(1, 256, (*shape, 3), dtype=np.uint8)


@pytest.mark.parametrize("margin", [1, 12, 40, 100])
def test_more_room_and_less_again_gives_the_chip_back_at_any_size(margin):
    for side in (20, 96, 159, 160, 161, 192, 200, 224, 333):
        chip = picture(side, side)
        wide = change_margin(chip, 0, margin)
        assert wide.shape[0] == pytest.approx(side * (200 + 2 * margin) / 200, abs=1)
        assert np.array_equal(change_margin(wide, margin, 0), chip), side


def test_new_room_is_black_and_the_chip_in_its_middle():
    chip = picture(200, 200)
    wide = change_margin(chip, 0, 12)
    assert wide.shape == (224, 224, 3)
    assert (wide[12:-12, 12:-12] == chip).all()
    frame = np.ones((224, 224), bool)
    frame[12:-12, 12:-12] = False
    assert not wide[frame].any()


def test_the_margin_that_is_wanted_costs_nothing():
    chip = picture(160, 160)
    assert change_margin(chip, 12, 12) is chip


def test_a_batch_is_changed_like_each_of_its_chips():
    chips = picture(2, 3, 100, 80)
    for margin, wanted in ((0, 20), (20, 0), (5, 30), (30, 5)):
        batch = change_margin(chips, margin, wanted)
        for i in range(2):
            for j in range(3):
                assert (batch[i, j] == change_margin(chips[i, j], margin, wanted)).all()


def test_a_wide_crop_made_tight_is_the_tight_crop():
    """So a model sees the same face whichever chip it is handed."""
    photo = make_chip(np.random.default_rng(2), 600)
    points = tuple((x * 1.3 + 160, y * 1.3 + 170) for x, y in CHIP_LANDMARKS.tolist())
    face = Face((160.0, 170.0, 420.0, 430.0), 0.9, points)
    tight = crop_face(photo, face).pixels
    assert tight.shape == (CHIP_SIZE, CHIP_SIZE, 3)
    wide = crop_face(photo, face, 24).pixels
    assert np.abs(change_margin(wide, 24, 0).astype(int) - tight).max() <= 1
