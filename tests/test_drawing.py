"""Boxes and labels on photos."""

from itertools import combinations

import numpy as np
import pytest
from PIL import ImageFont

from agegender import drawing as module
from agegender.drawing import OKABE_ITO, annotate
from agegender.faces.face import Face
from agegender.labels import GENDERS
from agegender.prediction import AgeEstimate, GenderEstimate, Prediction


def make_prediction(box, *, years=31.0):
    face = Face(tuple(map(float, box)), 0.99, ((0.0, 0.0),) * 5)
    return Prediction(
        face,
        np.zeros((200, 200, 3), np.uint8),
        AgeEstimate(years, years - 5, years + 5, 0.9),
        GenderEstimate("female", 0.97),
    )


@pytest.fixture
def plates(monkeypatch):
    """Records every label as it is drawn: its plate, place, colour and font size."""
    drawn = []
    draw = module._draw_plate

    def spy(canvas, plate, font, place, color):
        drawn.append((plate, place, color, font.size))
        draw(canvas, plate, font, place, color)

    monkeypatch.setattr(module, "_draw_plate", spy)
    return drawn


def test_draws_on_a_copy_of_the_same_shape():
    image = np.full((300, 400, 3), 127, np.uint8)
    image.setflags(write=False)
    drawn = annotate(image, [make_prediction((100, 80, 200, 200))])
    assert drawn.shape == image.shape
    assert drawn.dtype == np.uint8
    assert drawn.flags.writeable
    assert np.all(image == 127)
    assert np.any(drawn != 127)


def test_no_face_changes_nothing():
    image = np.random.default_rng(0).integers(0, 256, (50, 60, 3), np.uint8)
    np.testing.assert_array_equal(annotate(image, []), image)


def test_the_frame_has_the_box_and_the_first_colour():
    image = np.full((400, 400, 3), 255, np.uint8)
    drawn = annotate(image, [make_prediction((100, 150, 250, 300))])
    rows, columns = np.nonzero(np.all(drawn[200:] == OKABE_ITO[0], axis=-1))
    # Inside the box, and within a few pixels (the dark rim) of its sides.
    assert 100 <= columns.min() <= 104
    assert 245 <= columns.max() <= 249
    assert 295 <= rows.max() + 200 <= 299
    np.testing.assert_array_equal(drawn[220, 175], (255, 255, 255))  # the face itself stays free


def test_numbers_follow_the_order_given_and_colours_repeat_only_after_all(plates):
    boxes = [(20 + 100 * i, 100, 90 + 100 * i, 180) for i in range(8)]
    annotate(np.zeros((300, 900, 3), np.uint8), [make_prediction(box) for box in reversed(boxes)])
    assert [plate.number for plate, *_ in plates] == [str(i) for i in range(1, 9)]
    assert [plate.words for plate, *_ in plates] == ["31 · female"] * 8
    colors = [color for _, _, color, _ in plates]
    assert len(set(colors[:7])) == 7
    assert colors[7] == colors[0]


@pytest.mark.parametrize(
    "box",
    [
        (0, 0, 80, 90),
        (520, 0, 600, 80),
        (-20, 320, 60, 400),
        (530, 310, 640, 420),
        (0, 0, 600, 400),
        (598, 398, 600, 400),
    ],
)
def test_labels_stay_inside_the_photo(plates, box):
    annotate(np.zeros((400, 600, 3), np.uint8), [make_prediction(box)])
    [(plate, (x1, y1, x2, y2), _, _)] = plates
    assert 0 <= x1 < x2 <= 600
    assert 0 <= y1 < y2 <= 400
    assert (x2 - x1, y2 - y1) == (plate.width, plate.height)


def test_labels_of_neighbours_do_not_cover_each_other(plates):
    boxes = [(100 + 40 * i, 100 + 25 * i, 160 + 40 * i, 170 + 25 * i) for i in range(4)]
    annotate(np.zeros((400, 600, 3), np.uint8), [make_prediction(box) for box in boxes])
    places = [place for _, place, _, _ in plates]
    assert all(module._overlap(a, b) == 0 for a, b in combinations(places, 2))


def test_a_lone_label_does_not_cover_its_face(plates):
    box = (100, 0, 200, 120)  # no room above
    annotate(np.zeros((400, 600, 3), np.uint8), [make_prediction(box)])
    assert module._overlap(plates[0][1], box) == 0


@pytest.mark.parametrize("scale", [1, 2, 4])
def test_type_grows_with_the_photo(plates, scale):
    side = 1000 * scale
    box = tuple(scale * value for value in (300, 300, 500, 550))
    annotate(np.zeros((side, side, 3), np.uint8), [make_prediction(box)])
    assert plates[0][3] == pytest.approx(28 * scale, abs=1)


def test_a_crowd_gets_smaller_type_than_a_portrait(plates):
    image = np.zeros((1000, 1000, 3), np.uint8)
    annotate(image, [make_prediction((300, 300, 600, 700))])
    annotate(image, [make_prediction((50 * i, 300, 50 * i + 30, 340)) for i in range(20)])
    assert plates[1][3] < plates[0][3]


@pytest.mark.parametrize("size", [(1, 1), (8, 8), (20, 24), (48, 48), (40, 3000), (3000, 40)])
def test_any_photo_size_works(plates, size):
    height, width = size
    drawn = annotate(np.zeros((height, width, 3), np.uint8), [make_prediction((0, 0, width, height))])
    assert drawn.shape == (height, width, 3)
    assert plates[0][0].number == "1"


def test_a_photo_too_narrow_for_words_keeps_the_number(plates):
    annotate(np.zeros((60, 30, 3), np.uint8), [make_prediction((5, 5, 25, 25))])
    assert (plates[0][0].number, plates[0][0].words) == ("1", "")


def test_the_font_has_every_letter_of_a_label():
    font = ImageFont.load_default(40)

    def looks(letter):
        mask = font.getmask(letter)
        return mask.size, bytes(mask)

    missing = looks("\uffff")
    letters = set("0123456789·?" + "".join(GENDERS))
    assert not [letter for letter in letters if looks(letter) == missing]


@pytest.mark.parametrize("color", OKABE_ITO)
def test_words_contrast_with_their_plate(color):
    def luminance(rgb):
        c = np.array(rgb) / 255
        return np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4) @ [0.2126, 0.7152, 0.0722]

    a, b = sorted((luminance(color), luminance(module._ink_on(color))))
    assert (b + 0.05) / (a + 0.05) >= 4.5  # WCAG 2.2, level AA
