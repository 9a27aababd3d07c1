"""Curves read into a verdict: made-up ones with a known answer, and those of real runs."""

from __future__ import annotations

import re
from collections import Counter

import numpy as np
import pandas as pd
import pytest

from agegender.runs.reading import best_epoch, read_curve, say_amount, say_reading

FACES = 2141


def history(validation, training=None, *, quantity: str = "mae", head: int = 0) -> pd.DataFrame:
    """A history of so many epochs, the first ``head`` of them in a stage of their own."""
    epochs = np.arange(1, len(validation) + 1)
    falling = np.linspace(7.0, 4.0, len(epochs)) if quantity == "mae" else np.linspace(0.8, 0.95, len(epochs))
    return pd.DataFrame(
        {
            "epoch": epochs,
            "stage": np.where(epochs <= head, "head", "finetune"),
            quantity: falling if training is None else training,
            f"val_{quantity}": np.asarray(validation, dtype=np.float64),
        }
    )


def decay(count: int, *, floor: float = 4.5, by: float = 14.0, rate: float = 0.9) -> np.ndarray:
    """Falls fast, as validation does while the moving average of the weights catches up."""
    return floor + by * np.exp(-rate * np.arange(count))


def verdict(curve: pd.DataFrame, quantity: str = "mae") -> str:
    return read_curve(curve, quantity, faces=FACES).verdict


# Real runs of this project: the published age and gender networks, and the first epochs of one of both.
PUBLISHED_AGE = [8.44, 5.08, 4.71, 4.59]
PUBLISHED_GENDER = [0.9267, 0.9323, 0.9369]
BOTH = [18.95, 10.47, 6.12, 5.07, 4.77, 4.66]
BOTH_TRAINING = [8.81, 7.67, 6.50, 6.03, 5.63, 5.37]


@pytest.mark.parametrize("count", [0, 1, 2])
def test_under_three_epochs_it_is_too_early(count):
    reading = read_curve(history(BOTH[:count]), "mae")
    assert (reading.verdict, reading.since) == ("early", None)
    assert say_reading(reading, "mae", running=True).startswith("Too early to tell. ")


def test_real_runs_were_still_improving():
    assert verdict(history(PUBLISHED_AGE, head=1)) == "improving"
    assert verdict(history(PUBLISHED_GENDER, quantity="accuracy", head=1), "accuracy") == "improving"
    for count in range(3, len(BOTH) + 1):
        assert verdict(history(BOTH[:count], BOTH_TRAINING[:count], head=1)) == "improving", count


@pytest.mark.parametrize("count", range(3, 30))
def test_the_lag_of_the_first_epochs_is_never_overfitting(count):
    """Validation stands far above training at first; that gap is no sign of anything."""
    rng = np.random.default_rng(count)
    curve = history(decay(count) + rng.normal(0, 0.01, count), head=1)
    assert verdict(curve) in ("improving", "flat")


def test_a_settled_curve_is_flat_since_it_settled():
    reading = read_curve(history(decay(20)), "mae", faces=FACES)
    assert reading.verdict == "flat"
    assert reading.since in (7, 8)  # 14·exp(-0.9·6) is 0.06 years, 14·exp(-0.9·7) 0.03
    assert reading.epochs == 20 - reading.since + 1


def test_worse_validation_with_better_training_is_overfitting():
    reading = read_curve(history([5, 4.6, 4.4, 4.3, 4.25, 4.3, 4.4, 4.5, 4.6, 4.7]), "mae", faces=FACES)
    assert reading.verdict == "overfitting"
    assert reading.since in (5, 6)
    assert reading.change == pytest.approx(4.6 - 12.85 / 3)


def test_overfitting_is_still_said_once_validation_has_stopped_rising():
    values = [5, 4.6, 4.4, 4.3, 4.4, 4.6, 4.8, *[4.9] * 8]
    assert verdict(history(values)) == "overfitting"


def test_worse_validation_with_worse_training_is_not_overfitting():
    values = np.array([5, 4.6, 4.4, 4.3, 4.25, 4.3, 4.5, 4.8, 5.2, 5.7])
    reading = read_curve(history(values, training=values + 1), "mae", faces=FACES)
    assert reading.verdict == "worse"
    assert "learning rate" in say_reading(reading, "mae", running=False)


def test_unmeasured_training_is_not_called_overfitting():
    curve = history([5, 4.6, 4.4, 4.3, 4.25, 4.3, 4.5, 4.8, 5.2, 5.7], training=np.full(10, np.nan))
    assert verdict(curve) == "worse"


def test_a_new_stage_gets_time_to_recover_from_its_jump():
    before = [5.0, 4.8, 4.6, 4.5, 4.45, 4.42, 4.41]
    for after in ([5.2], [5.2, 4.9], [5.2, 4.9, 4.7]):
        assert verdict(history(before + after, head=len(before))) == "early", after
    assert verdict(history([*before, 5.2, 4.7, 4.4, 4.2, 4.1], head=len(before))) == "improving"


def test_a_new_stage_that_is_better_at_once_improves():
    reading = read_curve(history([5.0, 4.9, 4.9, 4.9, 4.5], head=4), "mae", faces=FACES)
    assert reading.verdict == "improving"
    assert reading.change == pytest.approx(-0.4)
    assert "In the latest epoch the validation error fell by 0.40 years" in say_reading(
        reading, "mae", running=True
    )


def test_accuracy_is_read_the_other_way_up():
    curve = history(0.95 - 0.1 * np.exp(-0.2 * np.arange(10)), quantity="accuracy")
    reading = read_curve(curve, "accuracy", faces=FACES)
    assert reading.verdict == "improving"
    assert reading.change > 0
    assert "accuracy rose by" in say_reading(reading, "accuracy", running=True)
    down = [0.85, 0.9, 0.92, 0.93, 0.935, 0.93, 0.92, 0.91, 0.90, 0.89]
    reading = read_curve(history(down, quantity="accuracy"), "accuracy", faces=FACES)
    assert reading.verdict == "overfitting"
    assert reading.change < 0
    assert "accuracy fell by" in say_reading(reading, "accuracy", running=False)


def test_fewer_faces_mean_more_noise():
    values = [4.6, 4.57, 4.54, 4.51, 4.48]
    assert read_curve(history(values), "mae", faces=20000).verdict == "improving"
    assert read_curve(history(values), "mae", faces=20).verdict == "flat"


def test_a_single_spike_changes_nothing():
    values = decay(20)
    values[13] += 3
    reading = read_curve(history(values), "mae", faces=FACES)
    assert reading.verdict == "flat"
    assert reading.noise < 0.05


@pytest.mark.parametrize("count", [8, 12, 20, 40])
@pytest.mark.parametrize("noise", [0.01, 0.03, 0.1])
def test_noise_alone_is_called_flat(count, noise):
    rng = np.random.default_rng(0)
    curves = [history(4.5 + rng.normal(0, noise, count)) for _ in range(100)]
    verdicts = Counter(verdict(curve) for curve in curves)
    assert verdicts["improving"] <= 10
    assert verdicts["overfitting"] <= 10
    assert verdicts["flat"] >= 80


@pytest.mark.parametrize("count", [12, 20, 40])
def test_trends_are_seen_through_noise(count):
    rng = np.random.default_rng(0)
    epochs = np.arange(count)
    falling = [4.5 + 3 * np.exp(-2 * epochs / count) + rng.normal(0, 0.03, count) for _ in range(50)]
    assert sum(verdict(history(curve)) == "improving" for curve in falling) >= 45
    rising = decay(count) + 0.05 * np.maximum(0, epochs - 0.4 * count)
    readings = [
        read_curve(history(rising + rng.normal(0, 0.02, count)), "mae", faces=FACES) for _ in range(50)
    ]
    assert sum(reading.verdict == "overfitting" for reading in readings) >= 45
    since = np.median([reading.since for reading in readings if reading.since])
    assert 0 <= since - (np.argmin(rising) + 1) <= 3  # noise hides the first steps upwards


def test_epochs_without_validation_and_in_any_order_are_read():
    curve = history([5, 4.6, 4.4, 4.3, 4.25, 4.3, 4.4, 4.5, 4.6, 4.7])
    gap = pd.DataFrame({"epoch": [11, 12], "stage": "finetune", "mae": 4.0, "val_mae": [np.nan, np.inf]})
    mixed = pd.concat([curve, gap]).sample(frac=1, random_state=0)
    assert read_curve(mixed, "mae", faces=FACES) == read_curve(curve, "mae", faces=FACES)


@pytest.mark.parametrize(
    ("values", "quantity", "best"),
    [
        ([6.0, 5.0, 5.5], "mae", 2),
        ([6.0, 5.0, 5.0], "mae", 2),
        ([0.6, 0.5, 0.55], "accuracy", 1),
        ([None, None], "mae", None),
        ([None, 5.0, 4.0, None], "mae", 3),
        ([6.0, 5.0, 5.5], "loss", 2),
    ],
)
def test_best_epoch(values, quantity, best):
    assert best_epoch(history(values, quantity=quantity), quantity) == best


def test_best_epoch_goes_by_the_epoch_not_by_the_row():
    assert best_epoch(history([6.0, 5.0, 5.0]).iloc[::-1], "mae") == 2


@pytest.mark.parametrize("running", [True, False])
@pytest.mark.parametrize("values", [BOTH, decay(20), [5, 4.5, 4.3, 4.3, 4.4, 4.6, 4.8, 5.0], [5.0]])
def test_what_is_said_is_whole_sentences(values, running):
    reading = read_curve(history(values), "mae", faces=FACES)
    words = say_reading(reading, "mae", running=running)
    assert words.endswith(".")
    assert re.fullmatch(r"[A-Z][^.]+\. [A-Z].*", words)
    assert "None" not in words
    assert "nan" not in words
    assert ("it ended" in words) == (reading.verdict == "improving" and not running)


def test_amounts_have_their_units():
    assert say_amount(-0.314, "mae") == "0.31 years"
    assert say_amount(0.0061, "accuracy") == "0.6 points"
    assert say_amount(0.0421, "loss") == "0.042"
