"""Faces are found once, kept by content, and found again after whatever happened to the file of them."""

from __future__ import annotations

import io
import shutil
from pathlib import Path

import numpy as np
import pytest

from agegender.data import landmarks
from agegender.data.landmarks import find_faces
from agegender.data.table import read_dataset
from agegender.faces import Face, FaceDetector
from agegender.faces.crop import CHIP_PAD
from tests.conftest import FACE_IN_PHOTO, make_chip, photo_around, write_chip, write_source

N = 5


class Detector:
    """Sees `FACE_IN_PHOTO` in every padded photo but dark ones; stops after so many."""

    def __init__(self, stops_after: int = 1000) -> None:
        self.seen = 0
        self.stops_after = stops_after

    def detect_many(self, images):
        faces = []
        for image in images:
            if self.seen == self.stops_after:
                raise KeyboardInterrupt
            self.seen += 1
            assert (image[0, 0] == 127).all()
            box = tuple(value + CHIP_PAD for value in FACE_IN_PHOTO.box)
            points = tuple((x + CHIP_PAD, y + CHIP_PAD) for x, y in FACE_IN_PHOTO.landmarks)
            dark = image[150, 150].max() < 30
            faces.append(
                [] if dark else [Face((0.0, 0.0, 9.0, 9.0), 0.9, ((5.0, 5.0),) * 5), Face(box, 0.99, points)]
            )
        return faces


@pytest.fixture
def photos(tmp_path) -> Path:
    rng = np.random.default_rng(2)
    pictures = {f"{i}.jpg": photo_around(make_chip(rng), rng) for i in range(N)}
    pictures["dark.jpg"] = np.zeros((300, 300, 3), np.uint8)
    return write_source(tmp_path / "photos", pictures)


def about(face: Face | None) -> bool:
    return face is not None and np.allclose(face.landmarks, FACE_IN_PHOTO.landmarks, atol=1e-3)


def find(folder, detector, cache=None, **how) -> list[Face | None]:
    return find_faces(read_dataset(folder), detector=detector, cache=cache, **how)


def test_the_main_face_is_found_in_pixels_of_the_photo_and_none_where_there_is_none(photos):
    calls = []
    *faces, dark = find(photos, Detector(), progress=lambda *call: calls.append(call))
    assert all(about(face) for face in faces)
    assert faces[0].box == pytest.approx(FACE_IN_PHOTO.box)
    assert faces[0].confidence == pytest.approx(0.99)
    assert dark is None
    assert calls == [("Finding faces", N + 1, N + 1)]


def test_chips_are_not_looked_at_and_broken_pictures_have_no_face(photos):
    chips = photos.parent / "chips"
    chips.mkdir()
    write_chip(chips / "30_0_0_a.jpg", make_chip(np.random.default_rng(1)))
    (photos / "1.jpg").write_bytes(b"no picture")
    dataset = read_dataset([chips, photos])
    (photos / "2.jpg").unlink()
    detector = Detector()
    faces = find_faces(dataset, detector=detector)
    assert [about(face) for face in faces] == [False, True, False, False, True, True, False]
    assert detector.seen == N + 1 - 2
    rows = dataset.table.iloc[[6, 1]]
    assert [about(face) for face in find_faces(dataset, rows, detector=detector)] == [False, True]


def test_what_was_found_is_found_again_by_content_whatever_a_file_is_called(photos, tmp_path):
    cache, detector = tmp_path / "deep" / ".landmarks.npz", Detector()
    first = find(photos, detector, cache)
    assert find(photos, detector, cache) == first
    assert detector.seen == N + 1
    moved = tmp_path / "moved"
    moved.mkdir()
    (moved / "labels.csv").write_text("file,age,gender\nb.jpg,3,0\na.jpg,4,1\n")
    shutil.copy(photos / "0.jpg", moved / "b.jpg")
    shutil.copy(photos / "dark.jpg", moved / "a.jpg")
    assert find(moved, detector, cache) == [None, first[0]]
    assert detector.seen == N + 1
    shutil.copy(photos / "1.jpg", moved / "b.jpg")
    write_chip(moved / "a.jpg", np.full((300, 300, 3), 90, np.uint8))
    assert [about(face) for face in find(moved, detector, cache)] == [True, True]
    assert detector.seen == N + 2


def test_equal_files_are_looked_at_once(tmp_path):
    photo = photo_around(make_chip(np.random.default_rng(1)), np.random.default_rng(2))
    detector = Detector()
    faces = find(write_source(tmp_path, {"a.jpg": photo, "b.jpg": photo}), detector)
    assert detector.seen == 1
    assert about(faces[0])
    assert faces[0] == faces[1]


def test_an_interrupted_search_goes_on(photos, tmp_path, monkeypatch):
    monkeypatch.setattr(landmarks, "_BATCH", 2)
    cache = tmp_path / "kept.npz"
    with pytest.raises(KeyboardInterrupt):
        find(photos, Detector(stops_after=4), cache)
    detector = Detector()
    faces = find(photos, detector, cache)
    assert detector.seen == N + 1 - 4
    assert [about(face) for face in faces] == [True] * N + [False]


def test_what_another_run_found_meanwhile_stays(photos, tmp_path):
    cache = tmp_path / "kept.npz"
    other = write_source(
        tmp_path / "other",
        {"x.jpg": photo_around(make_chip(np.random.default_rng(9)), np.random.default_rng(9))},
    )

    class Busy(Detector):
        def detect_many(self, images):
            find(other, Detector(), cache)
            return super().detect_many(images)

    find(photos, Busy(), cache)
    detector = Detector()
    find(photos, detector, cache)
    find(other, detector, cache)
    assert detector.seen == 0


def npz(**arrays) -> bytes:
    stream = io.BytesIO()
    np.savez(stream, **arrays)
    return stream.getvalue()


def npy(array) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


WHOLE = npz(digests=np.array(["a" * 32] * 50), faces=np.zeros((50, 15), np.float32))
DAMAGED = {
    "empty": b"",
    "no zip": b"half a file",
    "the beginning of a zip": WHOLE[:500],
    "a zip without its middle": WHOLE[:200] + WHOLE[900:],
    "other arrays": npz(other=np.zeros(3)),
    "rows that do not match": npz(digests=np.array(["a"]), faces=np.zeros((2, 15), np.float32)),
    "other numbers": npz(digests=np.array(["a"]), faces=np.zeros((1, 14), np.float32)),
    "a lone array": npy(np.zeros(3)),
    "pickled": npz(digests=np.array([{}], dtype=object), faces=np.zeros((1, 15), np.float32)),
}


@pytest.mark.parametrize("damage", DAMAGED)
def test_a_damaged_file_is_as_good_as_none(photos, tmp_path, damage):
    cache = tmp_path / "kept.npz"
    cache.write_bytes(DAMAGED[damage])
    detector = Detector()
    faces = find(photos, detector, cache)
    assert [about(face) for face in faces] == [True] * N + [False]
    assert find(photos, detector, cache) == faces
    assert detector.seen == N + 1


@pytest.mark.slow
def test_the_app_s_own_detector_finds_the_astronaut_and_her_crop_is_upright(astronaut, tmp_path):
    from agegender.data.pictures import read_chip

    folder = write_source(tmp_path, {"a.jpg": np.ascontiguousarray(astronaut[:256, 96:352])})
    [face] = find(folder, FaceDetector())
    (left, right), mouth = face.landmarks[:2], face.landmarks[3:]
    assert left[0] < right[0]
    assert max(left[1], right[1]) < min(y for _, y in mouth)
    assert read_chip(folder / "a.jpg", face, 12).shape == (224, 224, 3)
