"""Fixtures of the video tests."""

from __future__ import annotations

import pytest

from agegender import Predictor
from tools.clips import Pixels, portraits


@pytest.fixture(scope="session")
def heads() -> dict[str, Pixels]:
    """Portraits by name, cut out with room around the face."""
    return portraits()


@pytest.fixture(scope="session")
def predictor() -> Predictor:
    """The default model."""
    return Predictor()
