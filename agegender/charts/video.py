"""Figures about the people in a video: when they are to be seen, how their age settles, how many of whom."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import numpy as np
import plotly.graph_objects as go

from agegender.charts.style import BLUE, FAINT, GENDER_COLORS, GREY, VERMILLION, escape, make_figure
from agegender.labels import AGE_BAND_NAMES, age_band
from agegender.wording import say_age, say_gender

if TYPE_CHECKING:
    from agegender.video.following import Track

_CANT_TELL: Final = "can't tell"
_GENDER_PATTERNS: Final = {"female": "", "male": "/", _CANT_TELL: "."}


def track_timeline(tracks: Sequence[Track], seconds: float) -> go.Figure:
    """Draws when people are to be seen.

    Args:
        tracks: At least one.
        seconds: How long the video is.

    Returns:
        One bar a person, from when they are first seen until last.
    """
    words = [
        ", ".join(
            said
            for said in (
                None if track.age is None else say_age(track.age),
                None if track.gender is None else say_gender(track.gender),
            )
            if said
        )
        for track in tracks
    ]
    bars = {
        "type": "bar",
        "orientation": "h",
        "y": [f"Person {track.number}" for track in tracks],
        "base": [track.first for track in tracks],
        # Whoever is seen for an instant keeps a bar that can be seen.
        "x": [max(track.last - track.first, seconds / 150) for track in tracks],
        "customdata": [
            f"{track.first:.1f}–{track.last:.1f} s: {escape(said)}"
            for track, said in zip(tracks, words, strict=True)
        ],
        "marker": {"color": BLUE, "line": {"width": 0}},
        "hovertemplate": "%{y}, %{customdata}<extra></extra>",
    }
    most = max(tracks, key=lambda track: track.last - track.first)
    people = "1 person is" if len(tracks) == 1 else f"{len(tracks)} people are"
    return make_figure(
        [bars],
        f"{people} to be seen, person {most.number} the longest: {most.last - most.first:.1f} of "
        f"{seconds:.1f} seconds.",
        height=70 + 26 * len(tracks),
        xaxis={"title": {"text": "seconds"}, "range": [0, seconds], "gridcolor": FAINT},
        yaxis={"autorange": "reversed", "type": "category"},
        bargap=0.35,
    )


def age_over_time(track: Track) -> go.Figure:
    """Draws how a person's age settles.

    Args:
        track: The person, of a model that predicts age.

    Returns:
        What single frames say as dots, what is pooled by then as a line, and its interval as a band.
    """
    time, single, years, low, high = np.asarray(track.history, np.float64).T
    band = {
        "type": "scatter",
        "x": [*time, *time[::-1]],
        "y": [*high, *low[::-1]],
        "fill": "toself",
        "fillcolor": "rgba(0,114,178,0.18)",
        "line": {"width": 0},
        "name": "interval",
        "hoverinfo": "skip",
    }
    dots = {
        "type": "scatter",
        "mode": "markers",
        "x": time,
        "y": single,
        "marker": {"color": GREY, "size": 5},
        "name": "one frame",
        "hovertemplate": "%{x:.1f} s: %{y:.0f} years<extra>one frame</extra>",
    }
    line = {
        "type": "scatter",
        "mode": "lines" if len(time) > 1 else "markers",
        "x": time,
        "y": years,
        "line": {"color": VERMILLION, "width": 3, "shape": "hv"},
        "marker": {"color": VERMILLION, "size": 9},
        "name": "all frames so far",
        "customdata": np.stack([low, high], axis=1),
        "hovertemplate": "%{x:.1f} s: %{y:.0f} (%{customdata[0]:.0f}–%{customdata[1]:.0f})"
        "<extra>so far</extra>",
    }
    return make_figure(
        [band, dots, line],
        f"Single frames of person {track.number} say {np.nanmin(single):.0f} to {np.nanmax(single):.0f} "
        f"years; pooled they settle at {years[-1]:.0f} ({low[-1]:.0f}–{high[-1]:.0f}).",
        height=280,
        xaxis={"title": {"text": "seconds"}, "gridcolor": FAINT},
        yaxis={"title": {"text": "age (years)"}, "gridcolor": FAINT, "rangemode": "tozero"},
        legend=True,
    )


def people_by_band(tracks: Sequence[Track]) -> go.Figure:
    """Draws how many people there are by age and perceived gender.

    Args:
        tracks: At least one, of a model that predicts age.

    Returns:
        One bar an age band, a part for each perceived gender.
    """
    counts: Counter[tuple[str, str]] = Counter()
    for track in tracks:
        if track.age is not None:
            gender = track.gender
            label = _CANT_TELL if gender is None or gender.uncertain else gender.label
            counts[AGE_BAND_NAMES[int(age_band(np.array([track.age.years]))[0])], label] += 1
    colors = {**GENDER_COLORS, _CANT_TELL: GREY}
    bars = [
        {
            "type": "bar",
            "x": list(AGE_BAND_NAMES),
            "y": [counts[band, label] for band in AGE_BAND_NAMES],
            "name": label,
            "marker": {"color": colors[label], "pattern": {"shape": pattern}, "line": {"width": 0}},
            "hovertemplate": f"%{{x}} years, {escape(label)}: %{{y}}<extra></extra>",
        }
        for label, pattern in _GENDER_PATTERNS.items()
        if any(counts[band, label] for band in AGE_BAND_NAMES)
    ]
    by_band = {band: sum(counts[band, label] for label in colors) for band in AGE_BAND_NAMES}
    most = max(by_band, key=by_band.__getitem__)
    return make_figure(
        bars,
        f"Of {sum(by_band.values())} people most, {by_band[most]}, look {most} years old.",
        height=260,
        xaxis={"title": {"text": "looks (years)"}, "type": "category"},
        yaxis={"title": {"text": "people"}, "dtick": max(1, max(by_band.values()) // 5), "gridcolor": FAINT},
        legend=True,
        barmode="stack",
    )
