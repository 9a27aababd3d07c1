"""A published model, loaded: the same answers as its networks, from any thread, for any number of chips."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import keras
import numpy as np
import pytest

from agegender.errors import AgeGenderError, ModelError, UnknownModelError, WeightsNotFoundError
from agegender.models.backbones import load_base_weights
from agegender.models.store import file_sha256, load_weights, save_float16
from agegender.models.systems import vggface
from agegender.models.systems.vggface import VGGFaceOptions
from agegender.models.trained import TrainedModel

OPTIONS = VGGFaceOptions(input_size=(32, 32), hidden=(6,))


def publish(folder: Path, options: VGGFaceOptions = OPTIONS, tasks=("age", "gender")) -> None:
    files = {}
    for task in tasks:
        network = vggface.build(task, options)
        # An untrained MobileNet's features fade to nothing, and every chip would get the same answer.
        load_base_weights(network.layers[0], "mobilenet")
        path = folder / f"{task}.weights.h5"
        save_float16(network, path)
        files[path.name] = file_sha256(path)
    card = {
        "name": folder.name,
        "title": "tiny",
        "system": "vggface",
        "tasks": list(tasks),
        "options": {
            "backbone": options.backbone,
            "input_size": options.input_size,
            "hidden": options.hidden,
            "dropout": options.dropout,
            "age_head": options.age_head,
        },
        "parameters": 0,
        "files": files,
    }
    (folder / "card.json").write_text(json.dumps(card), encoding="utf-8")


@pytest.fixture(scope="module")
def weights_dir(tmp_path_factory) -> Path:
    keras.utils.set_random_seed(5)
    folder = tmp_path_factory.mktemp("weights")
    publish(folder / "pair")
    return folder


@pytest.fixture(scope="module")
def model(weights_dir) -> TrainedModel:
    return TrainedModel("pair", weights_dir)


@pytest.fixture(scope="module")
def chips(astronaut) -> np.ndarray:
    """Pieces of a photo, each unlike the others."""
    rng = np.random.default_rng(0)
    corners = rng.integers(0, 512 - 64, (TrainedModel.max_batch + 5, 2))
    return np.stack([astronaut[y : y + 64, x : x + 64] for y, x in corners])


@pytest.fixture
def copy(weights_dir, tmp_path) -> Path:
    """A weights folder of one's own to damage."""
    (tmp_path / "pair").mkdir()
    for path in (weights_dir / "pair").iterdir():
        (tmp_path / "pair" / path.name).write_bytes(path.read_bytes())
    return tmp_path


def change_card(folder: Path, **values) -> None:
    path = folder / "pair" / "card.json"
    card = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({**card, **values}), encoding="utf-8")


def test_answers_are_those_of_the_networks(model, weights_dir, chips):
    small = np.ascontiguousarray(chips[:4, ::2, ::2])  # already the input's size
    raw = model.answer(small)
    for task, answers in (("age", raw.age), ("gender", raw.female)):
        network = vggface.build(task, OPTIONS)
        load_weights(network, weights_dir / "pair" / f"{task}.weights.h5")
        expected = np.asarray(network(small.astype(np.float32), training=False))[:, 0]
        assert answers == pytest.approx(expected, rel=1e-4, abs=1e-4)
        assert np.ptp(answers) > 1e-3


def test_the_distribution_belongs_to_the_age(model, chips):
    raw = model.answer(chips[:3])
    assert raw.age_distribution.shape == (3, 117)
    assert raw.age_distribution.sum(axis=1) == pytest.approx(1, abs=1e-5)
    assert raw.age_distribution @ np.arange(117) == pytest.approx(raw.age, rel=1e-4)


def test_more_chips_than_a_batch_are_answered_in_turns(model, chips):
    together = model.answer(chips)
    assert len(together.age) == len(chips) == TrainedModel.max_batch + 5
    for i in (0, TrainedModel.max_batch - 1, TrainedModel.max_batch, len(chips) - 1):
        alone = model.answer(chips[i : i + 1])
        assert together.age[i] == pytest.approx(alone.age[0], rel=1e-4)
        assert together.female[i] == pytest.approx(alone.female[0], abs=1e-4)


def test_no_chips_have_no_answers(model):
    raw = model.answer(np.zeros((0, 200, 200, 3), np.uint8))
    assert raw.age.shape == raw.female.shape == (0,)
    assert raw.age_distribution.shape == (0, 117)


def test_dropout_is_off(model, chips):
    assert (model.answer(chips[:2]).age == model.answer(chips[:2]).age).all()


def test_many_threads_get_the_answers_of_one(model, chips):
    expected = [model.answer(chips[i : i + 1]).age[0] for i in range(16)]
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda i: model.answer(chips[i : i + 1]).age[0], range(16)))
    assert answers == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize(
    "chips",
    [
        np.zeros((200, 200, 3), np.uint8),
        np.zeros((2, 200, 200), np.uint8),
        np.zeros((1, 200, 200, 4), np.uint8),
        np.zeros((1, 200, 200, 3), np.float32),
    ],
    ids=lambda chips: f"{chips.dtype}{chips.shape}",
)
def test_other_arrays_are_refused_with_what_they_were(model, chips):
    with pytest.raises(ValueError, match=str(chips.dtype)):
        model.answer(chips)


def test_one_task_with_a_linear_head_leaves_the_rest_out(tmp_path, chips):
    options = VGGFaceOptions(input_size=(32, 32), hidden=(6,), age_head="linear")
    publish(tmp_path / "linear", options, tasks=("age",))
    raw = TrainedModel("linear", tmp_path).answer(chips[:2])
    assert raw.age.shape == (2,)
    assert raw.age_distribution is None
    assert raw.female is None


def test_an_untrained_model_is_told_from_an_unknown_one(tmp_path):
    with pytest.raises(WeightsNotFoundError, match="vggface"):
        TrainedModel("vggface", tmp_path)
    with pytest.raises(UnknownModelError, match="nonsense"):
        TrainedModel("nonsense", tmp_path)


def test_a_damaged_weight_file_is_refused(copy):
    path = copy / "pair" / "gender.weights.h5"
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(ModelError, match=r"gender\.weights\.h5"):
        TrainedModel("pair", copy)


def test_a_missing_weight_file_is_named(copy):
    (copy / "pair" / "age.weights.h5").unlink()
    with pytest.raises(WeightsNotFoundError, match=r"age\.weights\.h5"):
        TrainedModel("pair", copy)


def test_an_unknown_system_is_refused(copy):
    change_card(copy, system="quantum")
    with pytest.raises(UnknownModelError, match="quantum"):
        TrainedModel("pair", copy)


@pytest.mark.parametrize(
    "options",
    [
        {"backbone": "mobilenet", "input_size": [32, 32], "wings": 2},
        {"backbone": "resnet", "input_size": [32, 32]},
    ],
    ids=["key", "backbone"],
)
def test_options_of_a_later_version_are_refused(copy, options):
    change_card(copy, options=options)
    with pytest.raises(AgeGenderError, match=r"wings|resnet"):
        TrainedModel("pair", copy)


def test_a_card_without_checksums_is_refused(copy):
    change_card(copy, files={})
    with pytest.raises(ModelError, match="pair"):
        TrainedModel("pair", copy)
