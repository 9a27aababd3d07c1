"""One answer of many: what it weighs, and that it is never surer than the card allows."""

from __future__ import annotations

import numpy as np
import pytest

from agegender.faces import Chip, Face
from agegender.prediction import AgeEstimate, GenderEstimate
from agegender.video import Pool, chip_quality

POINTS = ((0.0, 0.0),) * 5


def answer(years, *, low=5, high=7, female=0.9, bell=True):
    bells = np.exp(-0.5 * ((np.arange(117) - years) / 4) ** 2)
    distribution = (bells / bells.sum()).astype(np.float32) if bell else None
    age = AgeEstimate(float(years), float(years - low), float(years + high), 0.9, distribution)
    return age, GenderEstimate("female" if female >= 0.5 else "male", max(female, 1 - female))


def pooled(answers, step=0.2, quality=None):
    pool = Pool()
    for index, one in enumerate(answers):
        pool.add(index * step, one, 1.0 if quality is None else quality[index])
    return pool, *pool.answer()


def test_one_frame_is_answered_as_it_is_and_none_not_at_all():
    one = answer(31)
    pool, age, gender = pooled([one])
    assert (age, gender) == one
    assert pool.worth == 1
    with pytest.raises(ValueError, match="nothing"):
        Pool().answer()


@pytest.mark.parametrize("bell", [True, False])
def test_agreeing_frames_settle_nothing_the_card_does_not(bell):
    _, age, gender = pooled([answer(31, bell=bell)] * 500)
    assert (age.years, age.low, age.high) == (31, 26, 38)
    assert gender.female == pytest.approx(0.9)
    if bell:
        assert age.distribution.sum() == pytest.approx(1, abs=1e-4)


def test_frames_that_disagree_widen_it_less_and_less_and_never_below_one_frame():
    rng = np.random.default_rng(2)
    years = rng.normal(40, 8, 400).round()
    widths = []
    for n in (2, 20, 100, 400):
        _, age, _ = pooled([answer(value) for value in years[:n]])
        widths.append(age.high - age.low)
        assert age.low <= age.years - 5 and age.high >= age.years + 7
    assert widths[1] > widths[2] >= widths[3] >= 12
    assert widths[3] <= 15


def test_how_often_a_face_is_looked_at_does_not_matter():
    def seen(step):
        times = np.arange(0, 8, step)
        return pooled([answer(20 if time < 6 else 40) for time in times], step)

    (often, age_often, _), (seldom, age_seldom, _) = seen(0.04), seen(0.4)
    assert often.frames == 10 * seldom.frames
    assert often.worth == pytest.approx(seldom.worth, rel=0.1)
    assert often.worth < 4
    assert abs(age_often.years - age_seldom.years) <= 1
    assert 24 <= age_seldom.years <= 26


def test_better_chips_count_for_more():
    years = [30] * 10 + [60] * 10
    even = pooled([answer(value) for value in years])[1].years
    good_first = pooled([answer(value) for value in years], quality=[1.0] * 10 + [0.1] * 10)
    assert even == 45
    assert good_first[1].years == pytest.approx(33, abs=1)
    assert good_first[0].worth < pooled([answer(value) for value in years])[0].worth


def test_the_gender_is_never_surer_than_its_surest_frame_and_may_be_uncertain():
    _, _, gender = pooled([answer(30, female=p) for p in (0.95, 0.4, 0.9, 0.3)])
    assert gender.label == "female"
    assert 0.5 < gender.probability < 0.75 and gender.uncertain
    _, _, sure = pooled([answer(30, female=0.93)] * 100)
    assert sure.probability == pytest.approx(0.93) and not sure.uncertain


def test_quality_falls_with_size_sharpness_and_warnings():
    rng = np.random.default_rng(4)
    sharp = rng.integers(0, 256, (248, 248, 3), dtype=np.uint8)
    large, small = (Face((0.0, 0.0, side, 1.2 * side), 0.99, POINTS) for side in (100.0, 20.0))
    best = chip_quality(large, Chip(sharp, (), 24))
    assert best == 1
    assert chip_quality(small, Chip(sharp, ("small face",), 24)) == 0.5
    assert chip_quality(large, Chip(sharp, ("turned far to the side",), 24)) == 0.4
    assert 0 < chip_quality(large, Chip(np.full_like(sharp, 90), ("blurred",), 24)) < 0.1
