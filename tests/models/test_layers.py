"""The two layers of our own."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from agegender.models.layers import ExpectedAge, MeanSubtraction


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
