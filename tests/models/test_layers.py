"""Layers of our own, and the heads that systems share."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from agegender.errors import ConfigError, ModelError
from agegender.models.layers import (
    AGE_CENTRE,
    ExpectedAge,
    LastColumn,
    MeanSubtraction,
    age_head,
    convolutional_blocks,
    gender_head,
    without_pooling,
)
from agegender.models.options import check_blocks


def test_pixels_become_bgr_minus_the_mean():
    rgb = np.array([[[[10.0, 20.0, 30.0]]]], np.float32)
    out = np.asarray(MeanSubtraction((1.0, 2.0, 3.0))(rgb))
    assert out.tolist() == [[[[29.0, 18.0, 7.0]]]]


@pytest.mark.parametrize("year", [0, 1, 57, 116])
def test_a_certain_year_is_its_own_expectation(year):
    certain = np.eye(117, dtype=np.float32)[None, year]
    assert np.asarray(ExpectedAge()(certain)).tolist() == [[year]]


def test_the_expectation_weighs_years_by_probability():
    rows = np.zeros((2, 117), np.float32)
    rows[0, [20, 40]] = 0.25, 0.75
    rows[1] = 1 / 117
    assert np.asarray(ExpectedAge()(rows))[:, 0] == pytest.approx([35.0, 58.0], rel=1e-4)


def test_both_survive_saving_a_whole_model(tmp_path):
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((4, 4, 3)),
            MeanSubtraction((93.6, 104.8, 129.2)),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(5, activation="softmax"),
            ExpectedAge(),
        ]
    )
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    pixels = np.random.default_rng(0).uniform(0, 255, (3, 4, 4, 3)).astype(np.float32)
    assert again.output_shape == model.output_shape == (None, 1)
    assert np.asarray(again(pixels)) == pytest.approx(np.asarray(model(pixels)), rel=1e-5)


def test_the_last_column_is_the_last_class():
    softmax = np.array([[0.9, 0.1], [0.3, 0.7]], np.float32)
    assert np.asarray(LastColumn()(softmax)).tolist() == [[pytest.approx(0.1)], [pytest.approx(0.7)]]


def test_heads_without_opinion_answer_the_mean_age_and_a_half():
    inputs = keras.Input((4,))
    model = keras.Model(inputs, [age_head(inputs), gender_head(inputs)])
    age, female = model(np.zeros((1, 4), np.float32))
    assert np.asarray(age).tolist() == [[AGE_CENTRE]]
    assert np.asarray(female).tolist() == [[0.5]]
    assert [layer.name for layer in model.layers[-2:]] == ["age", "female"]


@pytest.mark.parametrize(("side", "length"), [(16, 8), (32, 2 * 2 * 8), (50, 3 * 3 * 8)])
def test_blocks_halve_three_times_and_average_once(side, length):
    inputs = keras.Input((side, side, 3))
    features = convolutional_blocks(inputs, (4, 4, 8), convolutions=(1, 2, 3), prefix="x_")
    assert features.shape == (None, length)
    model = keras.Model(inputs, features)
    assert all(layer.name.startswith("x_") for layer in model.layers[1:])
    assert sum(isinstance(layer, keras.layers.Conv2D) for layer in model.layers) == 6


@pytest.mark.parametrize(
    ("filters", "size", "words"),
    [((4, 4), (32, 32), r"\(4, 4\)"), ((4, 0, 4), (32, 32), "0"), ((4, 4, 4), (32, 15), "32x15")],
)
def test_blocks_that_cannot_be_are_refused(filters, size, words):
    with pytest.raises(ConfigError, match=words):
        check_blocks(filters, size)


def test_a_backbone_without_its_pooling_gives_the_map_that_is_averaged():
    """Even where its layers were called in another model before, as keras-vggface's are."""
    convolution = keras.layers.Conv2D(5, 3, strides=2, name="conv")
    pooling = keras.layers.GlobalAveragePooling2D(name="pool")
    pooling(convolution(keras.Input((8, 8, 3))))
    inputs = keras.Input((8, 12, 3))
    backbone = keras.Model(inputs, pooling(convolution(inputs)), name="tiny")
    cut = without_pooling(backbone)
    assert cut.name == "tiny"
    assert cut.output_shape == (None, 3, 5, 5)
    cut.set_weights(backbone.get_weights())
    pixels = np.random.default_rng(0).uniform(size=(2, 8, 12, 3)).astype(np.float32)
    assert np.asarray(cut(pixels)).mean(axis=(1, 2)) == pytest.approx(np.asarray(backbone(pixels)), rel=1e-4)


def test_a_backbone_that_ends_in_something_else_is_refused():
    inputs = keras.Input((8, 8, 3))
    backbone = keras.Model(inputs, keras.layers.Flatten(name="flat")(inputs), name="tiny")
    with pytest.raises(ModelError, match=r"tiny.*flat"):
        without_pooling(backbone)
