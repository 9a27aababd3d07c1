from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import pytest

from agegender.assets import EXAMPLE
from agegender.faces import CHIP_SIZE, Face, FaceDetector, crop_face, main_face, pad_chip
from agegender.faces.cascade import Cascade
from agegender.faces.crop import fit_face
from agegender.faces.repeats import drop_repeats
from agegender.images import read_image

FACE_BOX = (181, 63, 265, 172)
"""The face in scikit-image's astronaut picture, 512×512, to within a few pixels."""

EYES = ((203.5, 100.5), (245.5, 102.5))


@pytest.fixture(scope="module")
def detector() -> FaceDetector:
    return FaceDetector()


def resized(image: np.ndarray, side: int) -> np.ndarray:
    shrinks = side < image.shape[0]
    return cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC)


def overlap(one, other) -> float:
    x1, y1, x2, y2 = one
    u1, v1, u2, v2 = other
    shared = max(0, min(x2, u2) - max(x1, u1)) * max(0, min(y2, v2) - max(y1, v1))
    return shared / ((x2 - x1) * (y2 - y1) + (u2 - u1) * (v2 - v1) - shared)


def made_up(box, confidence=0.95, nudge=0.0) -> Face:
    x1, y1, x2, y2 = box
    places = ((0.3, 0.4), (0.7, 0.4), (0.5, 0.6), (0.35, 0.8), (0.65, 0.8))
    points = tuple((x1 + x * (x2 - x1) + nudge, y1 + y * (y2 - y1)) for x, y in places)
    return Face(box=box, confidence=confidence, landmarks=points)


def test_one_face_in_the_astronaut_picture(detector, astronaut):
    (face,) = detector.detect(astronaut)
    assert overlap(face.box, FACE_BOX) > 0.9
    assert face.confidence > 0.99
    assert np.allclose(face.landmarks[:2], EYES, atol=2)
    left_eye, right_eye, nose, mouth_left, mouth_right = face.landmarks
    assert left_eye[0] < nose[0] < right_eye[0]
    assert mouth_left[0] < mouth_right[0]
    assert nose[1] < min(mouth_left[1], mouth_right[1])
    assert crop_face(astronaut, face).warnings == ()


@pytest.mark.parametrize("side", [60, 100, 160, 161, 300, 1024, 4000])
def test_the_same_face_at_any_size(detector, astronaut, side):
    best = main_face(detector.detect(resized(astronaut, side)), (side, side))
    assert best is not None
    assert overlap(np.array(best.box) * 512 / side, FACE_BOX) > 0.8
    assert np.allclose(np.array(best.landmarks[:2]) * 512 / side, EYES, atol=5)


@pytest.mark.parametrize("side", [40, 200, 480, 1500])
def test_a_face_larger_than_the_picture_is_found(detector, astronaut, side):
    x1, y1, x2, y2 = 192, 86, 256, 150  # from brows to chin: the package alone finds nothing here
    tight = resized(np.ascontiguousarray(astronaut[y1:y2, x1:x2]), side)
    face = main_face(detector.detect(tight), tight.shape)
    assert face is not None
    assert face.size > 0.7 * side
    assert np.allclose(np.array(face.landmarks[:2]) * 64 / side + (x1, y1), EYES, atol=5)


def test_a_small_face_near_each_corner_has_its_landmarks_in_place(detector, astronaut):
    # The package alone is off by up to one pixel at the corners; on this 41 px face that would show.
    head = resized(np.ascontiguousarray(astronaut[0:260, 100:360]), 128)
    landmarks = []
    for x, y in [(0, 0), (1152, 0), (0, 832), (1152, 832)]:
        photo = np.full((960, 1280, 3), 120, np.uint8)
        photo[y : y + 128, x : x + 128] = head
        (face,) = detector.detect(photo)
        landmarks.append(np.array(face.landmarks) - (x, y))
    middle = np.mean(landmarks, axis=0)
    assert all(np.abs(found.mean(axis=0) - middle.mean(axis=0)).max() < 0.45 for found in landmarks)


def test_no_face_is_an_empty_list(detector):
    assert detector.detect(np.full((480, 640, 3), 200, np.uint8)) == []
    noise = np.random.default_rng(1).integers(0, 256, (300, 400, 3), dtype=np.uint8)
    assert detector.detect(noise) == []


@pytest.mark.parametrize(
    "shape", [(1, 1), (1, 1000), (1000, 1), (11, 300), (12, 12), (13, 40), (12, 5000), (24, 161), (200, 12)]
)
def test_odd_shapes_raise_nothing(detector, shape):
    assert detector.detect(np.full((*shape, 3), 90, np.uint8)) == []


def test_faces_come_from_left_to_right_and_inside_the_picture(detector, astronaut):
    left = astronaut[:, 220:]  # half the face is cut off
    photo = np.hstack([left, astronaut, astronaut[:, ::-1]])
    faces = detector.detect(photo, min_confidence=0.7)
    assert len(faces) >= 2
    centres = [(face.box[0] + face.box[2]) / 2 for face in faces]
    assert centres == sorted(centres)
    for face in faces:
        x1, y1, x2, y2 = face.box
        assert 0 <= x1 < x2 <= photo.shape[1]
        assert 0 <= y1 < y2 <= photo.shape[0]


def test_options_drop_faces(detector, astronaut):
    (face,) = detector.detect(astronaut, min_face=80)
    assert detector.detect(astronaut, min_face=face.size + 1) == []
    assert detector.detect(astronaut, min_confidence=1.0) == []
    assert len(detector.detect(astronaut, min_confidence=0.0)) >= 1


def test_pictures_together_give_what_each_gives_alone(detector, astronaut):
    pictures = [
        astronaut,
        resized(astronaut, 100),
        np.zeros((5, 5, 3), np.uint8),
        astronaut[:, ::-1],
        astronaut,
    ]
    together = detector.detect_many(pictures)
    assert [len(faces) for faces in together] == [1, 1, 0, 1, 1]
    for picture, faces in zip(pictures, together, strict=True):
        for face, alone in zip(faces, detector.detect(picture), strict=True):
            assert np.allclose(face.box, alone.box, atol=0.01)
            assert np.allclose(face.landmarks, alone.landmarks, atol=0.01)
    assert detector.detect_many([]) == []


def test_max_side_decides_how_small_a_face_is_found(astronaut):
    photo = np.full((1600, 1600, 3), 120, np.uint8)
    photo[700:828, 700:828] = resized(astronaut, 128)  # the face is 27 px high
    assert FaceDetector(max_side=320).detect(photo) == []
    (face,) = FaceDetector(max_side=1600).detect(photo)
    assert overlap((np.array(face.box) - 700) * 4, FACE_BOX) > 0.6


def test_threads_share_a_detector(astronaut):
    shared = FaceDetector()  # fresh, so that the threads also meet while it loads
    pictures = [resized(astronaut, side) for side in (200, 320, 512, 640)] * 2
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(shared.detect, pictures))
    assert answers == [shared.detect(picture) for picture in pictures]
    assert all(len(faces) == 1 for faces in answers)


@pytest.mark.parametrize(
    ("image", "error"),
    [
        (np.zeros((50, 50, 3), np.float32), TypeError),
        ("photo.jpg", TypeError),
        (np.zeros((50, 50), np.uint8), ValueError),
        (np.zeros((50, 50, 4), np.uint8), ValueError),
    ],
)
def test_what_is_not_an_rgb_image_is_refused(detector, image, error):
    with pytest.raises(error, match="image must be"):
        detector.detect(image)


@pytest.mark.parametrize(
    "options",
    [{"min_confidence": 1.2}, {"min_confidence": -0.1}, {"min_face": -1}, {"min_face": float("nan")}],
)
def test_options_out_of_range_are_refused(detector, astronaut, options):
    with pytest.raises(ValueError, match=next(iter(options))):
        detector.detect(astronaut, **options)


@pytest.mark.parametrize("options", [{"max_side": 50}, {"threads": 0}])
def test_settings_out_of_range_are_refused(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        FaceDetector(**options)


def test_repeats_keep_the_most_confident():
    sure, unsure = made_up((100, 100, 200, 220), 0.99), made_up((104, 96, 206, 214), 0.92)
    nested = made_up((110, 120, 190, 200), 0.97)
    neighbour = made_up((180, 100, 280, 220), 0.91)
    kept = drop_repeats([unsure, neighbour, sure, nested])
    assert kept == [sure, neighbour]
    # A small box inside a large one whose landmarks are elsewhere is a face of its own: a child on an arm.
    child = made_up((150, 170, 198, 218), 0.93)
    assert drop_repeats([sure, child]) == [sure, child]


@pytest.mark.parametrize("turns", [1, 2, 3])
@pytest.mark.parametrize("side", [120, 512])  # in the small view alone, and in the large one
def test_a_face_that_is_not_upright_is_found_and_cropped_upright(detector, astronaut, turns, side):
    photo = resized(astronaut, side)
    (upright,) = detector.detect(photo)
    turned = np.ascontiguousarray(np.rot90(photo, turns))
    (face,) = detector.detect(turned)
    assert face.quarter_turns == (-turns) % 4
    points = np.array(upright.landmarks)
    for _ in range(turns):
        points = np.stack([points[:, 1], side - points[:, 0]], axis=1)
    assert np.allclose(face.landmarks, points, atol=0.06 * upright.size)
    x1, y1, x2, y2 = face.box
    assert x1 < points[2][0] < x2
    assert y1 < points[2][1] < y2
    cropped, expected = crop_face(turned, face), crop_face(photo, upright)
    assert "tilted" not in cropped.warnings
    assert np.abs(cropped.pixels.astype(int) - expected.pixels).mean() < 20  # turned wrongly it is over 60


def test_all_faces_of_a_turned_photo_are_found_in_one_direction(detector):
    photo = read_image(EXAMPLE)
    turned = detector.detect(np.ascontiguousarray(np.rot90(photo, 3)))
    assert len(turned) == len(detector.detect(photo)) == 7
    assert {face.quarter_turns for face in turned} == {1}


def test_other_directions_cost_little_where_there_is_no_reason_to_look(detector, astronaut, monkeypatch):
    looked_at: list[int] = []
    refine = Cascade.refine

    def counting(self, pictures, boxes, turns=None):
        looked_at.append(sum(map(len, boxes)) if turns is not None else 0)
        return refine(self, pictures, boxes, turns)

    monkeypatch.setattr(Cascade, "refine", counting)
    detector.detect(astronaut)
    assert sum(looked_at) == 0  # the face is beyond doubt
    noise = np.random.default_rng(1).integers(0, 256, (60, 80, 3), dtype=np.uint8)
    assert detector.detect(resized(noise, 1280)) == []
    assert 0 < sum(looked_at) <= 3 * (163 + 5)  # of 254 proposals


@pytest.mark.parametrize("shape", [(512, 20_000), (20_000, 512), (100, 60_000), (420, 1000)])
def test_faces_in_a_strip_are_found(detector, astronaut, shape):
    # The first would be 33 px high at a long side of 1280.
    strip = np.full((*shape, 3), (90, 120, 150), np.uint8)
    head = astronaut[:250, 100:350]
    side = min(384, *shape)
    y, x = (shape[0] - side) // 2, (shape[1] - side) // 2
    strip[y : y + side, x : x + side] = resized(np.ascontiguousarray(head), side)
    (face,) = detector.detect(strip)
    box = (np.array(face.box) - (x, y, x, y)) * 250 / side + (100, 0, 100, 0)
    assert overlap(box, FACE_BOX) > 0.7


def test_a_face_that_fills_a_strip_is_found(detector, astronaut):
    strip = np.full((400, 12_000, 3), 120, np.uint8)
    strip[:, 6000:6400] = resized(np.ascontiguousarray(astronaut[86:150, 192:256]), 400)
    assert main_face(detector.detect(strip), strip.shape) is not None


def test_main_face_is_large_and_central():
    central = made_up((120, 110, 200, 200))
    larger_aside = made_up((0, 0, 90, 100))
    tiny_central = made_up((150, 150, 162, 162))
    assert main_face([larger_aside, tiny_central, central], (300, 300, 3)) is central
    assert main_face([], (300, 300)) is None


@pytest.mark.dataset
@pytest.mark.slow
def test_utkface_chips_are_found_and_come_back_in_place(detector, dataset_dir):
    files = sorted(dataset_dir.glob("*.jpg"))
    files = files[3 :: max(1, len(files) // 200)]
    chips = [cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB) for path in files]
    found = [
        main_face(faces, (300, 300)) for faces in detector.detect_many([pad_chip(chip) for chip in chips])
    ]
    faces = [face for face in found if face is not None]
    assert len(faces) >= 0.95 * len(files)  # 0.98 over thousands; a few hundred scatter

    fits = [fit_face(face) for face in faces]
    centre = complex(CHIP_SIZE, CHIP_SIZE) / 2
    shifts = [fit.turn * (centre + 50 + 50j) + fit.shift - centre for fit in fits]
    assert np.median([fit.scale for fit in fits]) == pytest.approx(1, abs=0.01)
    assert abs(np.median(np.real(shifts))) < 1
    assert abs(np.median(np.imag(shifts))) < 1
    assert np.median(np.abs(shifts)) < 4
