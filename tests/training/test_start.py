"""Where a network's first weights come from."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from agegender.errors import ConfigError, WeightsNotFoundError
from agegender.models.card import read_card
from agegender.models.trained import TrainedModel
from agegender.runs.records import read_json, write_json
from agegender.training import start as module
from agegender.training.config import TrainingConfig
from agegender.training.loop import train
from agegender.training.start import build_network, network_to_start_from

pytestmark = pytest.mark.usefixtures("eager")


def same(a, b) -> bool:
    return all(np.array_equal(x, y) for x, y in zip(a.get_weights(), b.get_weights(), strict=True))


@pytest.fixture(scope="module")
def both_run(eager, tiny, dataset, tmp_path_factory) -> Path:
    """A run of a network of both tasks."""
    folder = tmp_path_factory.mktemp("runs") / "20260101-000000-vggface-both"
    folder.mkdir()
    train(tiny("both", epochs=(1, 0), rates=(0.1, 0.1)), dataset, folder, quiet=True)
    return folder


@pytest.mark.parametrize("task", ["age", "gender"])
def test_a_sequential_goes_on_from_a_network_of_both(tiny, both_run, task):
    kept, _ = build_network(tiny("both"), with_weights=False)
    kept.load_weights(both_run / "best.weights.h5")
    network, base = build_network(tiny(task, start=str(both_run)))
    assert same(network.get_layer("tiny"), kept.get_layer("tiny"))
    assert same(network.get_layer("dense_1"), kept.get_layer(f"{task}_dense_1"))
    output = "female" if task == "gender" else "age_distribution"
    assert same(network.get_layer(output), kept.get_layer(output))
    chips = np.random.default_rng(0).uniform(0, 255, (3, 32, 32, 3)).astype(np.float32)
    np.testing.assert_allclose(network(chips), kept(chips)[task == "gender"], rtol=1e-5)
    assert base == f"random, then run {both_run.name} (tiny, dense_1, {output})"


@pytest.mark.parametrize(("task", "taken"), [("age", "age"), ("gender", "gender"), ("both", "gender")])
def test_a_network_goes_on_from_a_published_model(task, taken):
    network, base = build_network(TrainingConfig(task, start="vggface"))
    published = TrainedModel("vggface").networks[taken]
    assert same(network.get_layer("mobilenet"), published.get_layer("mobilenet"))
    if task != "both":
        assert same(network, published)
    began, _, went_on = base.partition(", then run ")
    assert began == read_card("vggface")["base"]
    assert went_on.startswith(f"of model vggface for {taken} (mobilenet")


def test_a_published_model_of_another_split_is_refused(monkeypatch):
    monkeypatch.setattr(module, "read_card", lambda name: {"name": name, "split": {"salt": "another"}})
    with pytest.raises(ConfigError, match="another split"):
        build_network(TrainingConfig("age", start="vggface"))


@pytest.mark.parametrize(
    ("there", "wanted", "taken"),
    [
        (["age", "gender"], "age", "age"),
        (["age", "gender"], "both", "gender"),
        (["both"], "age", "both"),
        (["age"], "gender", "age"),
    ],
)
def test_of_a_published_model_the_nearest_network_is_taken(there, wanted, taken):
    assert network_to_start_from(there, wanted) == taken


def test_layers_of_another_shape_stay_as_they_were_built(tiny, both_run):
    network, base = build_network(tiny("gender", start=str(both_run), options={"hidden": (5,)}))
    assert network.get_layer("dense_1").units == 5
    assert base.endswith("(tiny)")


def test_the_record_of_a_run_says_where_it_started(tiny, dataset, both_run, tmp_path):
    config = tiny("age", epochs=(1, 0), start=str(both_run))
    train(config, dataset, tmp_path, quiet=True)
    assert read_json(tmp_path / "environment.json")["base"].startswith(f"random, then run {both_run.name} (")
    assert read_json(tmp_path / "config.json")["start"] == str(both_run)


def test_a_run_on_another_split_is_refused(tiny, both_run, tmp_path):
    copy = tmp_path / "run"
    shutil.copytree(both_run, copy)
    environment = read_json(copy / "environment.json")
    environment["split"]["salt"] = "another"
    write_json(copy / "environment.json", environment)
    with pytest.raises(ConfigError, match="another split"):
        build_network(tiny("age", start=str(copy)))


def test_a_run_with_no_layer_in_common_is_refused(make_config, age_run):
    with pytest.raises(ConfigError, match="no layer in common"):
        build_network(make_config("gender", start=str(age_run), options={"hidden": (5,)}))


def test_a_folder_that_is_no_run_is_refused(tiny, tmp_path):
    with pytest.raises(ConfigError, match=r"config\.json"):
        build_network(tiny("age", start=str(tmp_path)))


def test_missing_base_weights_are_named(make_config, tmp_path):
    with pytest.raises(WeightsNotFoundError, match=r"gone\.weights\.h5"):
        build_network(make_config(base_weights=str(tmp_path / "gone.weights.h5")))


def test_unknown_base_weights_are_refused(make_config):
    with pytest.raises(ConfigError, match="vggface2"):
        build_network(make_config(base_weights="imagenet"))


def test_base_weights_are_loaded_by_default(make_config):
    network, source = build_network(make_config(base_weights="default"))
    assert "VGGFace2" in source
    again, _ = build_network(make_config(base_weights="default"))
    assert same(network.get_layer("mobilenet"), again.get_layer("mobilenet"))


def test_without_weights_nothing_is_read(make_config, tmp_path):
    gone = str(tmp_path / "gone.weights.h5")
    _, source = build_network(make_config(base_weights=gone, start=str(tmp_path)), with_weights=False)
    assert source == "random"
