"""People that many photos show: counts by age and perceived gender."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import plotly.graph_objects as go

from agegender.charts.style import GENDER_COLORS, GREY, make_figure
from agegender.labels import AGE_BAND_NAMES, GENDERS, say_span

_PATTERNS: Final = {"male": "", "female": "/"}
_HEIGHT: Final = 320  # pixels


def people_bars(group: Mapping[str, Any]) -> go.Figure | None:
    """Draws how many people of each age band and perceived gender photos show.

    Args:
        group: ``all``, or one folder or month, of `agegender.summary.summarize`.

    Returns:
        A bar a band and gender: the estimate with its interval, or, where errors are not accounted for, how
        many were answered so. ``None`` where there is no face.
    """
    if not group["faces"]:
        return None
    cells = group["by_age_and_gender"]
    corrected = cells[0]["estimate"] is not None
    traces = []
    for gender in GENDERS:
        rows = [cell for cell in cells if cell["gender"] == gender]
        values = [row["estimate"] if corrected else row["answered"] for row in rows]
        trace: dict[str, Any] = {
            "type": "bar",
            "name": gender,
            "x": [say_span(name) for name in AGE_BAND_NAMES],
            "y": values,
            "marker": {"color": GENDER_COLORS[gender], "pattern": {"shape": _PATTERNS[gender]}},
            "customdata": [[row["answered"], *(row["interval"] or ("", ""))] for row in rows],
            "hovertemplate": f"{gender}, %{{x}}: %{{customdata[0]:,}} answered so<extra></extra>",
        }
        if corrected:
            trace["error_y"] = {
                "type": "data",
                "symmetric": False,
                "array": [row["interval"][1] - row["estimate"] for row in rows],
                "arrayminus": [row["estimate"] - row["interval"][0] for row in rows],
                "color": GREY,
                "thickness": 1.5,
                "width": 4,
            }
            trace["hovertemplate"] = (
                f"{gender}, %{{x}}: %{{y:,.0f}} (%{{customdata[1]:,}} to %{{customdata[2]:,}}); "
                "%{customdata[0]:,} answered so<extra></extra>"
            )
        traces.append(trace)
    most = max(group["by_age"], key=lambda row: row["estimate"] if corrected else row["answered"])
    how = "estimated, with 95 % intervals that account for the model's errors" if corrected else "as answered"
    sentence = (
        f"{group['faces']:,} faces by age and perceived gender, {how}. "
        f"Most look {most['age'].replace('-', '–')} years old."
    )
    return make_figure(
        traces,
        sentence,
        height=_HEIGHT,
        xaxis={"title": {"text": "age, years"}, "type": "category"},
        yaxis={"title": {"text": "faces"}, "rangemode": "tozero"},
        legend=True,
        barmode="group",
    )
