"""How far a run is and how long it will take, from its record. Imports no TensorFlow."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from agegender.wording import say_duration

if TYPE_CHECKING:
    from agegender.runs.records import RunRecord

_RECENT_EPOCHS = 3


@dataclass(frozen=True)
class RunProgress:
    """Where a run is.

    Attributes:
        epoch: The one under way, from 1.
        epochs: Of all stages; the run may stop earlier.
        fraction: Of all training steps, 0 to 1.
        seconds_left: Until the last epoch is over, or ``None`` where nothing tells.
    """

    epoch: int
    epochs: int
    fraction: float
    seconds_left: float | None


def read_progress(run: RunRecord) -> RunProgress | None:
    """Reads how far a running run is.

    The time left is reckoned from the latest epochs of the stage that is under way, validation included.
    In the first epoch of a stage it is the run's own estimate, which knows training steps only.

    Args:
        run: Any run.

    Returns:
        Its progress, or ``None`` where it is not running or has not begun its first epoch.
    """
    epoch, epochs = finite(run.status.get("epoch")), finite(run.status.get("epochs"))
    if not run.running or not 1 <= epoch <= epochs:
        return None
    steps = finite(run.status.get("steps"))
    within = min(max(finite(run.status.get("step")) / steps, 0.0), 1.0) if steps > 0 else 0.0
    stage = _stage_of(run.config, int(epoch))
    same = run.history[run.history["stage"] == stage] if stage is not None else run.history
    recent = same["seconds"].dropna().tail(_RECENT_EPOCHS)
    left = finite(run.status.get("seconds_left")) if run.status.get("seconds_left") is not None else None
    if len(recent):
        left = float(recent.mean()) * (epochs - epoch + 1 - within)
    known = left is not None and math.isfinite(left)
    fraction = (epoch - 1 + within) / epochs
    return RunProgress(int(epoch), int(epochs), fraction, max(float(left or 0), 0.0) if known else None)


def say_progress(progress: RunProgress | None) -> str:
    """Puts progress into words: "epoch 5 of 9, 47 % done, about 14 minutes left"."""
    if progress is None:
        return "getting ready"
    parts = [f"epoch {progress.epoch} of {progress.epochs}", f"{math.floor(100 * progress.fraction)} % done"]
    if progress.seconds_left is not None:
        parts.append(f"about {say_duration(progress.seconds_left)} left")
    return ", ".join(parts)


def finite(value: Any) -> float:
    """The number that a record holds; 0 where it holds something else, or more than a float can."""
    try:
        return float(value) if isinstance(value, (int, float)) and math.isfinite(value) else 0.0
    except OverflowError:  # JSON's whole numbers have no end
        return 0.0


def _stage_of(config: dict[str, Any], epoch: int) -> str | None:
    """Name of the stage an epoch belongs to, or ``None`` where the recipe does not say."""
    last = 0
    stages = config.get("stages")
    for stage in stages if isinstance(stages, list) else []:
        if not isinstance(stage, dict):
            return None
        last += int(finite(stage.get("epochs")))
        if epoch <= last:
            return str(stage.get("name"))
    return None
