"""What a model says of one face as a small drawing, for a card.

A drawing rather than a Plotly figure: a page may show dozens, and a browser takes a tenth of a second for
each figure of Plotly's, but next to nothing for these. `year_distribution` shows the same with every number.
"""

from __future__ import annotations

import html
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from agegender.charts.style import BLUE, GENDER_COLORS, GREY, VERMILLION
from agegender.labels import GENDERS
from agegender.prediction import AgeEstimate, GenderEstimate
from agegender.wording import say_probability

WIDTH: Final = 340
"""Of a drawing, in pixels."""

_AXIS_END: Final = 100
"""Years. Older labels are rare, and a common axis lets faces be compared."""

_SIDE: Final = 10  # left and right of the axis, for half of its first and last number
_BARS: Final = 84
_INTERVAL: Final = 30
_LABELS: Final = 16
_GAUGE: Final = 44
_FAINT: Final = f'fill="{GREY}" fill-opacity="0.25"'


@dataclass(frozen=True)
class Drawing:
    """A drawing and what it shows in words.

    Attributes:
        svg: An SVG document without a background.
        words: One or two sentences.
    """

    svg: str
    words: str


def draw_answer(
    age: AgeEstimate | None, gender: GenderEstimate | None, *, ink: str = "currentColor"
) -> Drawing:
    """Draws how old a face looks, and below it how its gender is perceived.

    Args:
        age: The estimate, in years; ``None`` leaves it out. With a distribution each year is a bar, blue
            within the interval; without one the interval alone is drawn. The estimate is a vermillion line.
            The axis goes from 0 to 100 years, further only where the interval does.
        gender: The estimate; ``None`` leaves it out. One bar of two parts, female from the left, male from
            the right, with a mark at one half. The likelier part is coloured, and neither where the estimate
            is too near one half to call.
        ink: Colour of the writing.

    Returns:
        A drawing `WIDTH` pixels wide.
    """
    parts: list[str] = []
    words: list[str] = []
    height = 0.0
    if age is not None:
        height = (_INTERVAL if age.distribution is None else _BARS) + _LABELS
        parts += _age(age, height - _LABELS)
        interval = f"from {age.low:.0f} to {age.high:.0f} years"
        words.append(f"Looks about {age.years:.0f}; the shaded interval goes {interval}.")
    if gender is not None:
        shares = _shares(gender)
        parts += [f'<g transform="translate(0 {height:g})">', *_gauge(gender, shares), "</g>"]
        height += _GAUGE
        said = ", ".join(f"{label} {say_probability(share)}" for label, share in shares.items())
        words.append(f"Perceived gender: {said}{', too close to call' if gender.uncertain else ''}.")
    svg = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:g}" width="{WIDTH}" '
        f'height="{height:g}" font-family="sans-serif" font-size="11" fill="{ink}">{"".join(parts)}</svg>'
    )
    return Drawing(svg, " ".join(words))


def _age(age: AgeEstimate, height: float) -> Iterable[str]:
    end = max(_AXIS_END, round(age.high))
    year = (WIDTH - 2 * _SIDE) / (end + 1)  # pixels

    def across(years: float) -> float:
        return _SIDE + year * (years + 0.5)

    low, width = across(age.low), year * (age.high - age.low)
    if age.distribution is None:
        yield f'<rect x="{across(0):.1f}" y="10" width="{year * end:.1f}" height="10" {_FAINT}/>'
        yield f'<rect x="{low:.1f}" y="5" width="{width:.1f}" height="20" fill="{BLUE}"/>'
    else:
        yield f'<rect x="{low:.1f}" width="{width:.1f}" height="{height}" fill="{BLUE}" fill-opacity="0.14"/>'
        yield from _bars(age, age.distribution, year, height)
    for label in range(0, end + 1, 20):
        yield f'<text x="{across(label):.1f}" y="{height + 12}" text-anchor="middle">{label}</text>'
    yield f'<rect x="{across(age.years) - 1.5:.1f}" width="3" height="{height}" fill="{VERMILLION}"/>'


def _bars(age: AgeEstimate, distribution: NDArray[np.float32], year: float, height: float) -> Iterable[str]:
    """Two paths of one bar a year: the years of the interval, and the others."""
    years = np.arange(len(distribution))
    inside = (years >= np.floor(age.low)) & (years <= np.ceil(age.high))
    tall = height * distribution / max(float(distribution.max()), 1e-9)
    seen = (tall >= 0.1) & (_SIDE + year * (years + 1) <= WIDTH)
    for chosen, color in ((inside & seen, BLUE), (~inside & seen, GREY)):
        bars = [
            f"M{_SIDE + year * x:.1f} {height}v-{tall[x]:.1f}h{0.9 * year:.2f}v{tall[x]:.1f}z"
            for x in years[chosen]
        ]
        yield f'<path d="{"".join(bars)}" fill="{color}"/>'


def _shares(gender: GenderEstimate) -> dict[str, float]:
    """The probability of each label, female first."""
    male, female = GENDERS
    return {female: gender.female, male: 1 - gender.female}


def _gauge(gender: GenderEstimate, shares: dict[str, float]) -> Iterable[str]:
    width, x = WIDTH - 2 * _SIDE, float(_SIDE)
    for (label, share), anchor in zip(shares.items(), ("start", "end"), strict=True):
        called = label == gender.label and not gender.uncertain
        fill = f'fill="{GENDER_COLORS[label]}"' if called else _FAINT
        edge = _SIDE if anchor == "start" else WIDTH - _SIDE
        words = html.escape(f"{label} {say_probability(share)}")
        yield f'<text x="{edge}" y="16" text-anchor="{anchor}">{words}</text>'
        yield f'<rect x="{x:.1f}" y="22" width="{width * share:.1f}" height="18" {fill}/>'
        x += width * share
    yield f'<rect x="{WIDTH / 2 - 1}" y="20" width="2" height="22" fill="{GREY}"/>'
