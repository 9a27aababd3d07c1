"""Figures of a card as the table of all models has them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

Entry = dict[str, Any]

_TASK_FIGURE: Final = {"age": "mae", "gender": "accuracy"}


def interval_of(group: Mapping[str, Any], task: str, figure: str) -> list[float] | None:
    """Ends of a figure's bootstrap interval, where it has one."""
    found = group.get(task, {}).get(figure)
    if not isinstance(found, Mapping) or found.get("low") is None:
        return None
    return [found["low"], found["high"]]


def group_figures(figures: Mapping[str, Any]) -> Entry:
    """A group's two figures with their intervals; ``None`` for each that its few faces do not allow."""
    group: Entry = {"n": figures.get("n")}
    for task, key in (("age", "mae"), ("gender", "gender_accuracy")):
        found = figures.get(task, {}).get(_TASK_FIGURE[task])
        group[key] = found.get("value") if isinstance(found, Mapping) else None
        group[f"{key}_interval"] = interval_of(figures, task, _TASK_FIGURE[task])
    return group


def set_figures(measured: Mapping[str, Any]) -> Entry:
    """The headline figures on photos of another source.

    Args:
        measured: As a card has them under "sets", or a rival's record.

    Returns:
        ``split``, ``n``, ``no_face``, ``mae`` and ``bias`` (years, of exact labels; ``None`` where all are
        ranges), ``in_range`` and ``years_outside`` (of ranges, ``None`` where there are none),
        ``interval_coverage``, ``gender_accuracy`` with its interval, ``ece``, ``children`` and ``teenagers``
        (as groups) and ``ethnicity_gap`` (as `agegender.evaluation.groups.measure_groups` gives it).
    """
    age, gender, groups = (measured.get(key) or {} for key in ("age", "gender", "groups"))
    ranged = age.get("ranges_n", 0)
    exact = {} if ranged == measured.get("n") else age
    return {
        **{key: measured.get(key) for key in ("split", "n", "no_face")},
        **{key: exact.get(key) for key in ("mae", "bias", "interval_coverage")},
        **{key: age.get(key) for key in ("in_range", "years_outside", "interval_touches")},
        "gender_accuracy": gender.get("accuracy"),
        "gender_accuracy_interval": interval_of(groups.get("overall", {}), "gender", "accuracy"),
        "ece": gender.get("ece"),
        "children": group_figures(groups.get("children", {})),
        "teenagers": group_figures(groups.get("teenagers", {})),
        "ethnicity_gap": groups.get("ethnicity_gap", {}).get("gender"),
    }
