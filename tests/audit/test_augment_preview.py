from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from agegender.audit.augment_preview import KINDS, preview, strengthened
from agegender.data.augment import Augmentation
from agegender.data.generator import ChipGenerator
from agegender.data.pictures import read_chip
from agegender.faces.chip import resize_chip
from tests.conftest import make_chip, write_chip


def test_the_preview_is_what_the_training_generator_serves(tmp_path):
    rng = np.random.default_rng(4)
    path = tmp_path / "30_0_0_20170116000000001.jpg.chip.jpg"
    write_chip(path, make_chip(rng))
    generator = ChipGenerator(
        [path], {"age": np.zeros((1, 1))}, input_size=(96, 96), augmentation=Augmentation(), seed=7
    )
    pictures = preview(read_chip(path), (96, 96), Augmentation(), count=4, seed=7)
    for epoch, picture in enumerate(pictures):
        generator.start_epoch(epoch)
        np.testing.assert_array_equal(picture, generator[0][0][0])


def test_every_setting_belongs_to_one_kind():
    names = [name for kind in KINDS.values() for name in kind]
    assert sorted([*names, "flip"]) == sorted(field.name for field in dataclasses.fields(Augmentation))


def test_strength_one_is_the_recipe_and_zero_changes_nothing():
    base = Augmentation()
    assert strengthened(base, dict.fromkeys(KINDS, 1.0)) == base
    nothing = strengthened(base, dict.fromkeys(KINDS, 0.0), flip=0.0)
    chip = make_chip(np.random.default_rng(1))
    for picture in preview(chip, (200, 200), nothing, count=3):
        assert np.abs(picture.astype(int) - resize_chip(chip, (200, 200))).max() <= 1


def test_one_kind_is_made_stronger_and_the_others_stay():
    stronger = strengthened(Augmentation(), {"position": 2.0})
    assert stronger.rotation == pytest.approx(2 * Augmentation().rotation)
    assert stronger == dataclasses.replace(
        Augmentation(), **{name: getattr(stronger, name) for name in KINDS["position"]}
    )
    assert strengthened(Augmentation(erase=0.8), {"covering": 2.0}).erase == 1.0
