"""Batches for Keras: shapes, order, randomness that can be resumed."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from agegender.data.augment import Augmentation
from agegender.data.generator import ChipGenerator
from agegender.data.mixing import Mixing
from agegender.data.pictures import read_chip
from agegender.errors import DatasetError
from agegender.faces import Face, crop_face
from agegender.faces.chip import change_margin, resize_chip
from tests.conftest import FACE_IN_PHOTO, make_chip, photo_around

N = 11


@pytest.fixture(scope="module")
def paths(tmp_path_factory) -> list[Path]:
    """Chips whose red channel is 20 times their number, so that each can be told in a batch."""
    folder = tmp_path_factory.mktemp("chips")
    files = [folder / f"{i}.png" for i in range(N)]
    for i, file in enumerate(files):
        cv2.imwrite(str(file), np.full((40, 40, 3), (7, 50, 20 * i), np.uint8))  # blue, green, red
    return files


def make(paths: list[Path], **options) -> ChipGenerator:
    targets = options.pop("targets", {"number": np.arange(N, dtype=np.float32)[:, None]})
    return ChipGenerator(paths, targets, **{"input_size": (32, 32), "batch_size": 4, **options})


def numbers(chips: np.ndarray) -> list[int]:
    return np.rint(chips[..., 0].mean(axis=(1, 2)) / 20).astype(int).tolist()


def epoch_of(generator: ChipGenerator) -> tuple[np.ndarray, np.ndarray]:
    batches = [generator[i] for i in range(len(generator))]
    return np.concatenate([b[0] for b in batches]), np.concatenate([b[1]["number"] for b in batches])


GEOMETRY = Augmentation().scaled(0)
"""No change to the pixels, but training's shuffling."""


def test_chips_are_served_as_float_rgb_in_order_without_augmentation(paths):
    generator = make(paths)
    assert len(generator) == 3
    assert [len(generator[i][0]) for i in range(3)] == [4, 4, 3]
    chips, targets = epoch_of(generator)
    assert chips.shape == (N, 32, 32, 3)
    assert chips.dtype == np.float32
    assert numbers(chips) == list(range(N)) == targets[:, 0].tolist()
    assert (chips[..., 1] == 50).all()
    assert (chips[..., 2] == 7).all()


def test_every_chip_comes_once_an_epoch_with_its_own_label(paths):
    generator = make(paths, augmentation=GEOMETRY)
    for epoch in range(3):
        generator.start_epoch(epoch)
        chips, targets = epoch_of(generator)
        assert sorted(numbers(chips)) == list(range(N))
        assert numbers(chips) == targets[:, 0].tolist()


def test_epochs_differ_in_order_and_seeds_do(paths):
    def order(seed: int, epoch: int) -> list[int]:
        generator = make(paths, augmentation=GEOMETRY, seed=seed)
        generator.start_epoch(epoch)
        return numbers(epoch_of(generator)[0])

    orders = [order(0, 0), order(0, 1), order(1, 0)]
    assert len({tuple(o) for o in orders}) == 3
    assert order(0, 1) == orders[1]


def test_keras_does_not_move_the_epoch_by_itself(paths):
    """It calls `on_epoch_end` before the first epoch too, while workers are reading ahead."""
    walked, fresh = (make(paths, augmentation=Augmentation()) for _ in range(2))
    walked.on_epoch_end()
    assert (epoch_of(walked)[0] == epoch_of(fresh)[0]).all()


def test_batches_do_not_depend_on_which_came_before(paths):
    forward, backward = (make(paths, augmentation=Augmentation(), seed=3) for _ in range(2))
    ahead = [forward[i][0] for i in range(3)]
    behind = [backward[i][0] for i in (2, 1, 0)][::-1]
    assert all((a == b).all() for a, b in zip(ahead, behind, strict=True))


def test_augmentation_differs_between_epochs(tmp_path):
    file = tmp_path / "noise.png"
    cv2.imwrite(str(file), np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8))
    generator = ChipGenerator([file], {}, input_size=(32, 32), augmentation=Augmentation())
    first = generator[0][0]
    generator.start_epoch(1)
    assert (generator[0][0] != first).any()


def test_targets_come_by_output_name(paths):
    targets = {"years": np.zeros((N, 117), np.float32), "age": np.arange(N, dtype=np.float32)[:, None]}
    _, y = make(paths, targets=targets)[0]
    assert {name: part.shape for name, part in y.items()} == {"years": (4, 117), "age": (4, 1)}


def test_weights_go_with_their_chips_for_every_output(paths):
    weights = np.arange(N, dtype=np.float32) / 10
    targets = {"a": np.zeros((N, 1)), "b": np.zeros((N, 2))}
    generator = make(paths, weights=weights, targets=targets, augmentation=GEOMETRY)
    chips, _, served = generator[1]
    assert served.keys() == {"a", "b"}
    assert all(part.tolist() == weights[numbers(chips)].tolist() for part in served.values())


# --- faces, margins and shares ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def pictures(tmp_path_factory) -> tuple[list[Path], list[Face | None]]:
    """A chip in UTKFace's geometry, and a photo of 300 px, with where its face is."""
    folder, rng = tmp_path_factory.mktemp("pictures"), np.random.default_rng(3)
    chip = make_chip(rng)
    for name, picture in (("chip.png", chip), ("photo.png", photo_around(chip, rng))):
        cv2.imwrite(str(folder / name), picture[..., ::-1])
    return [folder / "chip.png", folder / "photo.png"], [None, FACE_IN_PHOTO]


@pytest.mark.parametrize("margin", [0, 12])
@pytest.mark.parametrize("size", [(200, 200), (160, 160), (96, 128)])
def test_chips_are_served_as_the_app_crops_them(pictures, margin, size):
    paths, faces = pictures
    generator = ChipGenerator(paths, {}, input_size=size, faces=faces, margin=margin)
    chip, photo = (read_chip(path) for path in paths)
    assert (generator[0][0][0] == resize_chip(change_margin(chip, 0, margin), size)).all()
    assert (generator[0][0][1] == resize_chip(crop_face(photo, FACE_IN_PHOTO, margin).pixels, size)).all()


@pytest.mark.parametrize("margin", [0, 12])
def test_augmentation_of_strength_0_serves_the_same_but_for_rounding(pictures, margin):
    paths, faces = pictures
    how = {"input_size": (160, 160), "faces": faces, "margin": margin}
    plain = ChipGenerator(paths, {"n": np.arange(2)}, **how)[0]
    generator = ChipGenerator(paths, {"n": np.arange(2)}, **how, augmentation=GEOMETRY)
    chips, targets = generator[0]
    for chip, number in zip(chips, targets["n"], strict=True):
        assert np.abs(chip - plain[0][number]).mean() < 1.5


def test_a_chip_and_the_photo_it_was_cut_from_are_the_same_to_a_network(pictures):
    paths, faces = pictures
    one, other = ChipGenerator(paths, {}, input_size=(160, 160), faces=faces)[0][0]
    assert np.abs(one - other).max() <= 1


def test_shares_decide_how_often_a_picture_comes_and_its_label_with_it(paths):
    shares = np.array([0, 3, 1, *[0.5] * 8])
    for augmentation in (None, GEOMETRY):
        generator = make(
            paths, shares=shares, augmentation=augmentation, weights=np.arange(N, dtype=np.float32)
        )
        seen = []
        for epoch in range(4):
            generator.start_epoch(epoch)
            assert len(generator) == 2
            batches = [generator[i] for i in range(2)]
            served = np.concatenate([numbers(batch[0]) for batch in batches])
            assert served.tolist() == np.concatenate([batch[1]["number"][:, 0] for batch in batches]).tolist()
            assert served.tolist() == np.concatenate([batch[2]["number"] for batch in batches]).tolist()
            counts = np.bincount(served, minlength=N)
            assert counts[:3].tolist() == [0, 3, 1]
            assert counts[3:].max() == 1
            seen.append(served.tolist())
        assert len({tuple(served) for served in seen}) == 4
        generator.start_epoch(1)
        assert np.concatenate([numbers(generator[i][0]) for i in range(2)]).tolist() == seen[1]


def test_a_picture_that_comes_twice_is_augmented_twice(pictures):
    paths, faces = pictures
    generator = ChipGenerator(
        paths[1:],
        {},
        input_size=(64, 64),
        faces=faces[1:],
        shares=np.array([2.0]),
        augmentation=Augmentation(),
    )
    first, second = generator[0][0]
    assert (first != second).any()
    again = ChipGenerator(
        paths[1:],
        {},
        input_size=(64, 64),
        faces=faces[1:],
        shares=np.array([2.0]),
        augmentation=Augmentation(),
    )
    assert (again[0][0] == generator[0][0]).all()


# ----------------------------------------------------------------------------------------------------------


def test_mixed_batches_are_the_same_for_the_same_seed_and_epoch(paths):
    mixing = Mixing(mixup=0.4, cutmix=0.4, erasing=0.5)

    def batches(epoch: int, seed: int = 0, order: tuple[int, ...] = (0, 1, 2)) -> list[np.ndarray]:
        generator = make(paths, augmentation=Augmentation(), mixing=mixing, seed=seed)
        generator.start_epoch(epoch)
        served = {i: generator[i] for i in order}
        return [np.concatenate([served[i][0].ravel(), served[i][1]["number"].ravel()]) for i in range(3)]

    first = batches(1)
    assert all((a == b).all() for a, b in zip(first, batches(1, order=(2, 0, 1)), strict=True))
    assert all((a != b).any() for a, b in zip(first, batches(2), strict=True))
    assert all((a != b).any() for a, b in zip(first, batches(1, seed=1), strict=True))


def test_keras_serves_the_batches_of_the_generator_in_its_order(paths):
    from keras.src.trainers.data_adapters.py_dataset_adapter import PyDatasetAdapter

    adapter = PyDatasetAdapter(make(paths), shuffle=False)
    adapter.on_epoch_begin()
    try:
        served = [np.asarray(batch[1]["number"])[:, 0].tolist() for batch in adapter.get_tf_dataset()]
    finally:
        adapter.on_epoch_end()
    assert [number for batch in served for number in batch] == list(range(N))


def test_read_chip_gives_rgb(tmp_path):
    file = tmp_path / "red.png"
    cv2.imwrite(str(file), np.full((5, 6, 3), (0, 0, 255), np.uint8))
    chip = read_chip(file)
    assert chip.shape == (5, 6, 3)
    assert chip.dtype == np.uint8
    assert (chip == (255, 0, 0)).all()


def test_a_grey_file_gets_three_channels(tmp_path):
    file = tmp_path / "grey.jpg"
    cv2.imwrite(str(file), np.full((8, 8), 90, np.uint8))
    assert read_chip(file).shape == (8, 8, 3)


@pytest.mark.parametrize("content", [None, b"", b"no picture"])
def test_an_unreadable_file_is_named(tmp_path, content):
    file = tmp_path / "broken.jpg"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(DatasetError, match=r"broken\.jpg"):
        read_chip(file)
