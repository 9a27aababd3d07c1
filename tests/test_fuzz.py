"""Hostile files: some of what `python -m tools.fuzz` tries by the million, and those that were faults."""

from __future__ import annotations

import logging
import warnings
from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tools.fuzz.target import Target
from tools.fuzz.targets import targets, weights

INPUTS = 5_000
LEAST = 120
"""Of each kind of file: of the rarest kinds one damaged file in ten can still be read, and some must be."""
REGRESSIONS = sorted((Path(__file__).parent / "regressions").iterdir())


@pytest.mark.parametrize("target", targets(), ids=lambda target: target.name)
def test_damaged_files_are_read_or_refused_with_a_typed_error(target: Target) -> None:
    whole = sum(one.share for one in targets())
    accepted = 0

    @settings(
        max_examples=max(LEAST, round(INPUTS * target.share / whole)),
        deadline=None,
        derandomize=True,
        database=None,
    )
    @given(random=st.randoms(use_true_random=False))
    def read(random: Random) -> None:
        nonlocal accepted
        accepted += target.survives(target.make(random))

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logging.disable()
        try:
            read()
        finally:
            logging.disable(logging.NOTSET)
    assert accepted, "where all are refused, nothing was tried"


def test_damaged_weight_files_are_refused_with_a_typed_error() -> None:
    target = weights()
    came_of_it = {target.survives(target.make(Random(seed))) for seed in range(100)}
    assert came_of_it == {False, True}


@pytest.mark.parametrize("path", REGRESSIONS, ids=lambda path: path.name)
def test_files_that_were_once_a_fault(path: Path) -> None:
    """Each is named after its reader, then after what went wrong."""
    name = path.name.split("--")[0].replace("-", " ")
    target = weights() if name == "weights" else next(one for one in targets() if one.name == name)
    target.survives(path.read_bytes())
