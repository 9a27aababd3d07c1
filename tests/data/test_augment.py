"""Augmentation: what each kind does, and that nothing else happens."""

from __future__ import annotations

import dataclasses

import cv2
import numpy as np
import pytest

from agegender.data.augment import _PROBABILITIES, Augmentation, Placement, augment_chip, place_chip
from agegender.errors import ConfigError
from agegender.faces import Face, crop_face
from agegender.faces.chip import resize_chip
from agegender.faces.crop import CHIP_LANDMARKS

SIZE = (64, 64)
NOTHING = Augmentation().scaled(0)
KINDS = [field.name for field in dataclasses.fields(Augmentation)]
PROBABILITIES = ("flip", *_PROBABILITIES)


def picture(seed: int = 0, side: int = 64) -> np.ndarray:
    coarse = np.random.default_rng(seed).integers(40, 216, (6, 6, 3), dtype=np.uint8)
    return cv2.resize(coarse, (side, side), interpolation=cv2.INTER_CUBIC)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def only(**values: float) -> Augmentation:
    return dataclasses.replace(NOTHING, **values)


def test_all_zero_changes_nothing():
    chip = picture()
    assert all(getattr(NOTHING, kind) == 0 for kind in KINDS)
    assert (augment_chip(chip, SIZE, rng(), NOTHING) == chip).all()


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_alone_changes_the_chip(kind):
    chip = picture()
    strength = 1.0 if kind in PROBABILITIES else {"rotation": 20.0}.get(kind, 0.3)
    placement = Placement(np.array([[224 / 64, 0, 0], [0, 224 / 64, 0]]), 12)
    placed = augment_chip(chip, SIZE, rng(1), NOTHING, placement)
    assert np.abs(placed.astype(int) - chip).max() <= 1
    changed = augment_chip(chip, SIZE, rng(1), only(**{kind: strength}), placement)
    assert changed.shape == chip.shape
    assert changed.dtype == np.uint8
    assert np.abs(changed.astype(int) - chip).mean() > 0.5


def test_flip_mirrors_exactly():
    chip = picture()
    assert (augment_chip(chip, SIZE, rng(), only(flip=1.0)) == chip[:, ::-1]).all()


def test_flip_happens_as_often_as_it_says():
    chip = picture()
    flips = [(augment_chip(chip, SIZE, rng(i), only(flip=0.3)) != chip).any() for i in range(400)]
    assert np.mean(flips) == pytest.approx(0.3, abs=0.07)


def test_rotation_turns_about_the_centre():
    chip = np.zeros((64, 64, 3), np.uint8)
    cv2.circle(chip, (31, 31), 6, (255, 255, 255), -1)
    chip[30:34, 50:62] = 255
    turned = augment_chip(chip, SIZE, rng(3), only(rotation=25.0))
    assert turned[26:37, 26:37].mean() > 200
    assert (turned[30:34, 50:62] != 255).any()


def test_geometry_repeats_the_border_instead_of_painting_black():
    white = np.full((64, 64, 3), 255, np.uint8)
    strong = only(rotation=30.0, shift=0.2, zoom=0.3, flip=0.5)
    assert all((augment_chip(white, SIZE, rng(i), strong) == 255).all() for i in range(10))


def test_zoom_goes_both_ways():
    chip = np.zeros((64, 64, 3), np.uint8)
    chip[16:48, 16:48] = 255
    areas = [augment_chip(chip, SIZE, rng(i), only(zoom=0.3)).mean() for i in range(60)]
    assert min(areas) < 0.8 * chip.mean()
    assert max(areas) > 1.2 * chip.mean()


def test_grey_leaves_no_colour():
    grey = augment_chip(picture(), SIZE, rng(), only(grey=1.0)).astype(int)
    assert np.ptp(grey, axis=-1).max() <= 1


def test_dark_darkens():
    chip = picture()
    darker = [augment_chip(chip, SIZE, rng(i), only(dark=1.0)).mean() for i in range(20)]
    assert max(darker) < chip.mean()
    assert min(darker) < 0.4 * chip.mean()


def test_a_third_of_what_is_erased_is_a_large_square():
    chip = np.full((200, 200, 3), 77, np.uint8)
    squares = 0
    for seed in range(300):
        changed = (augment_chip(chip, (200, 200), rng(seed), only(erase=1.0)) != chip).any(axis=-1)
        height, width = (
            np.ptp(np.flatnonzero(changed.any(axis=1))),
            np.ptp(np.flatnonzero(changed.any(axis=0))),
        )
        squares += height == width and height >= 98
    assert squares / 300 == pytest.approx(1 / 3, abs=0.07)


def test_tilt_reaches_further_than_rotation_and_repeats_the_border():
    chip = np.zeros((64, 64, 3), np.uint8)
    chip[28:36] = 255  # a horizontal bar
    angles = []
    for seed in range(40):
        turned = augment_chip(chip, SIZE, rng(seed), only(tilt=1.0))
        y, x = np.nonzero(turned[:, 16:48, 0] > 127)
        angles.append(abs(np.degrees(np.arctan(np.polyfit(x, y, 1)[0]))))
    assert 30 < max(angles) < 43
    assert np.mean(angles) == pytest.approx(20, abs=6)


def test_shade_falls_off_across_the_chip_from_full_light():
    chip = np.full((64, 64, 3), 200, np.uint8)
    shaded = [augment_chip(chip, SIZE, rng(seed), only(shade=1.0)) for seed in range(20)]
    assert all(150 < picture.max() <= 200 for picture in shaded)
    assert all(picture.min() < 0.8 * picture.max() for picture in shaded)
    assert min(picture.min() for picture in shaded) < 0.35 * 200


def test_cast_colours_grey_and_jpeg_keeps_colours():
    grey = np.full((64, 64, 3), 120, np.uint8)
    assert np.ptp(augment_chip(grey, SIZE, rng(1), only(cast=0.3))[0, 0]) > 5
    red = np.zeros((64, 64, 3), np.uint8)
    red[..., 0] = 200
    coded = augment_chip(red, SIZE, rng(1), only(jpeg=1.0)).astype(int)
    assert np.abs(coded - red).mean() < 12


def test_erase_covers_one_rectangle_and_spares_the_rest():
    chip = picture()
    for seed in range(20):
        changed = (augment_chip(chip, SIZE, rng(seed), only(erase=1.0)) != chip).any(axis=-1)
        rows, columns = np.flatnonzero(changed.any(axis=1)), np.flatnonzero(changed.any(axis=0))
        box = (np.ptp(rows) + 1) * (np.ptp(columns) + 1)
        assert changed.sum() > 0.8 * box
        assert (0.08 * 64) ** 2 <= box <= (0.71 * 64) ** 2


# --- faces in photos, with a margin -----------------------------------------------------------------------


def face_in(photo: np.ndarray, angle: float = 20.0) -> Face:
    """Turned, and small enough for a chip to show a third of the photo."""
    side = photo.shape[1] / 3
    turn = np.exp(1j * np.radians(angle))
    points = (CHIP_LANDMARKS - 100) @ (1, 1j) * turn * side / 200 + photo.shape[1] * (0.5 + 0.45j)
    pairs = tuple((float(p.real), float(p.imag)) for p in points)
    return Face((side, side, 2 * side, 2 * side), 0.9, pairs)


@pytest.mark.parametrize("margin", [0, 12, 40])
def test_without_augmentation_a_face_is_cropped_as_the_app_crops_it(margin):
    photo = picture(3, 600)
    face, side = face_in(photo), 200 + 2 * margin
    placement = place_chip(photo, face, margin)
    cropped = crop_face(photo, face, margin).pixels.astype(int)
    assert np.abs(augment_chip(photo, (side, side), rng(), NOTHING, placement) - cropped).max() <= 1
    smaller = augment_chip(photo, (160, 160), rng(), NOTHING, placement).astype(int)
    assert np.abs(smaller - resize_chip(cropped.astype(np.uint8), (160, 160))).mean() < 1.0


def test_detail_that_a_chip_cannot_show_is_averaged_and_not_sampled():
    photo = picture(3, 3000)
    stripes = (np.arange(3000) % 4 < 2)[:, None, None]
    striped = np.where(stripes, 255 - photo, photo)
    face = face_in(photo)
    cropped = resize_chip(crop_face(striped, face).pixels, (160, 160)).astype(int)
    augmented = augment_chip(striped, (160, 160), rng(), NOTHING, place_chip(striped, face, 0))
    assert np.abs(striped[:-2].astype(int) - striped[2:]).mean() > 50
    assert np.abs(augmented - cropped).mean() < 8


def test_what_a_chip_shows_beyond_a_photo_is_black_until_it_is_augmented():
    white = np.full((200, 200, 3), 255, np.uint8)
    placement = place_chip(white, None, 20)
    plain = augment_chip(white, (240, 240), rng(), NOTHING, placement)
    assert (plain[20:220, 20:220] == 255).all()
    assert (plain == 0).sum() == 3 * (240**2 - 200**2)
    outside = {
        tuple(augment_chip(white, (240, 240), rng(i), only(hide_margin=1e-9), placement)[0, 0].tolist())
        for i in range(40)
    }
    assert {(0, 0, 0), (255, 255, 255)} < outside  # black, the photo's border, and colours


@pytest.mark.parametrize("mirrored", [False, True])
def test_a_hidden_margin_leaves_what_utkface_shows(mirrored):
    photo = picture(5, 400)
    face = face_in(photo)
    placement = place_chip(photo, face, 20)
    flip = float(mirrored)
    seen = augment_chip(photo, (240, 240), rng(1), only(flip=flip), placement)
    hidden = augment_chip(photo, (240, 240), rng(1), only(flip=flip, hide_margin=1.0), placement)
    assert (hidden[21:219, 21:219] == seen[21:219, 21:219]).all()
    frame = np.ones((240, 240), bool)
    frame[19:221, 19:221] = False
    assert len(np.unique(hidden[frame], axis=0)) == 1
    often = [augment_chip(photo, SIZE, rng(i), only(hide_margin=0.3), placement) for i in range(200)]
    assert np.mean([len(np.unique(chip[0], axis=0)) == 1 for chip in often]) == pytest.approx(0.3, abs=0.1)


def test_a_turned_chip_hides_the_margin_of_the_turned_face():
    """The frame turns with the face, or a network could tell how far a chip was turned."""
    white, frame = np.full((600, 600, 3), 255, np.uint8), only(hide_margin=1.0, tilt=1.0)
    face = face_in(white, angle=0)
    for seed in range(30):
        chip = augment_chip(white, (320, 320), rng(seed), frame, place_chip(white, face, 60))
        shown = (chip == 255).all(axis=-1)
        if not shown.all():
            assert shown.sum() == pytest.approx(200 * 200, rel=0.03)
            (_, _), (w, h), angle = cv2.minAreaRect(np.argwhere(shown)[:, ::-1].astype(np.int32))
            assert (w, h) == pytest.approx((200, 200), abs=4)
            if 3 < abs(angle) < 40:
                return
    pytest.fail("no chip was turned and framed")


# ----------------------------------------------------------------------------------------------------------


def test_the_same_stream_gives_the_same_chip():
    chip = picture()
    first, again = (augment_chip(chip, SIZE, rng(5), Augmentation()) for _ in range(2))
    assert (first == again).all()
    assert (first != augment_chip(chip, SIZE, rng(6), Augmentation())).any()


def test_the_source_is_left_alone():
    chip = picture()
    before = chip.copy()
    for seed in range(30):
        augment_chip(chip, SIZE, rng(seed), Augmentation().scaled(3))
    assert (chip == before).all()


@pytest.mark.parametrize("size", [(32, 32), (48, 80), (160, 160)])
@pytest.mark.parametrize("side", [20, 200])
def test_any_size_comes_out_as_asked(size, side):
    strong = dataclasses.replace(Augmentation(), **dict.fromkeys(PROBABILITIES, 1.0))
    for seed in range(5):
        out = augment_chip(picture(seed, side), size, rng(seed), strong)
        assert out.shape == (*size, 3)
        assert out.dtype == np.uint8


def test_resizing_within_augmentation_agrees_with_plain_resizing():
    # Training and evaluation must see the same framing, or years are lost.
    chip = picture(2, side=200)
    augmented = augment_chip(chip, SIZE, rng(), NOTHING).astype(float)
    plain = resize_chip(chip, SIZE).astype(float)
    assert np.abs(augmented - plain).mean() < 2.0


def test_scaling_multiplies_and_caps_probabilities():
    base = Augmentation()
    double = base.scaled(20)
    assert double.rotation == pytest.approx(20 * base.rotation)
    assert double.flip == base.flip
    assert all(getattr(double, name) == 1 for name in PROBABILITIES if name != "flip")
    assert base.scaled(1) == base


@pytest.mark.parametrize("value", [-0.1, float("nan"), float("inf"), "much", None])
@pytest.mark.parametrize("kind", ["flip", "rotation"])
def test_senseless_strengths_are_refused(kind, value):
    with pytest.raises(ConfigError, match=kind):
        Augmentation(**{kind: value})


def test_a_negative_scale_is_refused():
    with pytest.raises(ConfigError):
        Augmentation().scaled(-1)


def test_resize_leaves_the_right_size_alone():
    chip = picture()
    assert resize_chip(chip, SIZE) is chip


@pytest.mark.parametrize("size", [(32, 48), (128, 96), (32, 96)])
def test_resize_takes_height_then_width(size):
    chip = picture()
    out = resize_chip(chip, size)
    assert out.shape == (*size, 3)
    assert out.dtype == np.uint8


def test_shrinking_averages():
    stripes = np.zeros((64, 64, 3), np.uint8)
    stripes[::2] = 200
    assert (np.abs(resize_chip(stripes, (32, 32)).astype(int) - 100) <= 1).all()
