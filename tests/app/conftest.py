"""Fixtures of the app's tests."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace

import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from agegender.models import registry
from tests.app.driving import MENU, MODELS, ROOT, FakePredictor, turn_to


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every test starts with empty caches, in the project's folder as ``streamlit run`` does."""
    st.cache_resource.clear()
    st.cache_data.clear()
    monkeypatch.syspath_prepend(ROOT)
    monkeypatch.chdir(ROOT)
    for variable in ("UTKFACE_DIR", "AGEGENDER_ANY_FOLDER"):
        monkeypatch.setenv(variable, "")


@pytest.fixture
def predictor(monkeypatch: pytest.MonkeyPatch) -> type[FakePredictor]:
    """The fake in the place of the real predictor."""
    monkeypatch.setattr("ui.models.Predictor", FakePredictor)
    monkeypatch.setattr("ui.models.load_detector", lambda: None)
    monkeypatch.setattr("agegender.models.registry.list_models", lambda: MODELS)
    real = registry.model_spec
    monkeypatch.setattr(
        registry,
        "model_spec",
        lambda name, *rest: SimpleNamespace(parameters=5e6) if name == "age_only" else real(name, *rest),
    )
    monkeypatch.setattr(FakePredictor, "looks", [])
    return FakePredictor


@pytest.fixture
def open_page() -> Callable[..., AppTest]:
    """Opens the app, on the first page or on another."""

    def open_(page: str | None = None) -> AppTest:
        app = AppTest.from_file(MENU, default_timeout=60).run()
        return app if page is None else turn_to(app, page)

    return open_
