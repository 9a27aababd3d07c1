"""The app driven without a browser, with a predictor that needs no weights."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import streamlit as st
from PIL import Image
from streamlit.testing.v1 import AppTest

from agegender.faces.face import Face
from agegender.prediction import AgeEstimate, GenderEstimate, Prediction

ROOT = Path(__file__).parents[2]

MODELS = [
    {
        "name": "vggface",
        "default": True,
        "tasks": ["age", "gender"],
        "trained": True,
        "metrics": {"n": 2000, "age": {"mae": 4.62}, "gender": {"accuracy": 0.936}},
    },
    {
        "name": "age_only",
        "default": False,
        "tasks": ["age"],
        "trained": True,
        "metrics": {"n": 2000, "age": {"mae": 5.0}},
    },
    {"name": "unborn", "default": False, "tasks": ["age"], "trained": False, "metrics": {}},
]


class FakePredictor:
    """Finds one face for every 100 pixels of width, as many as fit, each 50 pixels wide."""

    looks: ClassVar[list[tuple[int, int]]] = []
    """Width and height of every picture that was looked at since the test began."""

    def __init__(self, model: str = "vggface") -> None:
        self.model = model

    def predict_chips(self, chips: np.ndarray) -> list[tuple[None, None]]:
        return [(None, None) for _ in chips]

    def predict(
        self, image: np.ndarray, *, min_confidence: float | None = None, min_face: float = 0
    ) -> list[Prediction]:
        height, width = image.shape[:2]
        if image.any():  # the warm-up is black
            self.looks.append((width, height))
        if min_face > 50 or not image.any():
            return []
        return [self._predict_one(index) for index in range(width // 100)]

    def _predict_one(self, index: int) -> Prediction:
        left = 100.0 * index
        distribution = np.zeros(117, dtype=np.float32)
        distribution[26:38] = 1 / 12
        return Prediction(
            face=Face((left, 10.0, left + 50, 60.0), 0.99, ((left + 20, 30.0),) * 5),
            chip=np.full((200, 200, 3), 90, dtype=np.uint8),
            age=AgeEstimate(31.2, 26.0, 37.1, 0.9, distribution if self.model == "vggface" else None),
            gender=GenderEstimate("female", 0.97) if self.model == "vggface" else None,
            warnings=("small face",) if index == 0 else (),
        )


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every test starts with empty caches, in the project's folder as ``streamlit run`` does."""
    st.cache_resource.clear()
    st.cache_data.clear()
    monkeypatch.syspath_prepend(ROOT)
    monkeypatch.chdir(ROOT)
    monkeypatch.delenv("UTKFACE_DIR", raising=False)


@pytest.fixture
def predictor(monkeypatch: pytest.MonkeyPatch) -> type[FakePredictor]:
    """The fake in the place of the real predictor."""
    monkeypatch.setattr("ui.photos.Predictor", FakePredictor)
    monkeypatch.setattr("agegender.models.registry.describe_models", lambda: MODELS)
    monkeypatch.setattr(FakePredictor, "looks", [])
    return FakePredictor


@pytest.fixture
def open_page() -> Callable[..., AppTest]:
    """Opens the app, on the first page or on a page file."""

    def open_(page: str | None = None) -> AppTest:
        app = AppTest.from_file(ROOT / "app.py", default_timeout=60).run()
        if page is not None:
            app.switch_page(page).run()
        return app

    return open_


def photo(width: int, height: int = 120, name: str = "photo.png") -> tuple[str, bytes, str]:
    """A grey picture as a browser would upload it; the fake finds ``width // 100`` faces in it."""
    buffer = io.BytesIO()
    Image.new("RGB", (width, height), (120, 120, 120)).save(buffer, "PNG")
    return name, buffer.getvalue(), "image/png"


def texts(app: AppTest) -> str:
    """All that can be read on the page, a line an element."""
    kinds = (
        app.title,
        app.markdown,
        app.caption,
        app.info,
        app.error,
        app.warning,
        app.success,
        app.subheader,
    )
    return "\n".join(str(element.value) for kind in kinds for element in kind)
