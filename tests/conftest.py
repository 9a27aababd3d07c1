"""Fixtures that every test may use."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import plotly.graph_objects as go
import pytest
from numpy.typing import NDArray

from agegender.charts.style import description
from agegender.data.table import default_data_folders
from agegender.faces.crop import CHIP_LANDMARKS, CHIP_PAD
from agegender.faces.face import Face
from agegender.labels import ETHNICITIES

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")

ROOT = Path(__file__).parents[1]

_RUNS = tempfile.TemporaryDirectory(prefix="agegender-runs-")
os.environ["AGEGENDER_RUNS"] = _RUNS.name  # no test writes among the checkout's own runs, or reads them


def make_chip(rng: np.random.Generator, side: int = 200) -> NDArray[np.uint8]:
    """A picture no other seed makes: smooth coloured blobs, so that hashes differ and JPEG is kind."""
    coarse = rng.integers(0, 256, (7, 7, 3), dtype=np.uint8)
    return np.asarray(cv2.resize(coarse, (side, side), interpolation=cv2.INTER_CUBIC), dtype=np.uint8)


def write_chip(path: Path, chip: NDArray[np.uint8], quality: int = 95) -> None:
    """Writes RGB pixels as JPEG, whatever the file is called."""
    encoded = cv2.imencode(".jpg", chip[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    path.write_bytes(encoded.tobytes())


def label_table(ages: Sequence[float], **columns: Any) -> pd.DataFrame:
    """A table as `read_dataset` makes it: one row an age, of White men on UTKFace's chips where not told.

    ``ethnicity`` names the groups, and exact ages their ranges, where these are not told themselves.
    """
    codes = np.broadcast_to(columns.get("ethnicity", 0), len(ages))
    told = {
        "file": [f"{i}.jpg" for i in range(len(ages))],
        "age": ages,
        "gender": 0,
        "ethnicity": codes,
        "captured": pd.NaT,
        "age_min": ages,
        "age_max": ages,
        "group": [ETHNICITIES[code] if code >= 0 else "" for code in codes],
        "source": "chips",
        "given_split": "",
        "aligned": True,
    }
    return pd.DataFrame(told | columns)


def write_source(folder: Path, pictures: dict[str, NDArray[np.uint8]], *, age: str = "30-39") -> Path:
    """Writes a source in the plain form: pictures by their path, which may begin with train/ or dev/.

    The first is a man, the second a woman, and so on.
    """
    rows = ["file,age,gender,group"]
    for i, (file, picture) in enumerate(pictures.items()):
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        write_chip(folder / file, picture)
        rows.append(f"{file},{age},{i % 2},{'Sami' if i % 3 else ''}")
    (folder / "labels.csv").write_text("\n".join(rows), encoding="utf-8")
    return folder


def assert_rules_of_figures(figures: dict[str, go.Figure]) -> None:
    """Figures take on the theme, leave scrolling alone, and each says in words of its own what it shows."""
    for name, figure in figures.items():
        layout = json.loads(figure.to_json())["layout"]
        assert layout["paper_bgcolor"] == layout["plot_bgcolor"] == "rgba(0,0,0,0)", name
        assert "color" not in layout.get("font", {}), name
        assert layout["dragmode"] is False, name
        assert layout["xaxis"]["fixedrange"] and layout["yaxis"]["fixedrange"], name
        assert description(figure).endswith(".") and len(description(figure)) > 10, name
    assert len({description(figure) for figure in figures.values()}) == len(figures)


def photo_around(chip: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """A photo of 300 px with a chip of 200 px in its middle; `FACE_IN_PHOTO` is where its face is."""
    photo = make_chip(rng, 300)
    photo[50:250, 50:250] = chip
    return photo


FACE_IN_PHOTO = Face(
    (70.0, 60.0, 230.0, 240.0), 0.99, tuple((x + 50, y + 50) for x, y in CHIP_LANDMARKS.tolist())
)


class PhotoDetector:
    """Sees `FACE_IN_PHOTO` in padded photos, but not in dark ones."""

    def detect_many(self, images: Sequence[NDArray[np.uint8]]) -> list[list[Face]]:
        box = tuple(value + CHIP_PAD for value in FACE_IN_PHOTO.box)
        points = tuple((x + CHIP_PAD, y + CHIP_PAD) for x, y in FACE_IN_PHOTO.landmarks)
        return [[] if image[150, 150].max() < 30 else [Face(box, 0.9, points)] for image in images]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Of files dealt out to two processes those with slow tests come first, so that neither ends alone."""
    if "PYTEST_XDIST_WORKER" in os.environ:
        slow = {item.path for item in items if item.get_closest_marker("slow")}
        items.sort(key=lambda item: item.path not in slow)


@pytest.fixture(scope="session")
def fake_utkface(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny fake UTKFace: 120 seeded chips, two files with damaged names, and strays."""
    folder = tmp_path_factory.mktemp("utkface")
    rng = np.random.default_rng(7)
    for i in range(120):
        age, gender, ethnicity = int(rng.integers(0, 100)), i % 2, int(rng.integers(0, 5))
        write_chip(folder / f"{age}_{gender}_{ethnicity}_20170116{i:09d}.jpg.chip.jpg", make_chip(rng))
    write_chip(folder / "39_1_20170116174525125.jpg.chip.jpg", make_chip(rng))
    write_chip(folder / "55_0_0_20170116232725357jpg.chip.jpg", make_chip(rng))
    (folder / "notes.txt").write_text("a stray file", encoding="utf-8")
    (folder / ".DS_Store").write_bytes(b"\0")
    return folder


@pytest.fixture(scope="session")
def astronaut() -> NDArray[np.uint8]:
    """Eileen Collins, NASA, public domain: RGB ``uint8`` of shape (512, 512, 3), one face."""
    from skimage import data

    return np.asarray(data.astronaut(), dtype=np.uint8)


@pytest.fixture(scope="session")
def dataset_dir() -> Path:
    """The real UTKFace folder: the first of ``UTKFACE_DIR``, or ``../shared/utkface`` beside the checkout."""
    folder = (*default_data_folders(), ROOT.parent / "shared" / "utkface")[0]
    if not folder.is_dir():
        pytest.skip("no UTKFace folder: set UTKFACE_DIR to run the dataset tests")
    return folder
