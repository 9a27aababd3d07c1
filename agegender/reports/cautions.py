"""What a model's measured weaknesses mean for the faces at hand."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from agegender.evaluation.groups import CHILDREN, TEENAGERS
from agegender.prediction import Prediction

_LEAST_YEARS: Final = 1.0
"""A bias of less is not worth a sentence."""


def cautions(card: Mapping[str, Any], predictions: Iterable[Prediction]) -> list[str]:
    """Puts into words how little some of the answers are worth, as the model's card measured it.

    Args:
        card: The model's, as `agegender.models.card.read_card` gives it.
        predictions: Its answers.

    Returns:
        A sentence on the gender of children where a face looks like one, and one on teenagers' ages where a
        face may be one's; the worst of what was measured on the test split and on other sources.
    """
    kinds = [card.get("groups", {}), *(found.get("groups", {}) for found in card.get("sets", {}).values())]
    faces = list(predictions)
    found = []
    looks_like_a_child = any(
        face.age is not None and face.gender is not None and face.age.years <= CHILDREN[1] for face in faces
    )
    right = _values(kinds, "children", "gender", "accuracy")
    if looks_like_a_child and right:
        found.append(
            f"The gender of children up to {CHILDREN[1]} is hard to tell: of those this model was tried on, "
            f"{_share(min(right))} were perceived as labelled."
        )
    first, last = TEENAGERS
    may_be_a_teenager = any(
        face.age is not None and face.age.years >= first and face.age.low <= last for face in faces
    )
    years = _values(kinds, "teenagers", "age", "bias") + _values(kinds, "teenagers", "age", "bias_outside")
    if may_be_a_teenager and years and max(years) >= _LEAST_YEARS:
        found.append(
            f"Teenagers are often taken for adults: on average for {max(years):.0f} "
            f"{'year' if round(max(years)) == 1 else 'years'} older than they were."
        )
    return found


def _values(kinds: Iterable[Mapping[str, Any]], group: str, task: str, figure: str) -> list[float]:
    figures = (kind.get(group, {}).get(task, {}).get(figure) or {} for kind in kinds)
    return [found["value"] for found in figures if found.get("value") is not None]


def _share(accuracy: float) -> str:
    return f"{round(100 * accuracy)} in 100"
