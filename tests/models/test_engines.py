"""A published model, loaded by either engine: it answers as its Keras networks do."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from PIL import Image

from agegender.batch import in_order
from agegender.errors import AgeGenderError, ModelError, UnknownModelError, WeightsNotFoundError
from agegender.models.backbones import load_base_weights
from agegender.models.conversion import to_litert
from agegender.models.engine import Engine
from agegender.models.light import LightModel
from agegender.models.store import file_sha256, load_weights, save_float16
from agegender.models.system import with_named_outputs
from agegender.models.systems import vggface
from agegender.models.systems.vggface import VGGFaceOptions
from agegender.models.trained import TrainedModel

OPTIONS = VGGFaceOptions(input_size=(32, 32), hidden=(6,))
ENGINES = (LightModel, TrainedModel)
ROOT = Path(__file__).parents[2]


def publish(folder: Path, options: VGGFaceOptions, *tasks: str, light: bool) -> None:
    files, light_files = {}, {}
    for task in tasks:
        network = vggface.build(task, options)
        # An untrained MobileNet's features fade to nothing, and every chip would get the same answer.
        load_base_weights(network.layers[0], "mobilenet")
        path, light_path = folder / f"{task}.weights.h5", folder / f"{task}.tflite"
        save_float16(network, path)
        files[path.name] = file_sha256(path)
        if light:
            network.load_weights(path)
            light_path.write_bytes(to_litert(with_named_outputs(network)))
            light_files[light_path.name] = file_sha256(light_path)
    card = {
        "name": folder.name,
        "title": "tiny",
        "system": "vggface",
        "tasks": list(tasks),
        "options": asdict(options),
        "parameters": 0,
        "files": files,
        "light": {"files": light_files},
        "calibration": {
            "age": {"method": "bands", "coverage": 0.9, "n": 9, "band_tails": [0.05] * 9},
            "gender": {"temperature": 1.5, "n": 9},
        },
    }
    (folder / "card.json").write_text(json.dumps(card), encoding="utf-8")


@pytest.fixture(scope="module")
def weights_dir(tmp_path_factory) -> Path:
    """The model "pair", published with a light form."""
    keras.utils.set_random_seed(5)
    folder = tmp_path_factory.mktemp("weights")
    publish(folder / "pair", OPTIONS, "age", "gender", light=True)
    return folder


@pytest.fixture
def copy(weights_dir, tmp_path) -> Path:
    """A weights folder of one's own to damage."""
    (tmp_path / "pair").mkdir()
    for path in (weights_dir / "pair").iterdir():
        (tmp_path / "pair" / path.name).write_bytes(path.read_bytes())
    return tmp_path


def change_card(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    path = folder / "pair" / "card.json"
    card = json.loads(path.read_text(encoding="utf-8"))
    change(card)
    path.write_text(json.dumps(card), encoding="utf-8")


@pytest.fixture(scope="module")
def light(weights_dir) -> LightModel:
    return LightModel("pair", weights_dir)


@pytest.fixture(scope="module")
def trained(weights_dir) -> TrainedModel:
    return TrainedModel("pair", weights_dir)


@pytest.fixture(scope="module")
def chips(astronaut) -> np.ndarray:
    """Pieces of a photo, each unlike the others, and more than go through the networks at once."""
    corners = np.random.default_rng(0).integers(0, 512 - 64, (TrainedModel.max_batch + 5, 2))
    return np.stack([astronaut[y : y + 64, x : x + 64] for y, x in corners])


def test_answers_are_those_of_the_networks(trained, weights_dir, chips):
    small = np.ascontiguousarray(chips[:4, ::2, ::2])  # already the input's size
    raw = trained.answer(small)
    for task, answers in (("age", raw.age), ("gender", raw.female)):
        network = vggface.build(task, OPTIONS)
        load_weights(network, weights_dir / "pair" / f"{task}.weights.h5")
        expected = np.asarray(network(small.astype(np.float32), training=False))[:, 0]
        assert answers == pytest.approx(expected, rel=1e-4, abs=1e-4)
        assert np.ptp(answers) > 1e-3
    assert raw.age_distribution.sum(axis=1) == pytest.approx(1, abs=1e-5)
    assert raw.age_distribution @ np.arange(117) == pytest.approx(raw.age, rel=1e-4)


@pytest.mark.parametrize("count", [0, 1, 2 * LightModel.max_batch + 3])
def test_both_engines_give_the_same_answers(light, trained, chips, count):
    ours, theirs = (engine.answer(chips[:count]) for engine in (light, trained))
    assert ours.age_range is theirs.age_range is None
    assert ours.age.shape == theirs.age.shape == theirs.female.shape == (count,)
    assert ours.age == pytest.approx(theirs.age, abs=1e-3)
    assert ours.female == pytest.approx(theirs.female, abs=1e-5)
    assert ours.age_distribution.shape == theirs.age_distribution.shape == (count, 117)
    np.testing.assert_allclose(ours.age_distribution, theirs.age_distribution, atol=1e-6)
    if count > 1:
        assert np.ptp(ours.age) > 0.01 < np.ptp(ours.female) * 100


@pytest.mark.parametrize("cores", [1, 5])
def test_networks_and_parts_of_batches_side_by_side_answer_the_same(monkeypatch, weights_dir, chips, cores):
    expected = TrainedModel("pair", weights_dir).answer(chips[:19])
    monkeypatch.setattr("agegender.models.light.default_threads", lambda: cores)
    model = LightModel("pair", weights_dir)
    for _ in range(5):  # whichever is done first
        found = model.answer(chips[:19])
        assert found.age == pytest.approx(expected.age, abs=1e-3)
        assert found.female == pytest.approx(expected.female, abs=1e-5)
        np.testing.assert_allclose(found.age_distribution, expected.age_distribution, atol=1e-6)


@pytest.mark.parametrize("engine", ["light", "trained"])
def test_more_chips_than_a_batch_are_answered_in_turns_and_from_any_thread(engine, chips, request):
    model: Engine = request.getfixturevalue(engine)
    together = model.answer(chips)
    assert len(together.age) == len(chips) > model.max_batch
    few = [*range(14), model.max_batch - 1, model.max_batch, len(chips) - 1]
    alone = [model.answer(chips[i : i + 1]) for i in few]
    assert together.age[few] == pytest.approx([one.age[0] for one in alone], rel=1e-4)
    assert together.female[few] == pytest.approx([one.female[0] for one in alone], abs=1e-4)
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda i: model.answer(chips[i : i + 1]).age[0], few))
    assert answers == pytest.approx([one.age[0] for one in alone], rel=1e-4)


def test_half_precision_on_disk_changes_no_number(weights_dir):
    from ai_edge_litert.interpreter import Interpreter

    network = vggface.build("gender", OPTIONS)
    network.load_weights(weights_dir / "pair" / "gender.weights.h5")
    interpreter = Interpreter(str(weights_dir / "pair" / "gender.tflite"))
    held = [tensor for tensor in interpreter.get_tensor_details() if tensor["dtype"] == np.float16]
    stored = sorted(interpreter.get_tensor(tensor["index"]).size for tensor in held)
    assert stored == sorted(weight.size for weight in network.get_weights() if weight.size >= 1024)
    assert (weights_dir / "pair" / "gender.tflite").stat().st_size < 2.1 * network.count_params()


def test_beside_other_photos_the_answers_are_the_same(light, chips):
    singles = [chips[i : i + 1] for i in range(16)]
    found = list(in_order(light.answer, singles))
    expected = [light.answer(chip) for chip in singles]
    assert [one.age[0] for one in found] == pytest.approx([one.age[0] for one in expected], abs=1e-4)


def test_predicting_a_file_imports_no_tensorflow(weights_dir, chips, tmp_path):
    Image.fromarray(chips[0]).save(tmp_path / "chip.png")
    arguments = ["predict", "--model", "pair", "--chips", "--json", "-", str(tmp_path / "chip.png")]
    done = run_light(f"from agegender.__main__ import main\nassert main({arguments}) == 0", weights_dir)
    assert done.stderr.split() == ["photos:", "1,", "faces:", "1,", "failed:", "0"]  # and no log of LiteRT's
    [face] = json.loads(done.stdout)["images"][0]["faces"]
    assert face["age"] is not None
    assert face["gender"] is not None


def test_a_predictor_s_first_photo_imports_no_tensorflow(weights_dir, astronaut, tmp_path):
    Image.fromarray(astronaut).save(tmp_path / "astronaut.png")
    code = (
        f"import agegender\n[face] = agegender.Predictor('pair').predict({str(tmp_path / 'astronaut.png')!r})"
    )
    assert run_light(code, weights_dir).stderr == ""


def run_light(code: str, weights_dir: Path) -> subprocess.CompletedProcess[str]:
    """Runs statements in a process of their own, which must not import what is slow to import."""
    slow = {"tensorflow", "keras", "mtcnn", "pandas", "scipy", "plotly"}
    code = f"{code}\nimport sys\nassert not {slow} & set(sys.modules), {slow} & set(sys.modules)"
    environment = {**os.environ, "AGEGENDER_WEIGHTS": str(weights_dir)}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done


# --- refusals -------------------------------------------------------------------------------------------


def test_other_arrays_are_refused_with_what_they_were(light):
    for shape, dtype in (
        ((200, 200, 3), np.uint8),
        ((2, 200, 200), np.uint8),
        ((1, 200, 200, 4), np.uint8),
        ((1, 200, 200, 3), np.float32),
    ):
        with pytest.raises(ValueError, match=np.dtype(dtype).name):
            light.answer(np.zeros(shape, dtype))


def test_one_task_with_a_linear_head_leaves_the_rest_out(tmp_path, chips):
    options = VGGFaceOptions(input_size=(32, 32), hidden=(6,), age_head="linear")
    publish(tmp_path / "linear", options, "age", light=False)
    raw = TrainedModel("linear", tmp_path).answer(chips[:2])
    assert raw.age.shape == (2,)
    assert raw.age_distribution is None
    assert raw.female is None


def test_an_untrained_model_is_told_from_an_unknown_one(tmp_path):
    for engine in ENGINES:
        with pytest.raises(WeightsNotFoundError, match="vggface"):
            engine("vggface", tmp_path)
        with pytest.raises(UnknownModelError, match="nonsense"):
            engine("nonsense", tmp_path)


@pytest.mark.parametrize(("engine", "ending"), [(LightModel, "tflite"), (TrainedModel, "weights.h5")])
def test_a_damaged_file_is_refused_and_a_missing_one_is_named(copy, engine, ending):
    path = copy / "pair" / f"gender.{ending}"
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(ModelError, match=path.name):
        engine("pair", copy)
    path.unlink()
    with pytest.raises(WeightsNotFoundError, match=path.name):
        engine("pair", copy)


def test_a_file_that_is_no_network_is_refused_though_its_checksum_is_right(copy):
    path = copy / "pair" / "gender.tflite"
    path.write_bytes(b"nothing of the kind")
    change_card(copy, lambda card: card["light"]["files"].update({path.name: file_sha256(path)}))
    with pytest.raises(ModelError, match=r"gender\.tflite"):
        LightModel("pair", copy)


@pytest.mark.parametrize(
    ("engine", "change", "error", "words"),
    [
        (LightModel, {"light": {}}, ModelError, "--light"),
        (TrainedModel, {"files": {}}, ModelError, "pair"),
        (TrainedModel, {"system": "quantum"}, UnknownModelError, "quantum"),
        (TrainedModel, {"options": {"input_size": [32, 32], "wings": 2}}, AgeGenderError, "wings"),
        (TrainedModel, {"options": {"backbone": "resnet", "input_size": [32, 32]}}, AgeGenderError, "resnet"),
    ],
)
def test_a_card_that_lacks_something_or_is_of_a_later_version_is_refused(copy, engine, change, error, words):
    change_card(copy, lambda card: card.update(change))
    with pytest.raises(error, match=words):
        engine("pair", copy)
