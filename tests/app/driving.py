"""The app driven without a browser, with a predictor that needs no weights."""

from __future__ import annotations

import io
from pathlib import Path
from typing import ClassVar

import numpy as np
from PIL import Image
from streamlit.proto.WidgetStates_pb2 import WidgetStates
from streamlit.testing.v1 import AppTest

from agegender.faces import Chip, Face
from agegender.prediction import AgeEstimate, GenderEstimate, Prediction

ROOT = Path(__file__).parents[2]
MENU = ROOT / "ui" / "menu.py"

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

    card: ClassVar[dict[str, object]] = {}

    def __init__(self, model: str = "vggface", *, detector: object = None) -> None:
        self.model = model

    def predict_chips(self, chips: np.ndarray, *, margin=0) -> list[tuple[None, None]]:
        return [(None, None) for _ in chips]

    def find_faces(
        self, image: np.ndarray, *, min_confidence: float | None = None, min_face: float = 0
    ) -> list[tuple[Face, Chip]]:
        height, width = image.shape[:2]
        self.looks.append((width, height))
        return [] if min_face > 50 else [self._find_one(100.0 * index) for index in range(width // 100)]

    def _find_one(self, left: float) -> tuple[Face, Chip]:
        face = Face((left, 10.0, left + 50, 60.0), 0.99, ((left + 20, 30.0),) * 5)
        return face, Chip(np.full((200, 200, 3), 90, dtype=np.uint8), () if left else ("small face",))

    def crop_faces(self, image: np.ndarray, faces: list[Face]) -> list[tuple[Face, Chip]]:
        return [(face, self._find_one(face.box[0])[1]) for face in faces]

    def predict_faces(self, found: list[tuple[Face, Chip]]) -> list[Prediction]:
        return [
            Prediction(face, chip.pixels, *self.answer_one(chip.pixels), chip.warnings)
            for face, chip in found
        ]

    def answer_one(self, chip: np.ndarray) -> tuple[AgeEstimate | None, GenderEstimate | None]:
        distribution = np.zeros(117, dtype=np.float32)
        distribution[26:38] = 1 / 12
        known = self.model == "vggface"
        age = AgeEstimate(31.2, 26.0, 37.1, 0.9, distribution if known else None)
        return age, GenderEstimate("female", 0.97) if known else None


def open_link(page: str, **query_params: str | list[str]) -> AppTest:
    """Opens the app by an address: a page and what it carries."""
    app = AppTest.from_file(MENU, default_timeout=60)
    app.query_params.update(query_params)
    return app.switch_page(f"../pages/{page}.py").run()


def turn_to(app: AppTest, page: str) -> AppTest:
    """Chooses a page in the menu. A browser then sends nothing of the page it leaves; AppTest would."""
    return app.switch_page(f"../pages/{page}.py")._run(WidgetStates())


def photo(width: int, height: int = 120, name: str = "photo.png") -> tuple[str, bytes, str]:
    """A grey picture as a browser would upload it; the fake finds ``width // 100`` faces in it."""
    buffer = io.BytesIO()
    Image.new("RGB", (width, height), (120, 120, 120)).save(buffer, "PNG")
    return name, buffer.getvalue(), "image/png"


def texts(app: AppTest) -> str:
    """All that can be read on the page, a line an element; pictures by their words."""
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
    pictures = [image.alt for found in app.get("image") for image in found.proto.imgs]
    return "\n".join([*(str(element.value) for kind in kinds for element in kind), *pictures])
