"""Reads a training curve the way a patient teacher would: is it still improving, flat, or overfitting?

The rules, in the order they are tried. All are about the validation figure, turned so that low is good, and
about epochs that have one. Of simulated curves that are flat but for noise, at most one in ten is called
improving, and one in ten overfitting (``tests/training/test_reading.py``).

1. **Too early** with fewer than three epochs.
2. **Still improving** when the straight line through the latest quarter of the epochs, at least four and all
   of the latest stage, falls by more than twice the standard error that noise gives such a line, and no three
   epochs in a row were better before than the latest three. In the first two epochs of a later stage it takes
   a figure better than all stages before, by more than twice the noise.
3. **Overfitting since epoch N** when the latest three epochs are on average worse than the best three in a
   row by more than four times the noise, while the training figure went on improving by more than twice its
   own noise. N is the last epoch as good as those best three, up to twice the noise. If training did not
   improve either, it is **getting worse**: more likely too high a learning rate. A curve that is on its way
   back down, as after the jump at the start of a stage, is neither: it is too early.
4. **Flat since epoch N**, the first that was as good as the latest ones up to twice the noise, when that was
   at least four epochs ago; otherwise it is too early.

**Noise** is measured on the curve itself. A learning curve is convex, each epoch gains less than the one
before, so an epoch that lies *above* the line between its neighbours lies there by chance. With independent
noise of standard deviation s, that distance has the deviation s·√1.5, and its upper quartile is 0.674 times
that. It is at least what a figure measured on n faces must be granted: a fifth of its standard error
(consecutive epochs answer the same faces, so nearly all of the sampling error is shared; a correlation of
0.96 leaves √(1 − 0.96) = 0.2 of it).

No rule compares validation with training in height. Training figures are taken with augmentation and dropout
on, which makes them worse, and validation in the first epochs lags behind, because it measures a moving
average of the weights: neither says anything about overfitting.

Imports no TensorFlow.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import pandas as pd

Quantity = Literal["loss", "mae", "accuracy", "range_accuracy"]
Verdict = Literal["early", "improving", "flat", "overfitting", "worse"]

HIGHER_IS_BETTER: Final[frozenset[Quantity]] = frozenset({"accuracy", "range_accuracy"})

_NAMES: Final[dict[Quantity, str]] = {
    "loss": "loss",
    "mae": "error",
    "accuracy": "accuracy",
    "range_accuracy": "range accuracy",
}
_ENDED_IMPROVING: Final = ("Still improving when it ended.", " A longer run might get further.")
_TRIPLE: Final = 3
_LEAST_WINDOW: Final = 4
_USUAL_FACES: Final = 2000
_QUARTILE_OF_NOISE: Final = 0.6745 * math.sqrt(1.5)
_UNSHARED_ERROR: Final = 0.2


@dataclass(frozen=True)
class Reading:
    """What a curve says.

    Attributes:
        verdict: "early", "improving", "flat", "overfitting" or "worse".
        since: The epoch from which it holds; ``None`` for "early" and "improving".
        change: How far the validation figure moved, in the quantity's own unit and direction: over the
            latest ``epochs`` when improving, from the best three epochs to the latest three when it got
            worse, otherwise 0.
        epochs: How many epochs the verdict rests on.
        noise: Standard deviation of one epoch's figure that is put down to chance, in its own unit.
    """

    verdict: Verdict
    since: int | None = None
    change: float = 0.0
    epochs: int = 0
    noise: float = 0.0


def best_epoch(history: pd.DataFrame, quantity: Quantity) -> int | None:
    """Finds the epoch with the best validation figure, the earliest of equals.

    Args:
        history: One network's, with the columns ``epoch`` and ``val_<quantity>``.
        quantity: What to judge by: accuracies are best when high, loss and mean absolute error when low.

    Returns:
        The epoch, or ``None`` where nothing was validated.
    """
    rows = _validated(history, quantity)
    if rows.empty:
        return None
    return int(rows["epoch"].iloc[int(np.argmin(_costs(rows, f"val_{quantity}")))])


def read_curve(history: pd.DataFrame, quantity: Quantity, *, faces: int | None = None) -> Reading:
    """Judges a curve by the rules at the top of this module.

    Args:
        history: One network's, with the columns ``epoch``, ``quantity``, ``val_<quantity>`` and, where there
            are several, ``stage``.
        quantity: What to judge.
        faces: How many faces the validation figure was measured on; ``None`` where that is not known.

    Returns:
        The verdict with the figures it rests on.
    """
    rows = _validated(history, quantity)
    if len(rows) < _TRIPLE:
        return Reading("early", epochs=len(rows))
    curve = _Curve.of(rows, quantity, f"val_{quantity}", faces)
    training = _Curve.of(rows, quantity, quantity, faces)
    early = Reading("early", epochs=len(rows), noise=curve.noise)
    return _improving(curve) or _worsening(curve, training) or _flat(curve) or early


def say_reading(reading: Reading, quantity: Quantity, *, running: bool) -> str:
    """Puts a reading into plain words.

    Args:
        reading: From `read_curve`.
        quantity: What was judged.
        running: Whether the run goes on.

    Returns:
        Two or three short sentences; the first can stand alone.
    """
    figure = f"the validation {_NAMES[quantity]}"
    change = f"{figure} {'rose' if reading.change > 0 else 'fell'} by {say_amount(reading.change, quantity)}"
    latest = "In the latest epoch" if reading.epochs == 1 else f"Over the latest {reading.epochs} epochs"
    noise = say_amount(2 * reading.noise, quantity)
    if reading.verdict == "improving":
        head, tail = ("Still improving.", "") if running else _ENDED_IMPROVING
        return f"{head} {latest} {change}, which is more than chance.{tail}"
    if reading.verdict == "flat":
        tail = "" if running else " More epochs like these would change little."
        rest = f"Since then {figure} has moved no more than chance explains, about {noise} either way."
        return f"Flat since epoch {reading.since}. {rest}{tail}"
    if reading.verdict == "overfitting":
        why = "while training went on getting better at its own photos. That is why the best epoch is kept."
        return f"Overfitting since epoch {reading.since}. After it {change}, {why}"
    if reading.verdict == "worse":
        why = "and training got no better at its own photos either. The learning rate may be too high."
        return f"Getting worse since epoch {reading.since}. After it {change}, {why}"
    return "Too early to tell. A trend needs a few more epochs."


def say_amount(amount: float, quantity: Quantity) -> str:
    """Puts a difference of a quantity into words: "0.31 years", "0.6 points", "0.042"; without its sign."""
    amount = abs(amount)
    if quantity == "mae":
        return f"{amount:.2f} years"
    if quantity in HIGHER_IS_BETTER:
        return f"{100 * amount:.1f} points"
    return f"{amount:.2g}"


def _validated(history: pd.DataFrame, quantity: Quantity) -> pd.DataFrame:
    finite = np.isfinite(history[f"val_{quantity}"].to_numpy(dtype=np.float64))
    return history[finite].sort_values("epoch", kind="stable")


@dataclass(frozen=True, eq=False)
class _Curve:
    """One side of a curve, prepared for judging.

    Attributes:
        epochs: Of each figure, int64 (n,).
        figures: Turned so that low is good, float64 (n,).
        sign: 1, or -1 where turning them changed the direction.
        noise: Standard deviation of one figure.
        in_stage: How many of the figures belong to the latest stage.
    """

    epochs: NDArray[np.int64]
    figures: NDArray[np.float64]
    sign: float
    noise: float
    in_stage: int

    @classmethod
    def of(cls, rows: pd.DataFrame, quantity: Quantity, column: str, faces: int | None) -> _Curve:
        stages = rows["stage"].to_numpy() if "stage" in rows else np.zeros(len(rows))
        figures = _costs(rows, column)
        return cls(
            epochs=rows["epoch"].to_numpy(dtype=np.int64),
            figures=figures,
            sign=-1.0 if quantity in HIGHER_IS_BETTER else 1.0,
            noise=_noise(figures, stages, quantity, faces or _USUAL_FACES),
            in_stage=int(np.argmin((stages == stages[-1])[::-1])) or len(rows),  # 0: no other stage is met
        )

    @property
    def window(self) -> int:
        """How many of the latest epochs a trend is read from."""
        return min(max(_LEAST_WINDOW, math.ceil(len(self.figures) / 4)), self.in_stage)

    @property
    def trend(self) -> float:
        """How far the least-squares line through the window moves from its first epoch to its last."""
        epochs = self.epochs[-self.window :]
        centred = epochs - epochs.mean()
        slope = float(centred @ self.figures[-self.window :]) / float(np.square(centred).sum())
        return slope * float(epochs[-1] - epochs[0])

    @property
    def falling(self) -> bool:
        """Whether that line falls by more than twice the standard error that noise gives it."""
        epochs = self.epochs[-self.window :]
        spread = math.sqrt(float(np.square(epochs - epochs.mean()).sum()))
        return self.trend < -2 * self.noise * float(epochs[-1] - epochs[0]) / spread

    @property
    def triples(self) -> NDArray[np.float64]:
        """Means of three epochs in a row, float64 (n - 2,)."""
        return np.convolve(self.figures, np.full(_TRIPLE, 1 / _TRIPLE), mode="valid")


def _improving(curve: _Curve) -> Reading | None:
    """Rule 2."""
    if curve.in_stage < _TRIPLE:
        change = float(curve.figures[-1] - curve.figures[: -curve.in_stage].min())
        record = change < -2 * curve.noise
    else:
        change = curve.trend
        record = curve.falling and curve.triples[-1] <= curve.triples[:-_TRIPLE].min(initial=math.inf)
    return Reading("improving", None, curve.sign * change, curve.window, curve.noise) if record else None


def _worsening(curve: _Curve, training: _Curve) -> Reading | None:
    """Rule 3."""
    triples = curve.triples
    best = int(np.argmin(triples))
    rise = float(triples[-1] - triples[best])
    good = np.flatnonzero(curve.figures[:-_TRIPLE] <= triples[best] + 2 * curve.noise)
    if curve.in_stage < _TRIPLE or rise <= 4 * curve.noise or len(good) == 0:
        return None
    if curve.falling:
        return Reading("early", epochs=curve.in_stage, noise=curve.noise)
    learned = float(training.triples[best] - training.triples[-1])  # NaN, where training was not measured
    verdict: Verdict = "overfitting" if learned > 2 * training.noise else "worse"
    return Reading(verdict, int(curve.epochs[good[-1]]), curve.sign * rise, _TRIPLE, curve.noise)


def _flat(curve: _Curve) -> Reading | None:
    """Rule 4."""
    level = float(curve.figures[-curve.window :].mean())
    first = int(np.argmax(curve.figures <= level + 2 * curve.noise))
    epochs = len(curve.figures) - first
    if curve.in_stage < _TRIPLE or epochs < _LEAST_WINDOW:
        return None
    return Reading("flat", int(curve.epochs[first]), 0.0, epochs, curve.noise)


def _costs(rows: pd.DataFrame, column: str) -> NDArray[np.float64]:
    """A column turned so that low is good."""
    values = rows[column].to_numpy(dtype=np.float64)
    return 1 - values if column.removeprefix("val_") in HIGHER_IS_BETTER else values


def _noise(values: NDArray[np.float64], stages: NDArray[Any], quantity: Quantity, faces: int) -> float:
    """Standard deviation of one epoch's figure, from the later half of the curve; see the module's top."""
    together = (stages[:-2] == stages[1:-1]) & (stages[1:-1] == stages[2:])
    above = (values[1:-1] - (values[:-2] + values[2:]) / 2)[together]
    later = above[-max(6, len(values) // 2) :]
    measured = float(np.quantile(later, 0.75)) / _QUARTILE_OF_NOISE if len(later) >= _TRIPLE else 0.0
    level = float(values[-_TRIPLE:].mean())
    if quantity in HIGHER_IS_BETTER:
        error = math.sqrt(max(level * (1 - level), 1 / faces) / faces)
    else:  # errors in years, and losses, spread about as widely as they are large on average
        error = abs(level) / math.sqrt(faces)
    return max(measured, _UNSHARED_ERROR * error)
