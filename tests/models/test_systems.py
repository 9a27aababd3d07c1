"""Every system of the registry, at tiny sizes: what training, publishing and prediction count on."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from agegender.errors import ConfigError
from agegender.labels import AGE_BANDS, MAX_AGE
from agegender.models.backbones import BACKBONES
from agegender.models.registry import SYSTEMS, get_system
from agegender.models.store import load_weights, save_float16
from agegender.models.system import OUTPUTS, named_outputs, with_named_outputs
from agegender.training.config import Stage, TrainingConfig
from agegender.training.optimise import prepare

SMALLEST = {None: 16, "vgg16": 48}
"""Pixels a side that a backbone takes, where these are not 32."""


def tiny(name: str) -> dict[str, Any]:
    """Options of a system with few units everywhere."""
    defaults = dataclasses.asdict(get_system(name).options())
    side = SMALLEST.get(defaults["backbone"], 32)
    units = {
        option: 8 if isinstance(value, int) else (8,) * len(value)
        for option, value in defaults.items()
        if isinstance(value, int | tuple)
    }
    return {**units, "input_size": (side, side)}


WIDTHS = {"age_distribution": MAX_AGE + 1, "age_range": len(AGE_BANDS), "age": 1, "female": 1}
MULTI_TASK = [name for name in SYSTEMS if get_system(name).tasks[0] == "both"]
"""Their networks of one task are parts of that of both."""
CASES = [
    *((name, "both") for name in SYSTEMS),
    *((name, task) for name in SYSTEMS if name not in MULTI_TASK for task in ("age", "gender")),
    ("age-range", "age"),  # which has no backbone
]


@dataclass
class Built:
    name: str
    task: Any
    options: Any
    network: keras.Model


@pytest.fixture(scope="module", params=CASES, ids="-".join)
def built(request, wake) -> Built:
    """A network, built where no file can be opened: builders are pure."""

    def refuse(*_args, **_kwargs):
        raise AssertionError("a builder touched a file")

    name, task = request.param
    keras.utils.set_random_seed(4)
    system = get_system(name)
    options = system.options(**tiny(name))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("h5py.File", refuse)
        patch.setattr("keras.utils.get_file", refuse)
        network = system.build(task, options)
    for layer in network.layers:
        if isinstance(layer, keras.Model):
            wake(layer)
    return Built(name, task, options, network)


def chips(options: Any, n: int = 4) -> np.ndarray:
    return np.random.default_rng(1).uniform(0, 255, (n, *options.input_size, 3)).astype(np.float32)


def targets(network: keras.Model, n: int = 4) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(2)
    bins = {name: np.eye(WIDTHS[name])[rng.integers(0, 9, n)] for name in ("age_distribution", "age_range")}
    everything = {
        **bins,
        "age": np.repeat(rng.uniform(1, 90, (n, 1)), 2, axis=1),
        "female": rng.integers(0, 2, (n, 1)),
    }
    return {name: everything[name].astype(np.float32) for name in named_outputs(network)}


def values_by_path(network: keras.Model) -> dict[str, np.ndarray]:
    """Of all weights, whether they train at the moment or not."""
    return {weight.path: weight.numpy() for weight in network.weights}


def config_of(built: Built, frozen: Any) -> TrainingConfig:
    return TrainingConfig(
        built.task,
        system=built.name,
        options=built.options,
        base_weights="none",
        schedule="constant",
        ema_momentum=0.0,
        stages=(Stage("only", 1, 1e-3, frozen),),
    )


def one_step(built: Built, frozen: Any) -> float:
    """Trains on one batch, without graphs, whose tracing would take far longer; returns the loss."""
    config = config_of(built, frozen)
    x, y = chips(built.options), targets(built.network)
    tf.config.run_functions_eagerly(True)
    try:
        model = prepare(built.network, config, config.stages[0], steps=1)
        return float(model.train_on_batch(x, y, return_dict=True)["loss"])
    finally:
        tf.config.run_functions_eagerly(False)


def test_it_answers_its_tasks_in_their_units(built):
    answers = {k: np.asarray(v) for k, v in with_named_outputs(built.network)(chips(built.options)).items()}
    expected = {"age": {"age"}, "gender": {"female"}, "both": {"age", "female"}}[built.task]
    assert expected <= set(answers) <= set(OUTPUTS)
    for name, values in answers.items():
        assert values.shape == (4, WIDTHS[name]), name
        assert values.dtype == np.float32
        assert np.isfinite(values).all(), name
        if name != "age":
            assert ((values >= 0) & (values <= 1)).all(), name
        if WIDTHS[name] > 1:
            assert values.sum(axis=1) == pytest.approx(1, abs=1e-5)


def test_age_and_gender_are_what_the_network_returns_last(built):
    returned = [output.name for output in built.network.outputs]
    named = named_outputs(built.network)
    assert {named[name].name for name in ("age", "female") if name in named} <= set(returned)


def test_outputs_stay_in_full_precision_under_a_mixed_policy(built):
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_float16")
    try:
        network = get_system(built.name).build(built.task, built.options)
    finally:
        keras.config.set_dtype_policy(before)
    assert {output.dtype for output in named_outputs(network).values()} == {"float32"}


def test_gradients_reach_every_trainable_weight(built):
    model, truth = with_named_outputs(built.network), targets(built.network)
    with tf.GradientTape() as tape:
        answers = model(chips(built.options), training=True)
        loss = sum(tf.reduce_mean((answers[name] - truth[name]) ** 2) for name in answers)
    variables = built.network.trainable_variables
    for variable, gradient in zip(variables, tape.gradient(loss, [v.value for v in variables]), strict=True):
        assert gradient is not None, variable.path
        assert np.isfinite(tf.convert_to_tensor(gradient)).all(), variable.path


def test_a_step_of_training_moves_all_there_is(built):
    before = values_by_path(built.network)
    assert np.isfinite(one_step(built, 0))
    after = values_by_path(built.network)
    moved = [(before[path] != after[path]).any() for path in before]
    assert np.mean(moved) > 0.95  # by chance a small layer's units may all be off


def test_a_frozen_backbone_stays_as_it_is_to_the_last_statistic(built):
    if built.options.backbone is None:
        return
    before = values_by_path(built.network)
    assert np.isfinite(one_step(built, "all"))
    after = values_by_path(built.network)
    if built.options.backbone not in {layer.name for layer in built.network.layers}:
        return  # the network of the other task has it
    backbone = {weight.path for weight in built.network.get_layer(built.options.backbone).weights}
    assert all((before[path] == after[path]).all() for path in backbone)
    assert any((before[path] != after[path]).any() for path in before.keys() - backbone)


def test_weights_survive_half_precision(built, tmp_path):
    path = tmp_path / "network.weights.h5"
    save_float16(built.network, path)
    again = get_system(built.name).build(built.task, built.options)
    load_weights(again, path)
    assert {weight.dtype for weight in again.trainable_variables} == {"float32"}
    x = chips(built.options)
    found = with_named_outputs(again)(x)
    for name, values in with_named_outputs(built.network)(x).items():
        assert np.asarray(found[name]) == pytest.approx(np.asarray(values), rel=1e-2, abs=5e-2), name
    assert path.stat().st_size < 2.3 * built.network.count_params() + 600_000


@pytest.mark.parametrize("name", SYSTEMS)
def test_options_survive_json(name):
    options = get_system(name).options(**tiny(name))
    again = get_system(name).options(**json.loads(json.dumps(dataclasses.asdict(options))))
    assert again == options
    assert len(again.input_size) == 2
    assert again.backbone is None or again.backbone in BACKBONES
    system = get_system(name)
    config = TrainingConfig(system.tasks[0], system=system.name)
    assert system.name == config.system == name
    assert TrainingConfig.from_dict(config.to_dict()) == config


@pytest.mark.parametrize("name", MULTI_TASK)
def test_a_multi_task_system_leaves_out_what_one_task_does_not_need(name):
    system = get_system(name)
    options = system.options(**tiny(name))
    both, age, gender = (system.build(task, options) for task in ("both", "age", "gender"))
    assert set(named_outputs(gender)) == {"female"}
    assert set(named_outputs(age)) == set(named_outputs(both)) - {"female"}
    everything, *alone = ({layer.name for layer in network.layers} for network in (both, age, gender))
    assert alone[0] | alone[1] == everything  # named alike, so that a run of both can be gone on from
    assert all(names < everything for names in alone)


def senseless() -> list[tuple[str, str, Any]]:
    values = {"dropout": (1.0, float("nan")), "backbone": ("quantum",), "filters": ((8, 8), (8, 0, 8))}
    fields = {name: [f.name for f in dataclasses.fields(get_system(name).options)] for name in SYSTEMS}
    return [(n, field, value) for n in SYSTEMS for field in fields[n] for value in values.get(field, ())]


def test_senseless_options_are_refused():
    for name, field, value in senseless():
        with pytest.raises(ConfigError, match="quantum" if value == "quantum" else field):
            get_system(name).options(**{**tiny(name), field: value})


def test_an_unknown_system_is_answered_with_the_known_ones():
    with pytest.raises(ConfigError, match=r"'quantum'.*scratch-cnn"):
        get_system("quantum")
