"""Figures that explain an answer."""

from __future__ import annotations

import base64

import cv2
import numpy as np
import pytest

from agegender import charts
from agegender.explain import ContributionMap, OcclusionMap, Variant
from agegender.labels import MAX_AGE
from agegender.prediction import AgeEstimate, GenderEstimate
from tests.conftest import assert_rules_of_figures

CHIP = np.random.default_rng(4).integers(0, 256, (40, 40, 3), dtype=np.uint8)


def age(years: float = 31.0, *, distribution: bool = True) -> AgeEstimate:
    spread = np.exp(-0.5 * ((np.arange(MAX_AGE + 1) - years) / 4) ** 2)
    probabilities = (spread / spread.sum()).astype(np.float32) if distribution else None
    return AgeEstimate(years, years - 6, years + 6, 0.9, probabilities)


def contributions(task="age", scale: float = 1.0) -> ContributionMap:
    values = np.zeros((10, 10))
    values[6, 5], values[2, 3] = scale, -scale / 2  # the mouth, the eye on the left
    return ContributionMap(task, values, 40.0, 35.0, "conv")


def occlusion(sign: int = 1) -> OcclusionMap:
    values = np.zeros((10, 10))
    values[6, 5] = sign
    return OcclusionMap(6.0 * values, 0.4 * values, (age(), GenderEstimate("female", 0.9)))


def variants() -> list[Variant]:
    answers = (("as it is", 31.0, 0.9), ("mirrored", 33.5, 0.4), ("darker <dark>", 24.0, 0.95))
    return [
        Variant(
            name, CHIP, age(years), GenderEstimate("female", p) if p >= 0.5 else GenderEstimate("male", 1 - p)
        )
        for name, years, p in answers
    ]


def figures() -> dict:
    return {
        "age map": charts.contribution_chart(CHIP, contributions()),
        "gender map": charts.contribution_chart(CHIP, contributions("gender", 0.2)),
        "covered age": charts.occlusion_chart(CHIP, occlusion(), "age"),
        "covered gender": charts.occlusion_chart(CHIP, occlusion(), "gender"),
        "years": charts.year_distribution(age()),
        "stable age": charts.stability_chart(variants(), "age"),
        "stable gender": charts.stability_chart(variants(), "gender"),
    }


def test_figures_keep_the_rules_of_all_figures():
    assert_rules_of_figures(figures())


def test_a_map_lies_over_the_face_in_grey():
    figure = charts.contribution_chart(CHIP, contributions())
    picture = figure.layout.images[0]
    kind, data = picture.source.split(",")
    assert kind == "data:image/png;base64"
    shown = cv2.imdecode(np.frombuffer(base64.b64decode(data), np.uint8), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(shown, cv2.cvtColor(CHIP, cv2.COLOR_RGB2GRAY))
    assert (picture.x, picture.y, picture.sizex, picture.sizey) == (0, 0, 1, 1)
    assert figure.layout.yaxis.range == (1, 0)  # rows count from the top
    heat = figure.data[0]
    assert heat.z[6][5] == 1.0
    assert (heat.x[5], heat.y[6]) == (0.55, 0.65)


def test_colours_are_as_far_on_both_sides_and_leave_nothing_unpainted():
    heat = charts.contribution_chart(CHIP, contributions(scale=2.0)).data[0]
    assert (heat.zmin, heat.zmax) == (-2.0, 2.0)
    middle = [color for stop, color in heat.colorscale if stop == 0.5]
    assert all(color.endswith(",0)") for color in middle)


def test_next_to_nothing_does_not_look_like_something():
    faint = charts.contribution_chart(CHIP, contributions(scale=0.001)).data[0]
    assert faint.zmax == pytest.approx(0.3)
    flat = ContributionMap("age", np.zeros((4, 4)), 1.0, 1.0, "conv")
    assert "nothing in particular" in charts.description(charts.contribution_chart(CHIP, flat))


def test_the_sentence_names_the_places():
    sentence = charts.description(charts.contribution_chart(CHIP, contributions()))
    assert "mostly older around the mouth, mostly younger around the eye on the left" in sentence
    gender = charts.description(charts.contribution_chart(CHIP, contributions("gender")))
    assert "mostly female around the mouth, mostly male around the eye on the left" in gender


@pytest.mark.parametrize(("sign", "word", "share"), [(1, "younger", "50 %"), (-1, "older", ">99 %")])
def test_covering_says_what_became_of_the_answer(sign, word, share):
    years = charts.description(charts.occlusion_chart(CHIP, occlusion(sign), "age"))
    assert years == f"Most depends on the mouth: covered, the face looks 6.0 years {word}."
    gender = charts.description(charts.occlusion_chart(CHIP, occlusion(sign), "gender"))
    assert gender.endswith(f"female goes from 90 % to {share}.")


def test_covering_in_points_of_probability():
    heat = charts.occlusion_chart(CHIP, occlusion(), "gender").data[0]
    assert heat.zmax == pytest.approx(40)
    assert heat.colorbar.ticktext == ("male<br>−40 points", "0", "female<br>+40 points")


def test_covering_that_changes_nothing_says_so():
    nothing = OcclusionMap(np.zeros((4, 4)), None, (age(), None))
    figure = charts.occlusion_chart(CHIP, nothing, "age")
    assert charts.description(figure) == "Covering a place changes nothing."
    with pytest.raises(ValueError, match="no gender"):
        charts.occlusion_chart(CHIP, nothing, "gender")


def test_the_distribution_is_whole_and_its_interval_marked():
    figure = charts.year_distribution(age())
    inside, outside = figure.data
    assert list(inside.x) == list(range(25, 38))
    assert sum(inside.y) + sum(outside.y) == pytest.approx(1, abs=1e-6)
    assert "likeliest single year is 31" in charts.description(figure)
    assert figure.layout.shapes[0].x0 == 31.0
    with pytest.raises(ValueError, match="no distribution"):
        charts.year_distribution(age(distribution=False))


def test_stability_shows_every_version_and_the_spread():
    figure = charts.stability_chart(variants(), "age")
    assert list(figure.data[0].y) == ["as it is", "mirrored", "darker &lt;dark&gt;"]
    np.testing.assert_allclose(figure.data[0].x, [31.0, 33.5, 24.0], atol=0.1)
    assert charts.description(figure).startswith("Ages from 24.0 to 33.5 years; 31.0")
    low, high = figure.layout.xaxis.range
    assert low < 24 and high > 37  # the interval's end, too
    gender = charts.stability_chart(variants(), "gender")
    np.testing.assert_allclose(gender.data[0].x, [0.9, 0.4, 0.95])
    assert "from 40 % to 95 %; 90 %" in charts.description(gender)


def test_stability_of_an_answer_that_is_not_given_is_refused():
    only_age = [Variant("as it is", CHIP, age(), None)]
    with pytest.raises(ValueError, match="no gender"):
        charts.stability_chart(only_age, "gender")
