"""What codes and bands mean."""

import numpy as np
import pytest

from agegender.labels import (
    AGE_BAND_NAMES,
    AGE_BANDS,
    ETHNICITIES,
    GENDERS,
    MAX_AGE,
    TASKS,
    age_band,
)


def test_codes_are_those_of_utkface():
    assert GENDERS == ("male", "female")
    assert ETHNICITIES == ("White", "Black", "Asian", "Indian", "Others")
    assert TASKS == ("age", "gender")
    assert MAX_AGE == 116


def test_bands_cover_every_age_once_and_in_order():
    ages = [age for low, high in AGE_BANDS for age in range(low, high + 1)]
    assert ages == list(range(MAX_AGE + 1))


def test_each_whole_age_falls_into_the_band_that_holds_it():
    bands = age_band(np.arange(MAX_AGE + 1))
    assert bands.dtype == np.int64
    for age, band in enumerate(bands.tolist()):
        low, high = AGE_BANDS[band]
        assert low <= age <= high


@pytest.mark.parametrize(
    ("age", "name"),
    [(0, "0-4"), (4.4, "0-4"), (4.6, "5-9"), (15.49, "10-15"), (75.4, "61-75"), (75.6, "76+"), (116, "76+")],
)
def test_a_fractional_age_belongs_to_the_band_of_the_nearest_year(age, name):
    assert AGE_BAND_NAMES[int(age_band(age))] == name


def test_ages_out_of_range_fall_into_the_outermost_bands():
    assert age_band([-3.0, 140.0]).tolist() == [0, len(AGE_BANDS) - 1]


def test_band_keeps_the_shape_it_was_given():
    assert age_band(np.zeros((2, 3))).shape == (2, 3)
    assert age_band([]).shape == (0,)


def test_band_names_say_their_bounds():
    assert len(AGE_BAND_NAMES) == len(AGE_BANDS)
    assert AGE_BAND_NAMES[0] == "0-4"
    assert AGE_BAND_NAMES[-1] == "76+"
