"""The light form of a model answers as its Keras networks do, and without TensorFlow."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image

from agegender.batch import in_order
from agegender.errors import ModelError, WeightsNotFoundError
from agegender.models.backbones import load_base_weights
from agegender.models.conversion import to_litert
from agegender.models.light import LightModel
from agegender.models.store import file_sha256, save_float16
from agegender.models.system import with_named_outputs
from agegender.models.systems import vggface
from agegender.models.systems.vggface import VGGFaceOptions
from agegender.models.trained import TrainedModel

OPTIONS = VGGFaceOptions(input_size=(32, 32), hidden=(6,))
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def weights_dir(tmp_path_factory) -> Path:
    """The model "pair", published with a light form."""
    keras.utils.set_random_seed(5)
    folder = tmp_path_factory.mktemp("weights") / "pair"
    files, light = {}, {}
    for task in ("age", "gender"):
        network = vggface.build(task, OPTIONS)
        load_base_weights(network.layers[0], "mobilenet")
        path, light_path = folder / f"{task}.weights.h5", folder / f"{task}.tflite"
        save_float16(network, path)
        network.load_weights(path)
        light_path.write_bytes(to_litert(with_named_outputs(network)))
        files[path.name], light[light_path.name] = file_sha256(path), file_sha256(light_path)
    card = {
        "name": "pair",
        "title": "tiny",
        "system": "vggface",
        "tasks": ["age", "gender"],
        "options": {"backbone": "mobilenet", "input_size": [32, 32], "hidden": [6]},
        "parameters": 0,
        "files": files,
        "light": {"files": light},
        "calibration": {
            "age": {"method": "bands", "coverage": 0.9, "n": 9, "band_tails": [0.05] * 9},
            "gender": {"temperature": 1.5, "n": 9},
        },
    }
    (folder / "card.json").write_text(json.dumps(card), encoding="utf-8")
    return folder.parent


@pytest.fixture
def copy(weights_dir, tmp_path) -> Path:
    """A weights folder of one's own to damage."""
    (tmp_path / "pair").mkdir()
    for path in (weights_dir / "pair").iterdir():
        (tmp_path / "pair" / path.name).write_bytes(path.read_bytes())
    return tmp_path


@pytest.fixture(scope="module")
def model(weights_dir) -> LightModel:
    return LightModel("pair", weights_dir)


@pytest.fixture(scope="module")
def chips(astronaut) -> np.ndarray:
    """Pieces of a photo, each unlike the others, and more than go through the networks at once."""
    corners = np.random.default_rng(0).integers(0, 512 - 64, (2 * LightModel.max_batch + 3, 2))
    return np.stack([astronaut[y : y + 64, x : x + 64] for y, x in corners])


@pytest.mark.parametrize("count", [0, 1, 2 * LightModel.max_batch + 3])
def test_both_engines_give_the_same_answers(model, weights_dir, chips, count):
    light, heavy = (engine.answer(chips[:count]) for engine in (model, TrainedModel("pair", weights_dir)))
    assert light.age_range is heavy.age_range is None
    assert light.age == pytest.approx(heavy.age, abs=1e-3)
    assert light.female == pytest.approx(heavy.female, abs=1e-5)
    assert light.age_distribution.shape == heavy.age_distribution.shape == (count, 117)
    np.testing.assert_allclose(light.age_distribution, heavy.age_distribution, atol=1e-6)
    if count > 1:
        assert np.ptp(light.age) > 0.01 < np.ptp(light.female) * 100


def test_half_precision_on_disk_changes_no_number(weights_dir):
    from ai_edge_litert.interpreter import Interpreter

    network = vggface.build("gender", OPTIONS)
    network.load_weights(weights_dir / "pair" / "gender.weights.h5")
    interpreter = Interpreter(str(weights_dir / "pair" / "gender.tflite"))
    held = [tensor for tensor in interpreter.get_tensor_details() if tensor["dtype"] == np.float16]
    stored = sorted(interpreter.get_tensor(tensor["index"]).size for tensor in held)
    assert stored == sorted(weight.size for weight in network.get_weights() if weight.size >= 1024)
    assert (weights_dir / "pair" / "gender.tflite").stat().st_size < 2.1 * network.count_params()


def test_beside_other_photos_the_answers_are_the_same(model, chips):
    singles = [chips[i : i + 1] for i in range(16)]
    found = list(in_order(model.answer, singles))
    assert model._narrow is not None  # the networks of one thread were asked, when all cores were busy
    expected = [model.answer(chip) for chip in singles]
    assert [one.age[0] for one in found] == pytest.approx([one.age[0] for one in expected], abs=1e-4)


def test_many_threads_get_the_answers_of_one(model, chips):
    expected = [model.answer(chips[i : i + 1]).age[0] for i in range(16)]
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda i: model.answer(chips[i : i + 1]).age[0], range(16)))
    assert answers == expected


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


def test_a_damaged_file_is_refused(copy):
    path = copy / "pair" / "gender.tflite"
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(ModelError, match=r"gender\.tflite"):
        LightModel("pair", copy)


def test_a_file_that_is_no_network_is_refused_though_its_checksum_is_right(copy):
    path = copy / "pair" / "gender.tflite"
    path.write_bytes(b"nothing of the kind")
    card_path = copy / "pair" / "card.json"
    card = json.loads(card_path.read_text(encoding="utf-8"))
    card["light"]["files"]["gender.tflite"] = file_sha256(path)
    card_path.write_text(json.dumps(card), encoding="utf-8")
    with pytest.raises(ModelError, match=r"gender\.tflite"):
        LightModel("pair", copy)


def test_a_missing_file_is_named(copy):
    (copy / "pair" / "age.tflite").unlink()
    with pytest.raises(WeightsNotFoundError, match=r"age\.tflite"):
        LightModel("pair", copy)


def test_a_model_without_a_light_form_says_how_to_get_one(copy):
    card_path = copy / "pair" / "card.json"
    card = json.loads(card_path.read_text(encoding="utf-8"))
    del card["light"]
    card_path.write_text(json.dumps(card), encoding="utf-8")
    with pytest.raises(ModelError, match="--light"):
        LightModel("pair", copy)
