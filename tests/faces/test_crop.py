import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from agegender.faces import CHIP_LANDMARKS, CHIP_SIZE, CROP_WARNINGS, Chip, Face, crop_face, pad_chip
from agegender.faces.condition import CONDITION_WARNINGS
from agegender.faces.crop import EDGE, NODDING, SMALL, TILTED, TURNED, fit_face

MEASUREMENTS = Path(__file__).parents[2] / "docs" / "measurements" / "landmarks.json"

# A head in space: x to the right, y down, z towards the camera; seen from the front it is CHIP_LANDMARKS.
HEAD = np.column_stack([CHIP_LANDMARKS - [98, 98], [0, 0, 35, 10, 10]])


def face_at(points, box=None) -> Face:
    points = np.asarray(points, dtype=float)
    (x1, y1), (x2, y2) = points.min(axis=0), points.max(axis=0)
    return Face(
        box=box or (x1 - 40, y1 - 60, x2 + 40, y2 + 40),
        confidence=0.99,
        landmarks=tuple((x, y) for x, y in points.tolist()),
    )


def moved(points, scale: float, degrees: float, shift) -> np.ndarray:
    angle = np.radians(degrees)
    turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return np.asarray(points) @ turn.T + shift


def photographed(yaw: float = 0, pitch: float = 0) -> np.ndarray:
    """Landmarks of HEAD turned to the side and bowed by these angles, in degrees, around (300, 300)."""
    yaw, pitch = np.radians([yaw, pitch])
    around_y = np.array([[np.cos(yaw), 0, np.sin(yaw)], [0, 1, 0], [-np.sin(yaw), 0, np.cos(yaw)]])
    around_x = np.array([[1, 0, 0], [0, np.cos(pitch), np.sin(pitch)], [0, -np.sin(pitch), np.cos(pitch)]])
    return (HEAD @ (around_x @ around_y).T)[:, :2] + 300


def smooth_picture(height: int, width: int) -> np.ndarray:
    noise = np.random.default_rng(3).integers(0, 256, (height, width, 3), dtype=np.uint8)
    blurred = cv2.GaussianBlur(noise.astype(np.float32), (0, 0), 6)
    return cv2.normalize(blurred, None, 0, 255, cv2.NORM_MINMAX).astype(np.uint8)


@pytest.fixture
def grey_photo() -> np.ndarray:
    return np.full((600, 600, 3), 130, np.uint8)


def geometry(chip: Chip) -> tuple[str, ...]:
    """Warnings of where a face is; plain ground, as here, also lacks detail."""
    return tuple(word for word in chip.warnings if word not in CONDITION_WARNINGS)


def test_landmarks_in_place_give_the_chip_back_unchanged():
    chip = smooth_picture(CHIP_SIZE, CHIP_SIZE)
    crop = crop_face(chip, face_at(CHIP_LANDMARKS))
    assert np.array_equal(crop.pixels, chip)
    assert geometry(crop) == ()


@pytest.mark.parametrize("scale", [0.3, 0.8, 1.0, 1.7, 5.0])
@pytest.mark.parametrize("degrees", [0, -20, 170])
def test_fit_carries_every_landmark_home(scale, degrees):
    fit = fit_face(face_at(moved(CHIP_LANDMARKS, scale, degrees, (410.5, -33.25))))
    landmarks = moved(CHIP_LANDMARKS, scale, degrees, (410.5, -33.25)) @ [1, 1j]
    assert np.allclose(fit.turn * landmarks + fit.shift, CHIP_LANDMARKS @ [1, 1j])
    assert fit.scale == pytest.approx(1 / scale)
    assert np.allclose(fit.inverse().turn * (CHIP_LANDMARKS @ [1, 1j]) + fit.inverse().shift, landmarks)


@pytest.mark.parametrize(
    ("scale", "degrees"), [(1.0, 15), (0.5, 0), (1.2, -10), (1.6, 8), (2.6, -25), (7.3, 5)]
)
def test_a_moved_chip_comes_back(scale, degrees):
    chip = smooth_picture(CHIP_SIZE, CHIP_SIZE)
    shift = np.array([310.4, 305.7])
    # OpenCV's matrix from pixel corners to pixel centres, as in the module, but written out independently.
    turn = moved([[1, 0], [0, 1]], scale, degrees, 0).T
    centred = np.column_stack([turn, turn @ [0.5, 0.5] + shift - 0.5])
    photo = cv2.warpAffine(chip, centred, (1900, 2000), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT)
    crop = crop_face(photo, face_at(moved(CHIP_LANDMARKS, scale, degrees, shift)))
    inner = np.s_[10:-10, 10:-10]
    off = cv2.absdiff(crop.pixels, chip)[inner].mean()
    assert off < 1
    for axis in (0, 1):  # a crop misplaced by a single pixel, in any direction, is much further off
        for step in (-1, 1):
            assert cv2.absdiff(np.roll(crop.pixels, step, axis), chip)[inner].mean() > 2.5 * off


@pytest.mark.parametrize("scale", [1.5, 2.0, 4.3, 12.0])
def test_shrinking_does_not_alias(scale):
    side = int(CHIP_SIZE * scale)
    board = (np.indices((side, side)).sum(axis=0) % 2 * 255).astype(np.uint8)
    photo = np.repeat(board[..., None], 3, axis=2)
    inner = crop_face(photo, face_at(CHIP_LANDMARKS * scale)).pixels[5:-5, 5:-5]
    assert abs(float(inner.mean()) - 127.5) < 3
    assert inner.std() < 30  # plain bilinear sampling gives over 60


def test_a_face_half_outside_is_black_there_and_says_so():
    wide = np.full((400, 800, 3), 255, np.uint8)
    wide[:, :400] = 90
    photo = wide[:, :400]  # a view: what a stray read beyond the edge would find is white
    crop = crop_face(photo, face_at(moved(CHIP_LANDMARKS, 1, 0, (300, 100))))
    assert crop.pixels.shape == (CHIP_SIZE, CHIP_SIZE, 3)
    assert (crop.pixels[:, :98] == 90).all()
    assert (crop.pixels[:, 102:] == 0).all()
    assert EDGE in crop.warnings


@pytest.mark.parametrize("corner", [(-100, 50), (500, 50), (150, -110), (150, 500), (-90, -90)])
def test_every_edge_is_safe(grey_photo, corner):
    crop = crop_face(grey_photo, face_at(CHIP_LANDMARKS + corner))
    assert EDGE in crop.warnings
    assert set(np.unique(crop.pixels)) <= set(range(131))


def test_missing_background_is_no_warning(grey_photo):
    assert geometry(crop_face(grey_photo, face_at(CHIP_LANDMARKS - [12, 12]))) == ()


def test_a_face_wholly_outside_is_an_error(grey_photo):
    with pytest.raises(ValueError, match="outside"):
        crop_face(grey_photo, face_at(moved(CHIP_LANDMARKS, 1, 0, (900, 0))))
    with pytest.raises(ValueError, match="outside"):
        crop_face(np.zeros((0, 0, 3), np.uint8), face_at(CHIP_LANDMARKS))


def test_a_tiny_face_is_cropped_with_a_warning(grey_photo):
    tiny = crop_face(grey_photo, face_at(moved(CHIP_LANDMARKS, 12 / 213, 0, (300, 300))))
    assert geometry(tiny) == (SMALL,)
    assert (tiny.pixels == 130).all()
    assert geometry(crop_face(grey_photo, face_at(moved(CHIP_LANDMARKS, 0.31, 0, (300, 300))))) == ()


@pytest.mark.parametrize("scale", [0.4, 1.0, 2.0])
@pytest.mark.parametrize(
    ("landmarks", "expected"),
    [
        (photographed(), ()),
        (photographed(yaw=20), ()),
        (photographed(yaw=-20), ()),
        (photographed(pitch=12), ()),
        (photographed(yaw=65), (TURNED,)),
        (photographed(yaw=-65), (TURNED,)),
        (photographed(pitch=45), (NODDING,)),
        (photographed(pitch=-45), (NODDING,)),
        (moved(photographed(), 1, 20, (100, 0)), ()),
        (moved(photographed(), 1, 50, (300, -100)), (TILTED,)),
        (moved(photographed(), 1, -50, (-100, 200)), (TILTED,)),
    ],
)
def test_pose_warnings(landmarks, expected, scale):
    photo = np.full((1500, 1500, 3), 130, np.uint8)
    assert geometry(crop_face(photo, face_at(landmarks * scale))) == expected


@pytest.mark.parametrize("yaw", [-60, -40, 40, 60])
def test_a_turned_head_keeps_about_its_size_and_place(yaw):
    fit = fit_face(face_at(photographed(yaw=yaw)))
    assert 0.9 < fit.scale < 1.35
    middle = fit.turn * complex(300, 300) + fit.shift
    assert abs(middle - complex(98, 98)) < 20


def test_warnings_come_in_the_documented_order(grey_photo):
    landmarks = moved(photographed(yaw=65) - 300, 0.2, 50, (2, 300))
    words = crop_face(grey_photo, face_at(landmarks)).warnings
    assert set(words) >= {SMALL, EDGE, TILTED}
    assert list(words) == [word for word in CROP_WARNINGS if word in words]


def test_landmarks_in_one_point_fall_back_to_the_box(grey_photo):
    fit = fit_face(face_at([[300, 300]] * 5, box=(250, 200, 350, 413)))
    assert fit.turn == pytest.approx(1)
    assert fit.turn * complex(300, 306.5) + fit.shift == pytest.approx(complex(97.3, 86.2))
    assert crop_face(grey_photo, face_at([[300, 300]] * 5)).pixels.shape == (200, 200, 3)


def test_panoramas_wider_than_opencv_can_warp():
    photo = np.zeros((220, 40_000, 3), np.uint8)
    photo[:, 39_000:] = 200
    crop = crop_face(photo, face_at(moved(CHIP_LANDMARKS, 1, 0, (39_500, 10))))
    assert (crop.pixels == 200).all()


@pytest.mark.parametrize(
    ("image", "error"),
    [
        (np.zeros((50, 50, 3), np.float32), TypeError),
        ([[0]], TypeError),
        (np.zeros((50, 50), np.uint8), ValueError),
        (np.zeros((50, 50, 4), np.uint8), ValueError),
    ],
)
def test_what_is_not_an_rgb_image_is_refused(image, error):
    with pytest.raises(error, match="image must be"):
        crop_face(image, face_at(CHIP_LANDMARKS))


def test_coordinates_that_are_no_numbers_are_refused(grey_photo):
    points = CHIP_LANDMARKS.copy()
    points[2, 0] = np.nan
    with pytest.raises(ValueError, match="finite"):
        crop_face(grey_photo, face_at(points, box=(0, 0, 9, 9)))


def test_pad_chip_frames_the_chip_in_grey():
    chip = smooth_picture(CHIP_SIZE, CHIP_SIZE)
    padded = pad_chip(chip)
    assert padded.shape == (300, 300, 3)
    assert padded.dtype == np.uint8
    assert np.array_equal(padded[50:250, 50:250], chip)
    padded[50:250, 50:250] = 127
    assert (padded == 127).all()


def test_the_constant_is_the_measured_template():
    template = json.loads(MEASUREMENTS.read_text(encoding="utf-8"))["template"]
    assert np.abs(CHIP_LANDMARKS - template).max() <= 0.05 + 1e-9


def test_the_constant_cannot_be_changed():
    with pytest.raises(ValueError, match="read-only"):
        CHIP_LANDMARKS[0, 0] = 1
