"""From a picture to predictions: what is asked of detector and networks, and what comes out."""

from __future__ import annotations

import io
import json
import os
import pickle
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from agegender import AgeGenderError, ImageError, Predictor
from agegender.errors import EmptyImageError, ModelError, UnknownModelError, WeightsNotFoundError
from agegender.faces import CHIP_SIZE, Face, FaceDetector
from agegender.faces.condition import DARK
from agegender.faces.crop import CHIP_LANDMARKS, SMALL
from agegender.labels import MAX_AGE
from agegender.models.engine import RawAnswers
from agegender.places import SHIPPED_WEIGHTS

ROOT = Path(__file__).parents[1]

AGE_CALIBRATION = {
    "method": "residuals",
    "coverage": 0.9,
    "n": 100,
    "knots": [0.0, 100.0],
    "lower_offsets": [-4.0, -8.0],
    "upper_offsets": [5.0, 9.0],
}
GENDER_CALIBRATION = {"temperature": 1.0, "n": 100, "uncertain_below": 0.6}


class FakeDetector:
    """Finds the faces it was given, and remembers what it was asked."""

    def __init__(self, *faces: Face) -> None:
        self.faces = list(faces)
        self.asked: list[tuple[tuple[int, ...], dict]] = []

    def detect(self, image: np.ndarray, **options) -> list[Face]:
        self.asked.append((image.shape, options))
        return self.faces


class FakeModel:
    """Says that a chip is as old as its mean brightness, and female where that is over 50."""

    card = {"calibration": {"age": AGE_CALIBRATION, "gender": GENDER_CALIBRATION}}  # noqa: RUF012
    margin = 0

    def __init__(self, *, age: bool = True, gender: bool = True) -> None:
        self.tasks = age, gender
        self.seen: list[np.ndarray] = []

    def answer(self, chips: np.ndarray) -> RawAnswers:
        self.seen.append(chips)
        brightness = chips.mean(axis=(1, 2, 3)).astype(np.float32)
        female = np.where(brightness > 50, 0.9, 0.2).astype(np.float32)
        return RawAnswers(
            age=brightness if self.tasks[0] else None,
            age_distribution=None,
            female=female if self.tasks[1] else None,
        )


def face_at(x: float, y: float, side: float = 60.0) -> Face:
    points = tuple((x + side * px / 200, y + side * py / 200) for px, py in CHIP_LANDMARKS)
    return Face((x, y, x + side, y + side), 0.99, points)


def predictor_with(
    monkeypatch: pytest.MonkeyPatch, *faces: Face, model: FakeModel | None = None
) -> tuple[Predictor, FakeDetector, FakeModel]:
    detector, network = FakeDetector(*faces), model or FakeModel()
    predictor = Predictor(detector=detector)
    monkeypatch.setattr(predictor, "load", lambda: network)
    return predictor, detector, network


def photo(brightness: int = 30, size: tuple[int, int] = (120, 300)) -> np.ndarray:
    return np.full((*size, 3), brightness, np.uint8)


def png(image: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, "PNG")
    return stream.getvalue()


def test_every_face_gets_one_prediction_from_one_batch(monkeypatch):
    faces = [face_at(10, 20), face_at(100, 20), face_at(200, 30)]
    predictor, _, network = predictor_with(monkeypatch, *faces)
    predictions = predictor.predict(photo())
    assert [p.face for p in predictions] == faces
    assert [chips.shape for chips in network.seen] == [(3, CHIP_SIZE, CHIP_SIZE, 3)]
    for p in predictions:
        assert p.chip.shape == (CHIP_SIZE + 2 * predictor.margin, CHIP_SIZE + 2 * predictor.margin, 3)
        assert p.age.years == pytest.approx(30, abs=1)
        assert p.gender.label == "male"


def test_each_face_gets_its_own_answer(monkeypatch):
    image = photo()
    image[:, 150:] = 80
    predictor, _, _ = predictor_with(monkeypatch, face_at(30, 30, 50), face_at(220, 30, 50))
    first, second = predictor.predict(image)
    assert (first.age.years, second.age.years) == pytest.approx((30, 80), abs=2)
    assert (first.gender.label, second.gender.label) == ("male", "female")


def test_no_face_is_an_empty_list_and_loads_no_networks(monkeypatch):
    predictor, _, network = predictor_with(monkeypatch)
    assert predictor.predict(photo()) == []
    assert not network.seen


def test_thresholds_are_passed_on_only_where_given(monkeypatch):
    predictor, detector, _ = predictor_with(monkeypatch)
    predictor.predict(photo())
    predictor.predict(photo(), min_confidence=0.5, min_face=40)
    assert [options for _, options in detector.asked] == [
        {"min_face": 0.0},
        {"min_face": 40, "min_confidence": 0.5},
    ]


def test_paths_bytes_files_and_arrays_are_the_same_picture(monkeypatch, tmp_path):
    image = photo(70)
    path = tmp_path / "photo.png"
    path.write_bytes(png(image))
    predictor, detector, _ = predictor_with(monkeypatch, face_at(10, 10))
    ages = [
        predictor.predict(source)[0].age.years
        for source in (path, str(path), png(image), io.BytesIO(png(image)), image)
    ]
    assert ages == pytest.approx([70] * 5)
    assert {shape for shape, _ in detector.asked} == {(120, 300, 3)}


def test_many_pictures_are_taken_as_they_are_needed_and_answered_in_order(monkeypatch, tmp_path):
    notes = tmp_path / "notes.txt"
    notes.write_text("not a picture", encoding="utf-8")
    taken: list[int] = []

    def pictures():
        yield notes
        for level in range(1, 101):
            taken.append(level)
            yield photo(level)

    monkeypatch.setattr("agegender.batch.cores", lambda: 2)
    predictor, _, _ = predictor_with(monkeypatch, face_at(10, 10))
    results = predictor.predict(pictures())
    assert taken == []
    first = next(results)
    assert (first.path, first.size, list(first.faces)) == (str(notes), None, [])
    assert "picture" in first.error
    for level in range(1, 51):
        result = next(results)
        assert (result.size, result.error) == ((300, 120), None)
        assert result.faces[0].age.years == pytest.approx(level)
        assert len(taken) <= level + 4
    results.close()
    assert len(taken) <= 55


def test_many_pictures_end_with_a_mistake_of_the_caller(monkeypatch):
    predictor, _, _ = predictor_with(monkeypatch, face_at(10, 10))
    with pytest.raises(ValueError, match="shape"):
        list(predictor.predict([np.zeros((9, 9), np.uint8)]))


def test_a_file_that_is_no_picture_is_refused(monkeypatch, tmp_path):
    path = tmp_path / "notes.txt"
    path.write_text("not a picture", encoding="utf-8")
    predictor, _, _ = predictor_with(monkeypatch)
    for predict in (predictor.predict, predictor.predict_chip_image):
        with pytest.raises(ImageError, match=r"notes\.txt"):
            predict(path)


def test_warnings_of_the_crop_reach_the_prediction(monkeypatch):
    small, large = face_at(2, 2, 14), face_at(100, 10, 100)
    predictor, _, _ = predictor_with(monkeypatch, small, large)
    first, second = predictor.predict(photo())
    assert SMALL in first.warnings
    assert second.warnings == (DARK,)  # the photo is all of one dark grey


def test_a_chip_is_predicted_whole_and_undetected(monkeypatch):
    predictor, detector, network = predictor_with(monkeypatch)
    prediction = predictor.predict_chip_image(photo(40, (100, 50)))
    assert detector.asked == []
    assert [chips.shape for chips in network.seen] == [(1, CHIP_SIZE, CHIP_SIZE, 3)]
    assert prediction.face.box == (0, 0, 50, 100)
    assert prediction.face.confidence == 1
    assert np.array(prediction.face.landmarks) == pytest.approx(CHIP_LANDMARKS * [0.25, 0.5])
    assert prediction.age.years == pytest.approx(40)
    assert prediction.warnings == (DARK,)


@pytest.fixture
def wide(monkeypatch) -> tuple[Predictor, FakeModel]:
    """A predictor of photos with one face, whose model wants 12 px around UTKFace's chips."""
    model = FakeModel()
    monkeypatch.setattr(model, "margin", 12)
    predictor, _, _ = predictor_with(monkeypatch, face_at(60, 20, 80), model=model)
    predictor.margin = 12
    return predictor, model


def test_a_model_with_a_margin_is_shown_what_the_photo_has_there(wide):
    predictor, model = wide
    [prediction] = predictor.predict(photo(50))
    assert [chips.shape for chips in model.seen] == [(1, 224, 224, 3)]
    assert (model.seen[0] == 50).all()
    assert prediction.chip.shape == (224, 224, 3)
    assert prediction.margin == 12
    assert prediction.age.years == pytest.approx(50)


def test_chips_are_brought_to_the_margin_of_the_model(wide):
    predictor, model = wide
    tight, loose = photo(50, (200, 200)), photo(50, (280, 280))
    predictor.predict_chips(tight[None])
    predictor.predict_chip_image(tight)
    predictor.predict_chips(loose[None], margin=40)
    predictor.predict_chips(photo(50, (224, 224))[None], margin=12)
    framed = np.pad(tight, ((12, 12), (12, 12), (0, 0)))
    for chips, expected in zip(
        model.seen, [framed, framed, loose[28:-28, 28:-28], photo(50, (224, 224))], strict=True
    ):
        assert (chips == expected[None]).all()
    model.margin = 0
    predictor.predict_chips(loose[None], margin=40)
    assert model.seen[-1].shape == (1, 200, 200, 3)


def test_ages_come_with_their_calibrated_interval(monkeypatch):
    predictor, _, _ = predictor_with(monkeypatch)
    [(age, _)] = predictor.predict_chips(photo(50, (64, 64))[None])
    assert (age.years, age.low, age.high) == pytest.approx((50, 44, 57))
    assert age.coverage == 0.9
    assert age.distribution is None


def card_of_age(**calibration: Any) -> dict[str, Any]:
    return {"calibration": {"age": {"coverage": 0.8, "n": 9, **calibration}}}


def test_the_distribution_is_that_of_its_face(monkeypatch):
    predictor, _, network = predictor_with(monkeypatch)
    distribution = np.eye(MAX_AGE + 1, dtype=np.float32)[[20, 60]]
    raw = RawAnswers(age=np.array([20.0, 60.0]), age_distribution=distribution, female=None)
    monkeypatch.setattr(network, "answer", lambda _: raw)
    monkeypatch.setattr(network, "card", card_of_age(method="bands", band_tails=[0.1] * 9), raising=False)
    (young, _), (old, _) = predictor.predict_chips(np.zeros((2, 8, 8, 3), np.uint8))
    assert int(young.distribution.argmax()) == 20
    assert int(old.distribution.argmax()) == 60
    assert (old.low, old.high) == (60, 60)
    assert old.coverage == 0.8


def test_the_age_is_the_whole_year_of_the_distribution_that_is_shown(monkeypatch):
    predictor, _, network = predictor_with(monkeypatch)
    distribution = np.zeros((1, MAX_AGE + 1), np.float32)
    distribution[0, [20, 50]] = 2 / 3, 1 / 3
    raw = RawAnswers(age=np.array([30.0]), age_distribution=distribution, female=None)
    monkeypatch.setattr(network, "answer", lambda _: raw)
    fitted = {"sharpness": 2.0, "band_tails": [0.3] * 9}
    monkeypatch.setattr(network, "card", card_of_age(method="bands", **fitted), raising=False)
    [(age, _)] = predictor.predict_chips(np.zeros((1, 8, 8, 3), np.uint8))
    assert age.distribution[20] == pytest.approx(0.8, abs=1e-6)
    assert age.distribution @ np.arange(MAX_AGE + 1) == pytest.approx(age.years, abs=0.5)
    # One third says 50 and is enough; between 20 and 50 each year has a third or more on either side.
    assert (age.years, age.low, age.high) == (26, 20, 50)


@pytest.mark.parametrize("raw", [-9.0, 0.0, 57.5, 116.0, 140.0])
def test_an_unbounded_network_still_gives_possible_ages(monkeypatch, raw):
    predictor, _, network = predictor_with(monkeypatch)
    answers = RawAnswers(age=np.array([raw], np.float32), age_distribution=None, female=None)
    monkeypatch.setattr(network, "answer", lambda _: answers)
    [(age, gender)] = predictor.predict_chips(np.zeros((1, 8, 8, 3), np.uint8))
    assert 0 <= age.low <= age.years <= age.high <= MAX_AGE
    assert gender is None


@pytest.mark.parametrize(
    ("female", "label", "probability", "uncertain"),
    [
        (0.97, "female", 0.97, False),
        (0.03, "male", 0.97, False),
        (0.55, "female", 0.55, True),
        (0.45, "male", 0.55, True),
        (0.5, "female", 0.5, True),
    ],
)
def test_gender_is_the_likelier_label_with_its_probability(
    monkeypatch, female, label, probability, uncertain
):
    predictor, _, network = predictor_with(monkeypatch)
    answers = RawAnswers(age=None, age_distribution=None, female=np.array([female]))
    monkeypatch.setattr(network, "answer", lambda _: answers)
    [(age, gender)] = predictor.predict_chips(np.zeros((1, 8, 8, 3), np.uint8))
    assert age is None
    assert (gender.label, gender.uncertain) == (label, uncertain)
    assert gender.probability == pytest.approx(probability)


@pytest.mark.parametrize("task", ["age", "gender"])
def test_what_a_model_does_not_predict_is_none(monkeypatch, task):
    model = FakeModel(age=task == "age", gender=task == "gender")
    predictor, _, _ = predictor_with(monkeypatch, face_at(10, 10), model=model)
    [prediction] = predictor.predict(photo())
    assert (prediction.age is None) == (task == "gender")
    assert (prediction.gender is None) == (task == "age")


def test_no_chips_have_no_answers(monkeypatch):
    predictor, _, _ = predictor_with(monkeypatch)
    assert predictor.predict_chips(np.zeros((0, 200, 200, 3), np.uint8)) == []


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda p: p.predict_chips([photo()]), TypeError),
        (lambda p: p.predict_chips(np.zeros((2, 0, 0, 3), np.uint8)), ValueError),
        (lambda p: p.predict_chip_image(np.zeros((0, 0, 3), np.uint8)), EmptyImageError),
        (lambda p: p.predict_chip_image(np.zeros((9, 9), np.uint8)), ValueError),
        (lambda p: p.predict_chip_image(np.zeros((9, 9, 3))), TypeError),
        (lambda p: p.predict_chip_image(None), TypeError),
    ],
)
def test_what_is_no_chip_gets_the_documented_error(monkeypatch, call, error):
    predictor, _, network = predictor_with(monkeypatch, face_at(0, 0))
    with pytest.raises(error):
        call(predictor)
    assert not network.seen


def test_a_pickled_or_copied_predictor_is_its_name_and_options(tmp_path):
    predictor = Predictor(detector=FaceDetector(max_side=640), weights_dir=SHIPPED_WEIGHTS)
    for copy in (pickle.loads(pickle.dumps(predictor)), deepcopy(predictor)):
        assert copy.model == predictor.model
        assert copy.card == predictor.card
        assert copy._detector.max_side == 640


def test_errors_cross_processes_whole():
    error = pickle.loads(pickle.dumps(EmptyImageError("a.jpg", "no pixels")))
    assert (type(error), error.name, error.reason) == (EmptyImageError, "a.jpg", "no pixels")


FORK = """
import copy, multiprocessing, os, sys, time
import agegender
import numpy as np
from agegender.assets import MTCNN
from agegender.faces import FaceDetector
from agegender.litert import LiteRTModel
predictor = agegender.Predictor()

def count(path):
    try:
        return len(predictor.predict(path))
    except agegender.ModelError as error:
        return str(error)

def detect_alone(path):
    detector, network = FaceDetector(), LiteRTModel(MTCNN / "rnet.tflite", threads=2)
    patches = np.zeros((64, 24, 24, 3), np.float32)
    found = detector.detect(agegender.read_image(path)), network(patches)[0].sum()
    child = os.fork()
    if not child:  # new ones work, and the process ends
        detector, network = copy.copy(detector), LiteRTModel(MTCNN / "rnet.tflite", threads=2)
        sys.exit(int((detector.detect(agegender.read_image(path)), network(patches)[0].sum()) != found))
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            assert status == 0
            return
        time.sleep(0.05)
    os.kill(child, 9)
    raise AssertionError("the forked process does not end")

if __name__ == "__main__":
    path = sys.argv[1]
    detect_alone(path)
    found = count(path)
    with multiprocessing.get_context("fork").Pool(2) as pool:
        answers = pool.map_async(count, [path] * 2).get(timeout=60)
    expected = "before this process was forked" if "tensorflow" in sys.modules else found
    assert all(a == expected or expected in str(a) for a in answers), answers
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.apply_async(predictor.predict, [path]).get(timeout=120)[0].age.years > 0
"""


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_used_predictor_in_a_forked_process_answers_or_says_why_not(tmp_path):
    script = tmp_path / "fork.py"
    script.write_text(FORK)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    example = ROOT / "agegender" / "assets" / "example.jpg"
    subprocess.run([sys.executable, str(script), str(example)], env=environment, check=True, timeout=300)


def test_an_unknown_model_is_refused_at_once():
    with pytest.raises(UnknownModelError, match=r"'nonsense'.*vggface"):
        Predictor("nonsense")


def test_an_untrained_model_says_so_when_it_is_used(tmp_path):
    predictor = Predictor("vggface", detector=FakeDetector(face_at(10, 10)), weights_dir=tmp_path)
    with pytest.raises(WeightsNotFoundError, match=r"vggface.*train\.py"):
        _ = predictor.card
    with pytest.raises(WeightsNotFoundError, match=r"vggface.*train\.py"):
        predictor.predict(photo())


def test_a_model_whose_publication_broke_off_is_refused_with_a_typed_error(monkeypatch):
    predictor, _, network = predictor_with(monkeypatch)
    monkeypatch.setattr(network, "card", {"name": "half"}, raising=False)
    with pytest.raises(AgeGenderError):
        predictor.predict_chips(np.zeros((1, 8, 8, 3), np.uint8))


def test_networks_load_once_however_many_threads_ask(monkeypatch, tmp_path):
    loads = []

    class SlowModel(FakeModel):
        def __init__(self, name: str, weights_dir: Path) -> None:
            super().__init__()
            loads.append((name, weights_dir))
            time.sleep(0.05)

    monkeypatch.setattr("agegender.predictor.load_engine", SlowModel)
    predictor = Predictor(detector=FakeDetector(face_at(10, 10)), weights_dir=tmp_path)
    assert loads == []
    barrier = threading.Barrier(6)

    def predict(brightness: int) -> float:
        barrier.wait()
        return predictor.predict(photo(brightness))[0].age.years

    with ThreadPoolExecutor(6) as pool:
        ages = list(pool.map(predict, range(20, 80, 10)))
    assert loads == [("vggface", tmp_path)]
    assert ages == pytest.approx(list(range(20, 80, 10)), abs=1)


def test_the_card_is_the_model_s_and_without_tensorflow_one_that_needs_it_says_so(monkeypatch, tmp_path):
    (tmp_path / "mine").mkdir()
    card = {"name": "mine", "title": "Mine", "system": "vggface", "tasks": ["age"], "parameters": 1}
    card["options"] = {"backbone": "mobilenet", "input_size": [32, 32]}
    (tmp_path / "mine" / "card.json").write_text(json.dumps(card), encoding="utf-8")
    predictor = Predictor("mine", weights_dir=tmp_path)
    assert (predictor.model, predictor.card) == ("mine", card)
    monkeypatch.setitem(sys.modules, "keras", None)
    monkeypatch.delitem(sys.modules, "agegender.models.trained", raising=False)
    with pytest.raises(ModelError, match="keras is not installed"):
        predictor.load()


def test_a_failed_load_is_tried_again(monkeypatch, tmp_path):
    predictor = Predictor(detector=FakeDetector(), weights_dir=tmp_path)
    with pytest.raises(WeightsNotFoundError):
        predictor.load()
    monkeypatch.setattr("agegender.predictor.load_engine", lambda *_: FakeModel())
    assert isinstance(predictor.load(), FakeModel)
