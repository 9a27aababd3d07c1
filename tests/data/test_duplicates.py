"""Which pictures are taken for the same photo, and which are not."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np
import pytest

from agegender.data.duplicates import (
    HASH_BITS,
    NEAR_DUPLICATE_BITS,
    Fingerprints,
    duplicate_groups,
    duplicate_pairs,
    fingerprint,
    mirrored,
    near_pairs,
)
from agegender.data.table import Dataset, read_dataset
from tests.conftest import FACE_IN_PHOTO, make_chip, photo_around, write_chip, write_source


def picture(seed: int, side: int = 200) -> np.ndarray:
    coarse = np.random.default_rng(seed).integers(0, 256, (7, 7, 3), dtype=np.uint8)
    return cv2.resize(coarse, (side, side), interpolation=cv2.INTER_CUBIC)


def encode(pixels: np.ndarray, quality: int = 95) -> bytes:
    return cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()


def folder_of(folder: Path, files: Iterable[bytes]) -> Dataset:
    """A dataset whose rows are in the order of the files given."""
    for i, data in enumerate(files):
        (folder / f"{10 + i}_0_0_{i:04d}.jpg").write_bytes(data)
    return read_dataset(folder)


def groups_of(folder: Path, *files: bytes) -> list[int]:
    return duplicate_groups(fingerprint(folder_of(folder, files))).tolist()


def random_hashes(n: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 2, (n, HASH_BITS)).astype(bool)


def prints_of(hashes: np.ndarray) -> Fingerprints:
    return Fingerprints([f"{i:064x}" for i in range(len(hashes))], hashes, np.ones(len(hashes), bool))


VERSIONS = {
    "exact copy": encode,
    "re-encoded": lambda p: encode(p, quality=40),
    "mirrored": lambda p: encode(np.ascontiguousarray(p[:, ::-1]), quality=70),
    "resized": lambda p: encode(cv2.resize(p, (120, 120), interpolation=cv2.INTER_AREA)),
    "shifted by two pixels": lambda p: encode(np.roll(p, 2, axis=(0, 1))),
    "brighter": lambda p: encode(cv2.convertScaleAbs(p, alpha=0.8, beta=20)),
    "grey": lambda p: encode(cv2.cvtColor(p, cv2.COLOR_BGR2GRAY)),
}


@pytest.mark.parametrize("version", VERSIONS)
def test_another_version_of_a_photo_joins_its_group(tmp_path, version):
    photo = picture(1)
    first, other, copy = groups_of(tmp_path, encode(photo), encode(picture(2)), VERSIONS[version](photo))
    assert copy == first
    assert other != first


def test_different_pictures_stay_alone(tmp_path):
    groups = groups_of(tmp_path, *(encode(picture(seed)) for seed in range(40)))
    assert sorted(groups) == list(range(40))


def test_a_chain_of_near_copies_is_one_group():
    # 0 and 2 are too far apart to match, but both are near 1.
    base = random_hashes(1)[0]
    chain = np.tile(base, (3, 1))
    chain[1, :20] ^= True
    chain[2, :40] ^= True
    groups = duplicate_groups(prints_of(np.concatenate([chain, random_hashes(5, seed=9)])))
    assert groups[:3].tolist() == [0, 0, 0]
    assert len(set(groups[3:].tolist()) | {0}) == 6


def test_flat_pictures_match_by_bytes_alone(tmp_path):
    grey, white = np.full((200, 200, 3), 128, np.uint8), np.full((200, 200, 3), 255, np.uint8)
    ramp = np.ascontiguousarray(np.broadcast_to(np.arange(200, dtype=np.uint8)[None, :, None], (200, 200, 3)))
    a, b, c, d, e = groups_of(
        tmp_path, encode(grey), encode(white), encode(grey), encode(ramp), encode(ramp, quality=50)
    )
    assert a == c
    assert len({a, b, d, e}) == 4


def test_undecodable_files_are_kept_apart_and_matched_by_bytes(tmp_path):
    photo = encode(picture(3))
    dataset = folder_of(tmp_path, [photo, b"no picture", photo[:400], b"no picture", b""])
    prints = fingerprint(dataset)
    assert prints.decodable.tolist() == [True, False, False, False, False]
    assert all(len(digest) == 64 for digest in prints.digests)
    groups = duplicate_groups(prints)
    assert groups[1] == groups[3]
    assert len(set(groups.tolist())) == 4


def test_files_that_vanish_are_handled(tmp_path):
    dataset = folder_of(tmp_path, [encode(picture(seed)) for seed in range(4)])
    for row in (1, 2):
        (tmp_path / dataset.table["file"][row]).unlink()
    prints = fingerprint(dataset)
    assert prints.digests[1] == prints.digests[2] == ""
    assert prints.decodable.tolist() == [True, False, False, True]
    # Two files of which nothing is known are not the same photo.
    assert len(set(duplicate_groups(prints).tolist())) == 4


def test_a_picture_with_too_many_pixels_is_handled(tmp_path, monkeypatch):
    monkeypatch.setattr("PIL.Image.MAX_IMAGE_PIXELS", 1000)
    prints = fingerprint(folder_of(tmp_path, [encode(picture(1))]))
    assert prints.decodable.tolist() == [False]


def test_fingerprints_are_those_of_each_row(tmp_path):
    files = [encode(picture(seed)) for seed in (5, 6, 5)]
    done = []
    prints = fingerprint(folder_of(tmp_path, files), progress=lambda _, i, n: done.append((i, n)))
    assert prints.digests[0] == prints.digests[2] != prints.digests[1]
    assert (prints.hashes[0] == prints.hashes[2]).all()
    assert prints.hashes.shape == (3, HASH_BITS)
    assert done == [(1, 3), (2, 3), (3, 3)]


def test_no_files_have_no_groups():
    none = Fingerprints([], np.zeros((0, HASH_BITS), bool), np.zeros(0, bool))
    assert duplicate_groups(none).shape == (0,)


def test_the_mirrored_hash_is_the_hash_of_the_mirrored_picture(tmp_path):
    photo = picture(8)
    left, right = fingerprint(
        folder_of(tmp_path, [encode(photo, 100), encode(np.ascontiguousarray(photo[:, ::-1]), 100)])
    ).hashes
    assert (mirrored(left[None])[0] != right).sum() <= 6
    assert (left != right).sum() > 60


def test_mirroring_twice_changes_nothing():
    hashes = random_hashes(5)
    assert (mirrored(mirrored(hashes)) == hashes).all()


def test_pictures_that_are_cut_differently_are_not_compared_and_faces_are():
    hashes = np.tile(random_hashes(1), (4, 1))
    faces = random_hashes(4, seed=3)
    faces[3] = mirrored(faces[:1])
    framing = np.array([0, 0, 1, 2])
    digests = [f"{i:064x}" for i in range(4)]
    apart = Fingerprints(digests, hashes, np.ones(4, bool), framing)
    assert duplicate_groups(apart).tolist() == [0, 0, 1, 2]
    known = Fingerprints(digests, hashes, np.ones(4, bool), framing, faces)
    assert duplicate_groups(known).tolist() == [0, 0, 1, 0]
    assert duplicate_pairs(known, by_face=True).tolist() == [[0], [3], [0]]
    faces[3] = False  # not known
    assert duplicate_groups(known).tolist() == [0, 0, 1, 2]
    assert duplicate_pairs(apart, by_face=True).shape == (3, 0)
    same_bytes = Fingerprints([digests[0], *digests[:3]], random_hashes(4), np.ones(4, bool), np.arange(4))
    assert duplicate_groups(same_bytes).tolist() == [0, 0, 1, 2]


def test_faces_are_fingerprinted_as_they_would_be_cropped(tmp_path):
    rng = np.random.default_rng(8)
    chip = make_chip(rng)
    write_chip(tmp_path / "30_0_0_a.jpg", chip)
    write_source(tmp_path / "photos", {"b.jpg": photo_around(chip, rng), "c.jpg": photo_around(chip, rng)})
    dataset = read_dataset([tmp_path, tmp_path / "photos"])
    prints = fingerprint(dataset, faces=[None, FACE_IN_PHOTO, None])
    assert prints.framing[0] == 0 != prints.framing[1] == prints.framing[2]
    assert (prints.faces[0] == prints.hashes[0]).all()
    assert (prints.faces[1] != prints.faces[0]).sum() <= 4
    assert (prints.hashes[1] != prints.hashes[0]).sum() > 60
    assert not prints.faces[2].any()
    assert fingerprint(dataset).faces is None


def test_progress_reaches_the_end_once_for_all_framings():
    calls = []
    prints = Fingerprints(["a", "b", "c"], random_hashes(3), np.ones(3, bool), np.array([0, 1, 0]))
    duplicate_pairs(prints, progress=lambda *call: calls.append(call))
    assert calls == [("Comparing photos", 2, 3), ("Comparing photos", 3, 3)]


@pytest.mark.parametrize("rows", [1, 7, 2048])
def test_near_pairs_are_the_ones_a_plain_count_finds(rows):
    rng = np.random.default_rng(1)
    hashes = random_hashes(30)
    for i in range(0, 30, 3):  # every third hash gets a copy at some distance, half of them mirrored
        copy = mirrored(hashes[i : i + 1])[0] if i % 2 else hashes[i].copy()
        copy[rng.choice(HASH_BITS, size=i + 10, replace=False)] ^= True
        hashes[i + 1] = copy
    flipped = mirrored(hashes)
    expected = {}
    for i in range(30):
        for j in range(i + 1, 30):
            bits = min(int((hashes[i] != hashes[j]).sum()), int((hashes[i] != flipped[j]).sum()))
            if bits <= NEAR_DUPLICATE_BITS:
                expected[i, j] = bits
    assert len(expected) == 5
    found = {
        (i, j): bits
        for part in near_pairs(hashes, rows=rows)
        for i, j, bits in zip(*(values.tolist() for values in part), strict=True)
    }
    assert found == expected


@pytest.mark.parametrize(
    ("bits", "together"), [(NEAR_DUPLICATE_BITS, True), (NEAR_DUPLICATE_BITS + 1, False)]
)
def test_the_limit_itself_still_counts(bits, together):
    hashes = np.tile(random_hashes(1), (2, 1))
    hashes[1, :bits] ^= True
    groups = duplicate_groups(prints_of(hashes))
    assert len(set(groups.tolist())) == (1 if together else 2)
