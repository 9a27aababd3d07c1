from __future__ import annotations

import cv2
import numpy as np
import pandas as pd
import pytest

from agegender.audit.conditions import measure_conditions
from agegender.data.table import Dataset, read_dataset
from tests.conftest import make_chip, write_chip


def folder_of(tmp_path, chips) -> Dataset:
    for i, chip in enumerate(chips):
        write_chip(tmp_path / f"30_0_0_20170116{i:09d}.jpg.chip.jpg", chip)
    return read_dataset(tmp_path)


@pytest.fixture
def textured() -> np.ndarray:
    rng = np.random.default_rng(3)
    chip = make_chip(rng).astype(np.int16) + rng.integers(-40, 41, (200, 200, 1))
    return np.clip(chip, 0, 255).astype(np.uint8)


def test_a_dim_picture_is_one_without_any_bright_spot(tmp_path, textured):
    face_in_shadow = textured // 6
    dark_skin_in_good_light = face_in_shadow.copy()
    dark_skin_in_good_light[:40] = 240  # a bright background, or a shirt
    measured = measure_conditions(folder_of(tmp_path, [textured, face_in_shadow, dark_skin_in_good_light]))
    assert measured.dim.tolist() == [False, True, False]


def test_a_blurred_picture_has_no_fine_detail_in_the_middle(tmp_path, textured):
    blurred = cv2.GaussianBlur(textured, (0, 0), 5)
    soft_background = blurred.copy()
    soft_background[40:160, 40:160] = textured[40:160, 40:160]
    measured = measure_conditions(folder_of(tmp_path, [textured, blurred, soft_background]))
    assert measured.blurred.tolist() == [False, True, False]


def test_size_hardly_matters_to_focus(tmp_path, textured):
    large = cv2.resize(textured, (400, 400), interpolation=cv2.INTER_NEAREST)
    small, big = measure_conditions(folder_of(tmp_path, [textured, large])).sharpness
    assert big == pytest.approx(small, rel=0.2)


def test_what_cannot_be_decoded_is_neither_and_progress_counts_it(tmp_path, textured):
    folder_of(tmp_path, [textured])
    (tmp_path / "31_0_0_20170116000000001.jpg.chip.jpg").write_bytes(b"no picture")
    (tmp_path / "32_0_0_20170116000000001.jpg.chip.jpg").write_bytes(b"")
    dataset = read_dataset(tmp_path)
    gone = pd.concat([dataset.table, dataset.table.assign(file="gone.jpg").iloc[:1]], ignore_index=True)
    seen = []
    measured = measure_conditions(
        Dataset(dataset.folder, gone, dataset.skipped), progress=lambda _, *step: seen.append(step)
    )
    assert np.isfinite(measured.sharpness).tolist() == [True, False, False, False]
    assert not measured.dim[1:].any()
    assert not measured.blurred[1:].any()
    assert seen == [(1, 4), (2, 4), (3, 4), (4, 4)]
