"""Contributions on networks that are known through and through, occlusion and stability on a fake."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest

from agegender.errors import ModelError
from agegender.explain import ContributionMapper, largest_change, occlude, strongest_place, vary
from agegender.explain.occlusion import GREY, exact_years
from agegender.explain.places import place_at
from agegender.explain.stability import AS_IT_IS, CHANGES
from agegender.faces import CHIP_SIZE
from agegender.faces.crop import CHIP_LANDMARKS
from agegender.labels import MAX_AGE
from agegender.prediction import AgeEstimate, GenderEstimate

SIDE = 16


def make_chip(rng: np.random.Generator, side: int = 200) -> np.ndarray:
    """Smooth coloured blobs, another picture for every seed."""
    return cv2.resize(
        rng.integers(0, 256, (7, 7, 3), dtype=np.uint8), (side, side), interpolation=cv2.INTER_CUBIC
    )


@pytest.fixture
def chip() -> np.ndarray:
    return make_chip(np.random.default_rng(1), SIDE)


def model_of(networks: dict[str, Any], card: dict[str, Any] | None = None, side: int = SIDE) -> Any:
    """What `ContributionMapper` needs of a `TrainedModel`."""
    return SimpleNamespace(name="tiny", networks=networks, input_size=(side, side), card=card or {})


def small_network(*, distribution: bool = True, seed: int = 3) -> Any:
    """RGB to age and gender, with a bend behind the pooling, so that a plain gradient would not add up."""
    import keras
    from keras import layers

    from agegender.models.layers import ExpectedAge

    keras.utils.set_random_seed(seed)
    inputs = keras.Input((SIDE, SIDE, 3))
    x = layers.Rescaling(1 / 128, offset=-1.0)(inputs)
    x = layers.Conv2D(6, 3, padding="same", activation="relu", name="wide")(x)
    x = layers.Conv2D(8, 3, strides=2, padding="same", activation="relu", name="deep")(x)
    x = layers.MaxPooling2D()(x)
    x = layers.GlobalAveragePooling2D()(x)
    x = layers.Dense(8, activation="tanh", kernel_initializer="random_normal")(x)
    if distribution:
        years = layers.Dense(MAX_AGE + 1, activation="softmax", name="age_distribution")(x)
        years = ExpectedAge(name="age")(years)
    else:
        years = layers.Dense(1, name="age")(x)
    return keras.Model(inputs, [years, layers.Dense(1, activation="sigmoid", name="female")(x)])


def linear_network() -> Any:
    """Years as 0.5 times the mean red: each pixel's contribution can be written down."""
    import keras
    from keras import layers

    inputs = keras.Input((SIDE, SIDE, 3))
    x = layers.Conv2D(1, 1, use_bias=False, name="red")(inputs)
    outputs = layers.Dense(1, name="age")(layers.GlobalAveragePooling2D()(x))
    network = keras.Model(inputs, outputs)
    network.get_layer("red").set_weights([np.array([1.0, 0, 0]).reshape(1, 1, 3, 1)])
    network.get_layer("age").set_weights([np.array([[0.5]]), np.array([7.0])])
    return network


def test_contributions_of_a_linear_network_are_known(chip):
    found = ContributionMapper(model_of({"age": linear_network()})).explain(chip, "age")
    expected = 0.5 * (chip[..., 0].astype(float) - GREY) / SIDE**2
    np.testing.assert_allclose(found.values, expected, atol=1e-6)
    assert found.reference == pytest.approx(0.5 * GREY + 7)
    assert found.answer == pytest.approx(0.5 * chip[..., 0].mean() + 7, rel=1e-5)


@pytest.mark.parametrize("distribution", [True, False])
def test_contributions_add_up_to_the_answer(chip, distribution):
    network = small_network(distribution=distribution)
    mapper = ContributionMapper(model_of({"both": network}))
    assert mapper.tasks == ("age", "gender")
    years, female = (float(output[0, 0]) for output in network(chip[None].astype("float32")))
    for task, answer in (("age", years), ("gender", np.log(female / (1 - female)))):
        found = mapper.explain(chip, task)
        assert found.answer == pytest.approx(answer, rel=1e-3)
        assert abs(found.answer - found.reference) > 1e-4
        assert found.values.sum() == pytest.approx(found.answer - found.reference, rel=0.02)


def test_the_deepest_map_that_is_large_enough_is_taken(chip):
    model = model_of({"both": small_network()})
    assert ContributionMapper(model).explain(chip, "age").layer == "deep"
    assert ContributionMapper(model, min_cells=9).explain(chip, "age").layer == "wide"
    assert ContributionMapper(model, min_cells=SIDE + 1).tasks == ()


def test_answers_are_the_calibrated_ones(chip):
    from agegender.calibration import GenderCalibration, sharpen

    network = small_network()
    card = {"calibration": {"age": {"sharpness": 1.7}, "gender": {"temperature": 0.5, "n": 10}}}
    mapper = ContributionMapper(model_of({"both": network}, card))
    from agegender.models.system import with_named_outputs

    raw = {k: v.numpy() for k, v in with_named_outputs(network)(chip[None].astype("float32")).items()}
    years = sharpen(raw["age_distribution"], 1.7) @ np.arange(MAX_AGE + 1)
    assert mapper.explain(chip, "age").answer == pytest.approx(years[0], rel=1e-4)
    female = GenderCalibration(0.5, 10).probability(raw["female"][:, 0])[0]
    log_odds = mapper.explain(chip, "gender").answer
    assert 1 / (1 + np.exp(-log_odds)) == pytest.approx(female, rel=1e-4)


def test_a_backbone_within_the_network_is_cut_inside(chip):
    """As in the Sequential pair; its layers were called for another network before, as VGGFace's VGG16's."""
    import keras
    from keras import layers

    keras.utils.set_random_seed(5)
    shared = [layers.Conv2D(4, 3, padding="same", activation="relu", name="conv")]
    other = keras.Input((SIDE, SIDE, 3))
    shared[0](other)
    inputs = keras.Input((SIDE, SIDE, 3))
    pooled = layers.GlobalAveragePooling2D()(shared[0](layers.Rescaling(1 / 255)(inputs)))
    backbone = keras.Model(inputs, pooled, name="backbone")
    network = keras.Sequential([keras.Input((SIDE, SIDE, 3)), backbone, layers.Dense(1, name="age")])
    found = ContributionMapper(model_of({"age": network})).explain(chip, "age")
    assert found.layer == "conv"
    assert found.answer == pytest.approx(float(network(chip[None].astype("float32"))[0, 0]), rel=1e-5)
    assert found.values.sum() == pytest.approx(found.answer - found.reference, rel=1e-3)


def test_each_answer_is_cut_in_its_own_branch(chip):
    import keras
    from keras import layers

    inputs = keras.Input((SIDE, SIDE, 3))
    heads = []
    for name in ("age", "female"):
        x = layers.Conv2D(3, 3, name=f"conv_{name}")(inputs)
        x = layers.GlobalAveragePooling2D()(x)
        heads.append(layers.Dense(1, activation="sigmoid" if name == "female" else None, name=name)(x))
    mapper = ContributionMapper(model_of({"both": keras.Model(inputs, heads)}))
    assert mapper.explain(chip, "age").layer == "conv_age"
    assert mapper.explain(chip, "gender").layer == "conv_female"


def test_a_map_that_part_of_the_answer_bypasses_is_not_taken(chip):
    """Else the contributions would not add up, and nobody would see it."""
    import keras
    from keras import layers

    inputs = keras.Input((SIDE, SIDE, 3))
    x = layers.GlobalAveragePooling2D()(layers.Conv2D(3, 3)(inputs))
    x = layers.Concatenate()([x, layers.GlobalAveragePooling2D()(inputs)])
    mapper = ContributionMapper(model_of({"age": keras.Model(inputs, layers.Dense(1, name="age")(x))}))
    assert mapper.tasks == ()


def test_a_model_without_a_map_is_refused_with_its_name(chip):
    import keras
    from keras import layers

    inputs = keras.Input((SIDE, SIDE, 3))
    flat = keras.Model(inputs, layers.Dense(1, name="age")(layers.Flatten()(inputs)))
    for networks in ({"age": flat}, {}):
        mapper = ContributionMapper(model_of(networks))
        assert mapper.tasks == ()
        with pytest.raises(ModelError, match=r"'tiny' has no network .* covering parts of it works"):
            mapper.explain(chip, "age")


def test_threads_share_a_mapper_and_the_network_stays_as_it_was(chip):
    network = small_network()
    before = [weight.numpy().copy() for weight in network.weights]
    mapper = ContributionMapper(model_of({"both": network}))
    alone = mapper.explain(chip, "age").values
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda _: mapper.explain(chip, "age").values, range(8)))
    for values in together:
        np.testing.assert_allclose(values, alone, atol=1e-5)
    for weight, old in zip(network.weights, before, strict=True):
        np.testing.assert_array_equal(weight.numpy(), old)


class Brightness:
    """Takes a face for as old as its left half is bright, and for female where its right half is."""

    def __init__(self, *, age: bool = True, gender: bool = True) -> None:
        self.age, self.gender = age, gender
        self.batches: list[int] = []

    def predict_chips(self, chips: np.ndarray, *, margin=0) -> list:
        self.batches.append(len(chips))
        half = chips.shape[2] // 2
        answers = []
        for one in chips.astype(float):
            years, female = 100 * one[:, :half].mean() / 255, one[:, half:].mean() / 255
            label = "female" if female >= 0.5 else "male"
            age = AgeEstimate(years, years - 5, years + 5, 0.9) if self.age else None
            gender = GenderEstimate(label, max(female, 1 - female)) if self.gender else None
            answers.append((age, gender))
        return answers


@pytest.fixture
def bright() -> np.ndarray:
    """White where the model looks: the grey cover takes years away on the left, *female* on the right."""
    return np.full((200, 200, 3), 255, dtype=np.uint8)


def test_covering_finds_the_place_that_counts(bright):
    steps: list[tuple[int, int]] = []
    found = occlude(Brightness(), bright, cells=4, patch=0.25, progress=lambda _, *step: steps.append(step))
    assert found.age.shape == found.female.shape == (4, 4)
    # A square of 50 × 50 out of a half of 100 × 200 pixels goes from white to grey.
    share = 50 * 50 / (100 * 200) * (255 - GREY) / 255
    np.testing.assert_allclose(found.age, np.repeat([[100 * share] * 2 + [0] * 2], 4, axis=0), atol=1e-6)
    np.testing.assert_allclose(found.female, np.repeat([[0] * 2 + [share] * 2], 4, axis=0), atol=1e-9)
    assert steps[-1] == (16, 16)
    assert found.whole[0].years == 100


def test_a_cover_at_the_border_reaches_less_far_and_leaves_the_face_as_it_was(bright):
    before = bright.copy()
    found = occlude(Brightness(), bright, cells=10, patch=0.3)
    assert found.age[0, 0] == pytest.approx(found.age[5, 1] * (40 * 40) / (60 * 60))
    np.testing.assert_array_equal(bright, before)


def test_covering_asks_in_batches(bright):
    model, steps = Brightness(), []
    occlude(model, bright, cells=7, progress=lambda _, done, total: steps.append((done, total)))
    assert sum(model.batches) == 50
    assert max(model.batches) <= 32
    assert [done for done, _ in steps] == [20, 40, 49]


def test_a_model_of_one_answer_is_covered_for_that_one(bright):
    assert occlude(Brightness(gender=False), bright, cells=2).female is None
    assert occlude(Brightness(age=False), bright, cells=2).age is None


@pytest.mark.parametrize("arguments", [{"cells": 0}, {"patch": 0.0}, {"patch": 1.5}])
def test_covering_refuses_what_makes_no_sense(bright, arguments):
    with pytest.raises(ValueError, match="cells must be"):
        occlude(Brightness(), bright, **arguments)


def test_an_age_is_known_better_than_to_the_year_where_there_is_a_distribution():
    distribution = np.zeros(MAX_AGE + 1, dtype=np.float32)
    distribution[[30, 31]] = 0.25, 0.75
    assert exact_years(AgeEstimate(31.0, 20, 40, 0.9, distribution)) == pytest.approx(30.75)
    assert exact_years(AgeEstimate(31.0, 20, 40, 0.9)) == 31.0


def test_the_share_of_female_is_that_of_either_label():
    assert GenderEstimate("female", 0.8).female == pytest.approx(0.8)
    assert GenderEstimate("male", 0.8).female == pytest.approx(0.2)


def test_versions_of_a_face_come_after_the_face_itself(chip):
    model = Brightness()
    variants = vary(model, chip)
    assert [variant.name for variant in variants] == [AS_IT_IS, *CHANGES]
    assert model.batches == [len(variants)]
    np.testing.assert_array_equal(variants[0].chip, chip)
    for variant in variants:
        assert variant.chip.shape == chip.shape
        assert variant.chip.dtype == np.uint8


def test_changes_do_what_they_are_called():
    chip = make_chip(np.random.default_rng(2)) // 2 + 40
    np.testing.assert_array_equal(CHANGES["mirrored"](CHANGES["mirrored"](chip)), chip)
    assert CHANGES["darker"](chip).mean() < chip.mean() < CHANGES["brighter"](chip).mean()
    grey = CHANGES["without colour"](chip)
    assert (grey[..., 0] == grey[..., 1]).all() and (grey[..., 1] == grey[..., 2]).all()
    coarse = CHANGES["48 pixels small"](chip)
    assert (
        np.abs(np.diff(coarse.astype(int), axis=1)).mean() < np.abs(np.diff(chip.astype(int), axis=1)).mean()
    )


def test_turning_and_cutting_move_what_they_should():
    dot = np.zeros((200, 200, 3), dtype=np.uint8)
    dot[36:44, 96:104] = 255  # above the middle

    def where(chip: np.ndarray) -> tuple[float, float]:
        rows, columns = np.nonzero(chip[..., 0] > 100)
        return rows.mean(), columns.mean()

    assert where(CHANGES["turned left"](dot))[1] < 95  # its top leans to the picture's left
    assert where(CHANGES["turned right"](dot))[1] > 105
    assert where(CHANGES["cut closer"](dot))[0] < where(dot)[0] < where(CHANGES["cut wider"](dot))[0]


def test_the_largest_change_is_found_either_way(bright):
    variants = vary(Brightness(), bright)
    assert largest_change(variants).name == "darker"
    assert largest_change(vary(Brightness(age=False), bright)) is None
    assert largest_change(variants[:1]) is None


def test_landmarks_lie_at_the_places_that_bear_their_names():
    names = [place_at(y / CHIP_SIZE, x / CHIP_SIZE) for x, y in CHIP_LANDMARKS]
    assert names == ["the eye on the left", "the eye on the right", "the nose", "the mouth", "the mouth"]


def test_every_point_of_a_chip_has_a_name():
    for down in np.linspace(0, 1, 21):
        for across in np.linspace(0, 1, 21):
            assert place_at(down, across).startswith("the ")
    with pytest.raises(ValueError, match="not on the chip"):
        place_at(1.2, 0.5)


def test_the_strongest_place_of_each_sign():
    values = np.zeros((10, 10))
    values[2, 3], values[6, 5] = 2.0, -3.0
    assert strongest_place(values, sign=1) == "the eye on the left"
    assert strongest_place(values, sign=-1) == "the mouth"
    assert strongest_place(np.zeros((10, 10)), sign=1) is None
    assert strongest_place(np.ones((10, 10)), sign=-1) is None
