"""What the frozen base says of chips."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from agegender.audit.faceres import build_heads, predict_zero_shot
from agegender.audit.frozen_features import FEATURES, frozen_features, join_base
from agegender.models.backbones import build_mobilenet


@pytest.fixture(scope="module")
def chips(tmp_path_factory, astronaut):
    folder = tmp_path_factory.mktemp("chips")
    face = cv2.resize(astronaut[30:230, 120:320], (200, 200))
    pictures = [face, face[:, ::-1], np.zeros_like(face), cv2.resize(face, (60, 60))]
    for i, picture in enumerate(pictures):
        cv2.imwrite(str(folder / f"{i}.png"), picture[..., ::-1])
    (folder / "4.png").write_bytes(b"no picture")
    return [folder / f"{i}.png" for i in range(6)]


@pytest.fixture(scope="module")
def features(chips):
    return frozen_features(chips, input_size=(64, 64))


def test_a_row_a_file_and_nan_where_there_is_none(features):
    assert features.shape == (6, FEATURES)
    assert features.dtype == np.float32
    assert np.isnan(features).all(axis=1).tolist() == [False, False, False, False, True, True]
    assert np.isfinite(features[:4]).all()


def test_faces_are_told_from_black(features):
    def apart(i, j):
        return float(np.linalg.norm(features[i] - features[j]))

    assert apart(0, 1) < apart(0, 2) / 2
    assert apart(0, 3) < apart(0, 2) / 2


def test_the_last_columns_are_the_bases_own_answers(chips):
    size = (224, 224)  # the original's
    answers = frozen_features(chips[:1], input_size=size)[0]
    pixels = cv2.imread(str(chips[0]))[..., ::-1]
    age, female = predict_zero_shot(pixels[None])
    assert answers[-101:-1].sum() == pytest.approx(1, abs=1e-4)
    assert answers[-101:-1] @ np.arange(1, 101) == pytest.approx(age[0], abs=1.0)
    assert 1 - answers[-1] == pytest.approx(female[0], abs=0.05)


def test_progress_counts_files_to_the_last(chips):
    seen = []
    frozen_features(chips * 25, input_size=(32, 32), progress=lambda _, *step: seen.append(step))
    assert seen == [(64, 150), (128, 150), (150, 150)]


def test_many_files_keep_their_order(chips, features):
    again = frozen_features(chips * 25, input_size=(64, 64))
    np.testing.assert_allclose(again, np.tile(features, (25, 1)), rtol=1e-3, atol=1e-3)


def test_joining_adds_no_weights():
    body, heads = build_mobilenet((32, 32)), build_heads()
    joined = join_base(body, heads)
    assert joined.output_shape == (None, FEATURES)
    assert joined.count_params() == body.count_params() + heads.count_params()
