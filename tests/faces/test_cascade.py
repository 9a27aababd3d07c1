"""The cascade against the package whose networks it runs, at equal input."""

import json
import shutil

import cv2
import numpy as np
import pytest
import skimage.data

from agegender import assets
from agegender.errors import ModelError, WeightsNotFoundError
from agegender.faces import cascade as module
from agegender.faces.cascade import Cascade
from agegender.faces.pyramid import Pyramid

CONFIDENCE = 0.8
"""The package's own threshold."""


def resized(image: np.ndarray, long_side: int) -> np.ndarray:
    scale = long_side / max(image.shape[:2])
    size = (round(image.shape[1] * scale), round(image.shape[0] * scale))
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)


def photos() -> dict[str, np.ndarray]:
    astronaut, wall = skimage.data.astronaut(), cv2.imread(str(assets.EXAMPLE))[..., ::-1]
    head = np.ascontiguousarray(astronaut[0:260, 100:360])
    chosen = {
        "portrait": astronaut,
        "seven faces": resized(wall, 1000),
        "odd size": resized(wall, 801)[:401, :799],
        "huge": resized(wall, 2200),
        "portrait huge": resized(astronaut, 1501),
        "a hundred faces": np.tile(resized(head, 96), (10, 10, 1)),
        "chip": resized(head, 224),
        "chip of odd size": resized(head, 225),
        "tight chip": resized(np.ascontiguousarray(astronaut[50:190, 160:290]), 200),
        "face cut off": resized(np.ascontiguousarray(astronaut[40:140, 200:300]), 181),
        "small": resized(astronaut, 60),
        "narrow": np.ascontiguousarray(astronaut[:, 200:247]),
        "tiny": resized(head, 24),
        "a window": resized(head, 12),
        "no face": resized(skimage.data.coffee(), 500),
        "no face, one colour": np.full((300, 400, 3), 90, np.uint8),
        "noise": np.random.default_rng(3).integers(0, 256, (201, 333, 3), dtype=np.uint8),
    }
    # What lies beyond the edge of a level of odd size must not count: cut faces show whether it does.
    random = np.random.default_rng(7)
    for number in range(12):
        height, width = random.integers(90, 260, 2)
        y, x = random.integers(0, 300 - height), random.integers(20, 440 - width)
        chosen[f"cut {number}"] = np.ascontiguousarray(astronaut[y : y + height, x : x + width])
    return {name: np.ascontiguousarray(picture) for name, picture in chosen.items()}


@pytest.fixture(scope="module")
def pictures() -> dict[str, np.ndarray]:
    return photos()


@pytest.fixture(scope="module")
def found(pictures) -> dict[str, module.Detections]:
    """What the cascade finds in all photos, given together."""
    detections = Cascade().detect([Pyramid(picture) for picture in pictures.values()], CONFIDENCE)
    return dict(zip(pictures, detections, strict=True))


def test_same_faces_as_the_package(pictures, found):
    from mtcnn import MTCNN

    package = MTCNN()
    for name, picture in pictures.items():
        expected = package.detect_faces(
            picture.astype(np.float32),
            fit_to_image=False,
            box_format="xyxy",
            output_type="numpy",
            threshold_onet=CONFIDENCE,
        )
        own = found[name]
        assert len(own.boxes) == len(expected), name
        if not len(expected):
            continue
        # Each with the nearest, as confidences may tie; each once.
        match = np.abs(own.boxes[:, None] - expected[None, :, 1:5]).max(axis=2).argmin(axis=1)
        assert sorted(match) == list(range(len(expected))), name
        expected = expected[match]
        # Far below a pixel: more would mean that another candidate had been taken.
        assert np.allclose(own.boxes, expected[:, 1:5], atol=0.1), name
        assert np.allclose(own.landmarks[..., 0], expected[:, 6:11], atol=0.1), name
        assert np.allclose(own.landmarks[..., 1], expected[:, 11:16], atol=0.1), name
        assert np.allclose(own.confidences, expected[:, 5], atol=0.001), name


def test_photos_are_what_their_names_say(found):
    faces = {name: len(detections.boxes) for name, detections in found.items()}
    assert faces["portrait"] == faces["portrait huge"] == faces["chip"] == faces["small"] == 1
    assert faces["seven faces"] == 7
    assert faces["huge"] >= 7
    assert faces["a hundred faces"] == 100
    assert faces["no face"] == faces["no face, one colour"] == faces["noise"] == faces["a window"] == 0
    assert sum(faces[f"cut {number}"] for number in range(12)) >= 5


def test_one_thread_and_one_picture_at_a_time_find_the_same(pictures, found):
    alone = Cascade(threads=1)
    for name in ("seven faces", "chip", "tiny"):
        (detections,) = alone.detect([Pyramid(pictures[name])], CONFIDENCE)
        assert np.allclose(detections.boxes, found[name].boxes, atol=1e-3)
        assert np.allclose(detections.landmarks, found[name].landmarks, atol=1e-3)
    assert alone.detect([], CONFIDENCE) == []


def test_shrinking_takes_the_mean_of_areas(pictures):
    picture = pictures["odd size"]
    for size in [(400, 798), (240, 479), (13, 25), (1, 1), (401, 1), (401, 799)]:
        shrunk = Pyramid(picture).shrink(size)
        expected = cv2.resize(picture.astype(np.float32), size[::-1], interpolation=cv2.INTER_AREA)
        assert np.allclose(shrunk, expected.reshape(shrunk.shape), atol=1e-2)


def test_damaged_and_missing_files_say_so(monkeypatch, tmp_path):
    folder = tmp_path / "mtcnn"
    shutil.copytree(assets.MTCNN, folder)
    monkeypatch.setattr(module, "MTCNN", folder)
    network = folder / "onet.tflite"
    content = bytearray(network.read_bytes())
    content[1000] ^= 1
    network.write_bytes(content)
    with pytest.raises(ModelError, match=r"onet\.tflite is damaged"):
        Cascade()
    network.unlink()
    with pytest.raises(WeightsNotFoundError, match=r"onet\.tflite is missing"):
        Cascade()
    (folder / "provenance.json").write_text(json.dumps({}))
    with pytest.raises(ModelError, match="cannot be read"):
        Cascade()
