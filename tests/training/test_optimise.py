"""What a stage does to a network: which layers learn, at which rates, from which losses."""

from __future__ import annotations

import dataclasses

import keras
import numpy as np
import pytest

from agegender.errors import ConfigError
from agegender.models.registry import get_system
from agegender.models.system import named_outputs
from agegender.training.config import Stage, TrainingConfig
from agegender.training.optimise import LayerwiseAdamW, freeze, layer_multipliers, prepare
from agegender.training.start import build_network

pytestmark = pytest.mark.usefixtures("eager")


def steps_of(optimizer: keras.optimizers.Optimizer, variables: list[keras.Variable]) -> list[float]:
    """How far one step moves each variable under a gradient of ones."""
    before = [variable.numpy() for variable in variables]
    optimizer.build(variables)
    optimizer.apply([keras.ops.ones(variable.shape) for variable in variables])
    return [float(np.abs(v.numpy() - b).max()) for v, b in zip(variables, before, strict=True)]


@pytest.fixture
def variables() -> list[keras.Variable]:
    return [keras.Variable(np.full(3, 5.0, np.float32), name=name) for name in ("low", "high", "head")]


def test_each_variable_moves_at_its_own_rate(variables):
    factors = {variables[0].path: 0.25, variables[1].path: 0.5}
    moved = steps_of(LayerwiseAdamW(0.1, weight_decay=0.0, multipliers=factors), variables)
    # Adam's first step is the learning rate, whatever the gradient.
    assert moved == pytest.approx([0.025, 0.05, 0.1], rel=1e-3)


def test_the_multipliers_are_part_of_its_config(variables):
    optimizer = LayerwiseAdamW(0.1, multipliers={variables[0].path: 0.25}, global_clipnorm=2.0)
    again = LayerwiseAdamW.from_config(optimizer.get_config())
    assert again.multipliers == {variables[0].path: 0.25}
    assert again.get_config()["global_clipnorm"] == 2.0


def test_decay_falls_from_block_to_block_and_leaves_the_head_alone(tiny):
    config = tiny("gender", layer_decay=0.5)
    network, _ = build_network(config)
    freeze(network, config, config.stages[1])
    factors = layer_multipliers(network, config)
    paths = {variable.path: variable for variable in network.trainable_variables}
    assert factors.keys() <= paths.keys()
    by_layer = {path.split("/")[-2]: factors.get(path, 1.0) for path in paths}
    assert by_layer == {"conv1": 0.25, "conv2": 0.5, "dense_1": 1.0, "female": 1.0}
    assert layer_multipliers(network, dataclasses.replace(config, layer_decay=1.0)) == {}


def test_parts_of_a_network_learn_at_rates_of_their_own():
    family = get_system("age-range")
    options = family.options(input_size=(32, 32), filters=(4, 4, 4), hidden=8, embedding=2)
    config = TrainingConfig(
        "both", "age-range", options, layer_decay=0.5, rates={"mobilenet": 0.1, "range_net_": 5.0}
    )
    network = family.build("both", options)
    factors = layer_multipliers(network, config)
    by_layer = {
        layer.name: [factors.get(v.path) for v in layer.trainable_variables] for layer in network.layers
    }
    assert set(by_layer["range_net_dense"]) == {5.0}
    assert set(by_layer["age_net_dense"]) == {None}
    assert max(by_layer["mobilenet"]) == pytest.approx(0.1 * 0.5)
    assert min(by_layer["mobilenet"]) < 1e-3
    with pytest.raises(ConfigError, match="range_nest"):
        layer_multipliers(network, dataclasses.replace(config, rates={"range_nest": 1.0}))


def test_layer_decay_reaches_the_steps_of_a_real_network(tiny):
    def moved(layer_decay: float) -> dict[str, float]:
        config = tiny(
            "gender", layer_decay=layer_decay, weight_decay=0.0, ema_momentum=0.0, schedule="constant"
        )
        keras.utils.set_random_seed(0)
        network, _ = build_network(config)
        model = prepare(network, config, config.stages[1], steps=3)
        before = {v.path: v.numpy() for v in model.trainable_variables}
        rng = np.random.default_rng(0)
        model.train_on_batch(
            rng.uniform(0, 255, (8, 32, 32, 3)).astype(np.float32), {"female": np.eye(2)[[0, 1] * 4][:, :1]}
        )
        after = {v.path: v.numpy() for v in model.trainable_variables}
        return {p.split("/")[-2]: float(np.abs(after[p] - before[p]).max()) for p in after if "kernel" in p}

    plain, layered = moved(1.0), moved(0.5)
    for layer, factor in (("conv1", 0.25), ("conv2", 0.5), ("dense_1", 1.0), ("female", 1.0)):
        assert layered[layer] == pytest.approx(factor * plain[layer], rel=0.05), layer


@pytest.mark.parametrize(
    ("frozen", "learn"),
    [("all", set()), (2 - 1, {"conv2"}), (0, {"conv1", "conv2"})],
)
def test_the_lowest_blocks_are_frozen_and_thawed_again(tiny, frozen, learn):
    config = tiny("gender")
    network, _ = build_network(config)
    freeze(network, config, Stage("before", 1, 0.1, "all"))
    freeze(network, config, Stage("now", 1, 0.1, frozen))
    learning = {variable.path.split("/")[-2] for variable in network.trainable_variables}
    assert learning == learn | {"dense_1", "female"}


@pytest.mark.parametrize(
    ("system", "options"),
    [
        ("vggface", {"backbone": "mobilenet", "input_size": (32, 32), "hidden": (4,)}),
        ("age-range", {"input_size": (32, 32), "filters": (4, 4, 4), "hidden": 8, "embedding": 2}),
    ],
)
def test_every_named_output_has_a_loss(system, options):
    family = get_system(system)
    config = TrainingConfig("both", system=system, options=family.options(**options), gender_weight=3.0)
    network = family.build("both", config.options)
    model = prepare(network, config, config.stages[-1], steps=4)
    assert set(model.output) == set(named_outputs(network))
    n = 4
    targets = {"age_distribution": np.full((n, 117), 1 / 117), "age_range": np.eye(9)[[0, 2, 4, 8]]}
    targets |= {"age": np.full((n, 2), 30.0), "female": np.array([[0.0], [1.0], [1.0], [0.0]])}
    y = {name: targets[name].astype(np.float32) for name in model.output}
    logs = model.test_on_batch(np.zeros((n, 32, 32, 3), np.float32), y, return_dict=True)
    weights = {"age_distribution": 1.0, "age_range": config.range_weight, "age": 0.2, "female": 3.0}
    assert logs["loss"] == pytest.approx(sum(weights[k] * logs[f"{k}_loss"] for k in y), rel=1e-4)
    if "age_distribution" in y:  # years beside a distribution take the absolute error, alone the recipe's
        assert logs["age_mae"] == pytest.approx(logs["age_loss"], rel=1e-4)
    else:
        assert logs["age_mae"] < logs["age_loss"]


def test_learned_weights_start_at_the_recipe_s_and_train_without_decay():
    config = TrainingConfig(
        "both",
        options=get_system("vggface").options(hidden=(4,), input_size=(32, 32)),
        weighting="uncertainty",
        gender_weight=3.0,
        weight_decay=0.5,
    )
    network = get_system("vggface").build("both", config.options)
    model = prepare(network, config, config.stages[0], steps=4)
    weights = {"age_distribution": 1.0, "age": config.age_weight, "female": 3.0}
    assert model.task_uncertainty.current() == pytest.approx(weights)
    learned = list(model.task_uncertainty.log_scales.values())
    assert {id(v) for v in learned} <= {id(v) for v in model.optimizer._trainable_variables}
    assert not any(model.optimizer._use_weight_decay(v) for v in learned)
    assert not any(v is w for v in learned for w in network.variables)


def test_accuracy_counts_soft_labels_by_the_side_they_are_on(tiny):
    """A teacher's or MixUp's labels are neither 0 nor 1."""
    config = tiny("gender")
    network, _ = build_network(config)
    model = prepare(network, config, config.stages[0], steps=1)
    chips = np.random.default_rng(1).uniform(0, 255, (8, 32, 32, 3)).astype(np.float32)
    right = np.where(np.asarray(network(chips)) > 0.5, 0.7, 0.3).astype(np.float32)
    logs = model.test_on_batch(chips, {"female": right}, return_dict=True)
    assert logs["accuracy"] == 1.0
    right[:2] = 1 - right[:2]
    logs = model.test_on_batch(chips, {"female": right}, return_dict=True)
    assert logs["accuracy"] == 0.75


def test_warm_up_and_cosine(tiny):
    config = tiny("gender", warmup_epochs=0.5)
    network, _ = build_network(config)
    model = prepare(network, config, Stage("finetune", 4, 0.1), steps=10)

    def rate(step: int) -> float:
        model.optimizer.iterations.assign(step)
        return float(model.optimizer.learning_rate)

    assert rate(0) == pytest.approx(0.001)
    assert rate(5) == pytest.approx(0.1)
    assert rate(0) < rate(2) < rate(5) > rate(20) > rate(39)
    assert rate(40) == pytest.approx(0.001, rel=0.05)


@pytest.mark.parametrize("schedule", ["constant", "plateau"])
def test_other_schedules_begin_at_the_stage_s_rate(tiny, schedule):
    config = tiny("gender", schedule=schedule)
    network, _ = build_network(config)
    model = prepare(network, config, Stage("finetune", 4, 0.1), steps=10)
    assert float(model.optimizer.learning_rate) == pytest.approx(0.1)


def test_adam_decays_no_weight_and_biases_never_do(tiny):
    def decayed(optimizer: str) -> dict[str, bool]:
        config = tiny("gender", optimizer=optimizer, weight_decay=0.5, schedule="constant", ema_momentum=0.0)
        network, _ = build_network(config)
        model = prepare(network, config, Stage("finetune", 1, 0.1), steps=1)
        for variable in model.trainable_variables:
            variable.assign(np.ones(variable.shape))
        model.optimizer.apply([keras.ops.zeros(v.shape) for v in model.trainable_variables])
        return {v.name: bool((v.numpy() < 1).all()) for v in model.trainable_variables}

    assert decayed("adamw") == {"kernel": True, "bias": False}
    assert decayed("adam") == {"kernel": False, "bias": False}


def test_half_precision_scales_the_loss_around_an_optimiser_that_is_built(tiny):
    config = tiny("gender")
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_float16")
    try:
        network, _ = build_network(config)
        model = prepare(network, config, config.stages[1], steps=3)
    finally:
        keras.config.set_dtype_policy(before)
    assert isinstance(model.optimizer, keras.optimizers.LossScaleOptimizer)
    assert model.optimizer.built
    assert isinstance(model.optimizer.inner_optimizer, LayerwiseAdamW)
    assert model.optimizer.inner_optimizer.built
