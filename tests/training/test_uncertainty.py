"""Loss weights that are learned: they start where they are told, find the noise, and survive a checkpoint."""

from __future__ import annotations

import math

import keras
import numpy as np
import pytest

from agegender.errors import ConfigError
from agegender.training.uncertainty import TaskUncertainty, UncertainLoss, weigh_by_uncertainty

LOSSES = {"age": "mae", "female": keras.losses.BinaryCrossentropy(label_smoothing=0.1)}
WEIGHTS = {"age": 0.05, "female": 2.0}


def make_model() -> keras.Model:
    inputs = keras.Input((4,))
    age = keras.layers.Dense(1, name="age")(inputs)
    female = keras.layers.Dense(1, activation="sigmoid", name="female")(inputs)
    return keras.Model(inputs, {"age": age, "female": female})


def make_batch() -> tuple[np.ndarray, dict[str, np.ndarray]]:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(16, 4)).astype(np.float32)
    ages, female = rng.uniform(0, 80, (16, 1)), rng.integers(0, 2, (16, 1))
    return x, {"age": ages.astype(np.float32), "female": female.astype(np.float32)}


def test_the_loss_starts_as_the_fixed_sum_but_for_the_penalty():
    keras.utils.set_random_seed(1)
    model, (x, y) = make_model(), make_batch()
    model.compile("sgd", loss=dict(LOSSES), loss_weights=WEIGHTS)
    fixed = model.evaluate(x, y, verbose=0, return_dict=True)["loss"]
    model.compile("sgd", loss=weigh_by_uncertainty(model, LOSSES, WEIGHTS))
    learned = model.evaluate(x, y, verbose=0, return_dict=True)["loss"]
    penalty = 1.0 * -math.log(0.05) + 0.5 * -math.log(2.0)
    assert learned == pytest.approx(fixed + penalty, rel=1e-5)


def test_the_scale_settles_where_the_noise_is():
    """With errors that nothing can lower, exp(−s) L + c s is least at exp(s) = L / c."""
    layer = TaskUncertainty({"age": 1.0})
    loss = UncertainLoss("mae", layer.log_scales["age"], penalty=1.0)
    truth, guess = np.zeros((8, 1), np.float32), np.full((8, 1), 7.0, np.float32)
    values = {}
    for weight in (1 / 6, 1 / 7, 1 / 8):
        layer.log_scales["age"].assign(-math.log(weight))
        values[weight] = float(loss(truth, guess))
    assert min(values, key=values.__getitem__) == 1 / 7
    assert values[1 / 7] == pytest.approx(1 + math.log(7), rel=1e-5)


def test_training_turns_the_noisier_task_down():
    keras.utils.set_random_seed(1)
    model, (x, y) = make_model(), make_batch()
    losses = weigh_by_uncertainty(model, LOSSES, {"age": 1.0, "female": 1.0})
    model.compile(keras.optimizers.Adam(0.1), loss=losses)
    assert len(model.trainable_variables) == 4 + 2
    model.fit(x, y, batch_size=16, epochs=30, verbose=0)
    weights = model.task_uncertainty.current()
    assert weights["age"] < 0.2  # errors of tens of years
    assert weights["female"] > 2 * weights["age"]


def test_sample_weights_count():
    layer = TaskUncertainty({"age": 0.5})
    loss = UncertainLoss("mae", layer.log_scales["age"], penalty=0.0)
    truth, guess = np.zeros((2, 1), np.float32), np.array([[4.0], [8.0]], np.float32)
    weighted = float(loss(truth, guess, sample_weight=np.array([0.0, 2.0], np.float32)))
    assert weighted == pytest.approx(0.5 * (0 * 4 + 2 * 8) / 2)


def test_the_weights_survive_a_checkpoint_and_leave_the_network_alone(tmp_path):
    model, (x, y) = make_model(), make_batch()
    network = keras.Model(model.inputs, [model.get_layer("age").output, model.get_layer("female").output])
    parameters = network.count_params()
    model.compile("adam", loss=weigh_by_uncertainty(model, LOSSES, WEIGHTS))
    model.train_on_batch(x, y)
    model.task_uncertainty.log_scales["age"].assign(1.25)
    model.save_weights(tmp_path / "last.weights.h5")
    assert network.count_params() == parameters

    again = make_model()
    again.compile("adam", loss=weigh_by_uncertainty(again, LOSSES, WEIGHTS))
    again.train_on_batch(x, y)
    again.load_weights(tmp_path / "last.weights.h5")
    assert again.task_uncertainty.current()["age"] == pytest.approx(math.exp(-1.25))
    for before, after in zip(model.get_weights(), again.get_weights(), strict=True):
        assert before == pytest.approx(after)


def test_a_weight_of_nothing_is_refused():
    with pytest.raises(ConfigError, match="female"):
        weigh_by_uncertainty(make_model(), LOSSES, {"age": 1.0, "female": 0.0})
