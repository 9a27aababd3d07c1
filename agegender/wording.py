"""The words shown to people, in one place: the app, the command line and the pictures say the same.

The sentences speak of how a face *looks* and is *perceived*, because that is all the models learned.
Years are whole numbers, and no probability is ever shown as 100 %: a model is never that sure.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

from agegender.prediction import AgeEstimate, GenderEstimate, Prediction

AGE_UNKNOWN = "age: can't tell"

ABSENT: Final = "–"
"""Stands for a figure that there is not."""


def say_figure(value: float | None, form: str, interval: Sequence[float] | None = None) -> str:
    """Writes a measured figure down.

    Args:
        value: The figure.
        form: How, as `format` takes it.
        interval: Its ends, where it has one.

    Returns:
        For example "91.2 % (90.1 to 92.3)", or `ABSENT` where there is no figure.
    """
    if value is None:
        return ABSENT
    words = format(value, form)
    if interval is not None:
        low, high = (format(end, form).rstrip("%") for end in interval)
        words += f" ({low} to {high})"
    return words.replace("%", " %")


def say_age(age: AgeEstimate) -> str:
    """Puts an age and its interval into words.

    Args:
        age: The estimate, in years.

    Returns:
        For example "looks about 31 (26–37)". The interval is left out where rounding closes it or where the
        model gave none (not finite).
    """
    years = _whole_years(age.years)
    if years is None:
        return AGE_UNKNOWN
    about = f"looks about {years}"
    if not (math.isfinite(age.low) and math.isfinite(age.high)):
        return about
    # Rounding, and the floor of one year, must not put the estimate outside its own interval.
    low = min(max(_round_half_up(age.low), 0), years)
    high = max(_round_half_up(age.high), years)
    return about if low == high else f"{about} ({low}–{high})"


def say_gender(gender: GenderEstimate) -> str:
    """Puts a perceived gender and its probability into words.

    Args:
        gender: The estimate.

    Returns:
        For example "perceived female, 97 %", or "gender: can't tell (female 55 %)" where it is too near one
        half to call.
    """
    share = say_probability(gender.probability)
    if gender.uncertain:
        return f"gender: can't tell ({gender.label} {share})"
    return f"perceived {gender.label}, {share}"


def say_probability(probability: float) -> str:
    """Shows a probability as whole percent.

    Args:
        probability: 0 to 1.

    Returns:
        For example "97 %". What would round to 0 or 100 is shown as "<1 %" or ">99 %".
    """
    if not math.isfinite(probability):
        return "? %"
    percent = _round_half_up(100 * probability)
    if percent >= 100:
        return ">99 %"
    if percent <= 0:
        return "<1 %"
    return f"{percent} %"


def say_count(row: Mapping[str, Any]) -> str:
    """Puts a count of `agegender.summary` into words.

    Args:
        row: With ``answered``, ``estimate`` and ``interval``.

    Returns:
        For example "12 → 10 (7–14)": answered so, estimated, and the interval; without these, or where there
        is surely nobody, the first alone.
    """
    low, high = row["interval"] or (0, 0)
    if not (high or row["answered"]) or row["estimate"] is None:
        return f"{row['answered']:,}"
    return f"{row['answered']:,} → {row['estimate']:,.0f} ({low:,}–{high:,})"


def short_label(prediction: Prediction) -> str:
    """The few words that fit beside a box in a picture.

    Args:
        prediction: One face and what the model says of it.

    Returns:
        For example "31 · female". A question mark stands for what the model cannot call, and nothing for
        what it does not predict.
    """
    parts = []
    if prediction.age is not None:
        years = _whole_years(prediction.age.years)
        parts.append("?" if years is None else str(years))
    if prediction.gender is not None:
        parts.append("?" if prediction.gender.uncertain else prediction.gender.label)
    return " · ".join(parts)


def describe(prediction: Prediction) -> str:
    """Everything said of one face, on one line.

    Args:
        prediction: One face and what the model says of it.

    Returns:
        For example "looks about 31 (26–37); perceived female, 97 %; warning: small face".
    """
    parts = []
    if prediction.age is not None:
        parts.append(say_age(prediction.age))
    if prediction.gender is not None:
        parts.append(say_gender(prediction.gender))
    if prediction.warnings:
        parts.append(f"warning: {', '.join(prediction.warnings)}")
    return "; ".join(parts)


def _whole_years(years: float) -> int | None:
    """Rounds an age for showing; a baby is "about 1", since "about 0" reads like a failure."""
    if not math.isfinite(years):
        return None
    return max(_round_half_up(years), 1)


def _round_half_up(value: float) -> int:
    """Rounds the way people expect: 30.5 gives 31, where Python's ``round`` gives the even 30."""
    return math.floor(value + 0.5)


def say_duration(seconds: float) -> str:
    """Puts a stretch of time into words: "less than a minute", "14 minutes", "2 h 5 min"."""
    minutes = round(seconds / 60)
    if minutes < 1:
        return "less than a minute"
    if minutes < 60:
        return f"{minutes} minute{'s' if minutes > 1 else ''}"
    return f"{minutes // 60} h {minutes % 60} min"
