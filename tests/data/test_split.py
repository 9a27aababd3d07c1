"""The split follows content: not names, not order, not company."""

from __future__ import annotations

import hashlib
import shutil
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pandas as pd
import pytest

from agegender.data import split as split_module
from agegender.data.duplicates import Fingerprints, duplicate_groups, fingerprint
from agegender.data.split import (
    HALVES,
    SPLITS,
    assign_splits,
    leaks,
    partition,
    split_by_content,
    split_hash,
    split_position,
)
from agegender.data.table import Dataset, read_dataset
from agegender.errors import DatasetError
from agegender.faces import Face
from tests.conftest import FACE_IN_PHOTO, make_chip, photo_around, write_chip, write_source


def digests(n: int, prefix: str = "") -> list[str]:
    return [hashlib.sha256(f"{prefix}{i}".encode()).hexdigest() for i in range(n)]


def alone(n: int) -> np.ndarray:
    return np.arange(n)


def splits_by_digest(folder: Path) -> dict[str, str]:
    dataset = read_dataset(folder)
    prints = fingerprint(dataset)
    return dict(zip(prints.digests, assign_splits(dataset, prints=prints), strict=True))


@pytest.fixture(scope="module")
def photos() -> list[np.ndarray]:
    rng = np.random.default_rng(11)
    coarse = rng.integers(0, 256, (40, 7, 7, 3), dtype=np.uint8)
    return [cv2.resize(c, (100, 100), interpolation=cv2.INTER_CUBIC) for c in coarse]


def write(folder: Path, name: str, pixels: np.ndarray, quality: int = 95) -> None:
    folder.mkdir(exist_ok=True)
    cv2.imwrite(str(folder / name), pixels, [cv2.IMWRITE_JPEG_QUALITY, quality])


def test_shares_are_near_80_10_10():
    n = 5000
    counts = Counter(split_by_content(digests(n), alone(n)))
    assert set(counts) == set(SPLITS)
    assert counts["train"] / n == pytest.approx(0.8, abs=0.02)
    assert counts["validation"] / n == pytest.approx(0.1, abs=0.015)
    assert counts["test"] / n == pytest.approx(0.1, abs=0.015)


def test_shares_hold_for_any_salt():
    n = 5000
    for salt in ("a", "b", "c"):
        counts = Counter(split_by_content(digests(n), alone(n), salt))
        assert counts["test"] / n == pytest.approx(0.1, abs=0.015)


def test_the_split_of_a_digest_is_fixed():
    # A change here would move test images into training: every published figure would be void.
    splits = split_by_content(digests(12, "fixed"), alone(12))
    held_out = {i: name for i, name in enumerate(splits) if name != "train"}
    assert held_out == {2: "test", 4: "test", 5: "test", 7: "test", 9: "validation"}


def test_positions_lie_in_the_unit_interval_and_depend_on_the_salt():
    positions = np.array([split_position(digest) for digest in digests(500)])
    assert ((positions >= 0) & (positions < 1)).all()
    assert len(np.unique(positions)) == 500
    assert split_position("ab") != split_position("ab", "another salt")


def test_order_does_not_matter():
    names = digests(300)
    splits = split_by_content(names, alone(300))
    order = np.random.default_rng(0).permutation(300)
    shuffled = split_by_content([names[i] for i in order], alone(300))
    assert shuffled == [splits[i] for i in order]


def test_group_numbers_do_not_matter():
    groups = np.repeat(np.arange(100), 3)
    assert split_by_content(digests(300), groups) == split_by_content(digests(300), 99 - groups)


def test_adding_files_moves_no_other_file():
    few = split_by_content(digests(200), alone(200))
    many = split_by_content([*digests(1000, "new"), *digests(200)], alone(1200))
    assert many[1000:] == few


def test_a_group_stays_together():
    groups = np.repeat(np.arange(1000), 5)
    splits = split_by_content(digests(5000), groups)
    assert all(len(set(splits[i : i + 5])) == 1 for i in range(0, 5000, 5))
    assert len(set(splits)) == 3


def test_names_and_labels_do_not_matter(fake_utkface, tmp_path):
    expected = splits_by_digest(fake_utkface)
    for i, path in enumerate(sorted(fake_utkface.glob("*_*_*_*.jpg.chip.jpg"), reverse=True)):
        shutil.copy(path, tmp_path / f"{i % 90}_{i % 2}_0_renamed{i}.jpg")
    renamed = splits_by_digest(tmp_path)
    assert len(renamed) > 100
    assert all(expected[digest] == split for digest, split in renamed.items() if digest in expected)
    assert set(expected) <= set(renamed)


def test_the_split_is_aligned_with_the_table(fake_utkface):
    dataset = read_dataset(fake_utkface)
    seen = []
    splits = assign_splits(dataset, progress=lambda _, done, total: seen.append((done, total)))
    assert splits.index.equals(dataset.table.index)
    assert set(splits) <= set(SPLITS)
    assert seen[-1] == (120, 120)
    by_digest = splits_by_digest(fake_utkface)
    for file, split in zip(dataset.table["file"], splits, strict=True):
        digest = hashlib.sha256((fake_utkface / file).read_bytes()).hexdigest()
        assert by_digest[digest] == split


def test_copies_never_straddle(tmp_path, photos):
    for i, photo in enumerate(photos):
        write(tmp_path, f"{i}_0_0_original.jpg", photo)
        shutil.copy(tmp_path / f"{i}_0_0_original.jpg", tmp_path / f"{90 - i}_1_0_{i}_copy.jpg")
        write(tmp_path, f"{i}_0_1_reencoded.jpg", photo, quality=60)
        write(tmp_path, f"{i}_0_2_mirrored.jpg", np.ascontiguousarray(photo[:, ::-1]), quality=80)
        write(tmp_path, f"{i}_0_3_resized.jpg", cv2.resize(photo, (70, 70), interpolation=cv2.INTER_AREA))
    dataset = read_dataset(tmp_path)
    prints = fingerprint(dataset)
    splits = assign_splits(dataset, prints=prints)
    groups = duplicate_groups(prints)
    assert len(set(groups.tolist())) == len(photos)
    assert splits.groupby(groups).nunique().eq(1).all()
    assert splits.nunique() == 3


def test_adding_photos_to_a_folder_moves_no_file(tmp_path, photos):
    for i, photo in enumerate(photos[:20]):
        write(tmp_path / "chips", f"{i}_0_0_a.jpg", photo)
    before = splits_by_digest(tmp_path / "chips")
    for i, photo in enumerate(photos[20:]):
        write(tmp_path / "chips", f"{i}_0_0_b.jpg", photo)
    after = splits_by_digest(tmp_path / "chips")
    assert len(after) == 40
    assert {digest: after[digest] for digest in before} == before


def test_a_byte_identical_copy_moves_no_file(tmp_path, photos):
    for i, photo in enumerate(photos):
        write(tmp_path / "chips", f"{i}_0_0_a.jpg", photo)
    before = splits_by_digest(tmp_path / "chips")
    for i in range(len(photos)):
        shutil.copy(tmp_path / "chips" / f"{i}_0_0_a.jpg", tmp_path / "chips" / f"{i}_1_0_copy.jpg")
    assert splits_by_digest(tmp_path / "chips") == before


def test_the_hash_of_a_split_does_not_depend_on_order():
    names = digests(50)
    splits = pd.Series(split_by_content(names, alone(50)))
    order = np.random.default_rng(2).permutation(50)
    assert split_hash([names[i] for i in order], splits.iloc[order]) == split_hash(names, splits)
    assert len(split_hash(names, splits)) == 64


def test_the_hash_of_a_split_tells_splits_apart():
    names = digests(50)
    splits = pd.Series(split_by_content(names, alone(50)))
    moved = splits.copy()
    moved.iloc[7] = "test" if moved.iloc[7] == "train" else "train"
    assert split_hash(names, moved) != split_hash(names, splits)
    assert split_hash(names[:-1], splits.iloc[:-1]) != split_hash(names, splits)


def test_a_copy_between_two_photos_makes_them_one_though_its_own_digest_is_the_largest():
    """Files can move that a smaller digest never came near."""
    first = np.random.default_rng(3).random(256) < 0.5
    between, second = first.copy(), first.copy()
    between[:20] ^= True
    second[:40] ^= True
    pool = sorted(digests(100))
    names = split_by_content(pool, alone(100))
    tested = names.index("test")
    trained = names.index("train", tested)
    known = [pool[tested], pool[trained], pool[-1]]  # of first and second, and the largest for the copy

    def split(*hashes: np.ndarray) -> list[str]:
        n = len(hashes)
        prints = Fingerprints(known[:n], np.array(hashes), np.ones(n, dtype=bool))
        return split_by_content(prints.digests, duplicate_groups(prints))

    assert split(first, second) == ["test", "train"]
    assert split(first, second, between) == ["test"] * 3


# --- what the files of a split are used for -------------------------------------------------------------


def test_validation_is_halved_by_content_and_copies_stay_in_one_half(tmp_path, photos):
    folder = tmp_path / "chips"
    for i, photo in enumerate(photos):
        write(folder, f"{i}_{i % 2}_0_a.jpg", photo)
        write(folder, f"{i}_{i % 2}_1_b.jpg", photo, quality=60)
    splits = partition(read_dataset(folder))
    sizes = splits.sizes()
    assert {name: len(splits.rows(name)) for name in sizes} == sizes
    assert sizes["selection"] + sizes["calibration"] == sizes["validation"] > 0
    assert min(sizes.values()) > 0
    assert set(splits.names[np.isin(splits.uses, HALVES)]) == {"validation"}
    assert pd.Series(splits.uses).groupby(splits.groups).nunique().eq(1).all()
    assert splits.hash == split_hash(splits.digests, splits.names)


def test_an_undecodable_file_is_in_a_split_and_among_no_rows(fake_utkface, tmp_path):
    copy = tmp_path / "chips"
    shutil.copytree(fake_utkface, copy)
    (copy / "7_0_0_20180101000000000.jpg.chip.jpg").write_bytes(b"broken")
    splits = partition(read_dataset(copy))
    assert splits.undecodable == ["7_0_0_20180101000000000.jpg.chip.jpg"]
    assert sum(splits.sizes()[name] for name in SPLITS) == 121
    assert sum(len(splits.rows(name)) for name in SPLITS) == 120


def test_the_hash_of_labels_follows_labels_not_names(fake_utkface, tmp_path):
    copy = tmp_path / "chips"
    shutil.copytree(fake_utkface, copy)
    before = partition(read_dataset(copy)).labels_hash
    file = next(copy.glob("5*_1_*.jpg"))
    file = file.rename(copy / file.name.replace("_20170116", "_20180116"))
    assert partition(read_dataset(copy)).labels_hash == before
    file.rename(copy / file.name.replace("_1_", "_0_", 1))
    assert partition(read_dataset(copy)).labels_hash != before


def test_no_rows_and_rows_of_one_label_are_refused(tmp_path, photos):
    for i in range(5):
        write(tmp_path / "few", f"30_{i % 2}_0_{i}.jpg", photos[i])
    splits = partition(read_dataset(tmp_path / "few"))
    absent = next(name for name in SPLITS if name not in splits.sizes())
    with pytest.raises(DatasetError, match=rf"of 5 chips.*the {absent} split; a few hundred"):
        splits.rows(absent)
    assert len(splits.rows("train", "gender")) > 0
    for task in ("age", "both"):
        with pytest.raises(DatasetError, match=r"train split.*labelled 30 years old"):
            splits.rows("train", task)


# --- many sources -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def sources(tmp_path_factory) -> SimpleNamespace:
    """40 chips and 60 photos with a split of their own, five of which show a chip in another framing."""
    folder, rng = tmp_path_factory.mktemp("sources"), np.random.default_rng(5)
    chips = [make_chip(rng) for _ in range(40)]
    (folder / "chips").mkdir()
    for i, chip in enumerate(chips):
        write_chip(folder / "chips" / f"{i}_0_0_a.jpg", chip)
    alone = read_dataset(folder / "chips")
    names = dict(zip(alone.table["file"], assign_splits(alone), strict=True))
    held_out = next(i for i in range(40) if names[f"{i}_0_0_a.jpg"] == "test")
    learned = [i for i in range(40) if names[f"{i}_0_0_a.jpg"] == "train"]
    photos = {f"train/{i:02}.jpg": make_chip(rng, 300) for i in range(50)}
    photos |= {f"dev/{i:02}.jpg": make_chip(rng, 300) for i in range(10)}
    photos["train/00.jpg"] = photo_around(chips[held_out], rng)  # learned here, measured there
    photos["dev/00.jpg"] = photo_around(np.ascontiguousarray(chips[learned[0]][:, ::-1]), rng)
    photos["train/01.jpg"] = photo_around(chips[learned[1]], rng)
    photos["train/02.jpg"] = photos["dev/01.jpg"]
    return SimpleNamespace(
        chips=folder / "chips",
        photos=write_source(folder / "photos", photos),
        test=f"chips/{held_out}_0_0_a.jpg",
        in_dev=f"chips/{learned[0]}_0_0_a.jpg",
        in_train=f"chips/{learned[1]}_0_0_a.jpg",
    )


def test_utkface_is_split_the_same_alone_and_among_others(sources):
    alone, both = read_dataset(sources.chips), read_dataset([sources.photos, sources.chips])
    own = partition(alone)
    found = partition(both, faces=faces_of(both))
    rows = (both.table["source"] == "chips").to_numpy()
    assert found.names[rows].tolist() == own.names.tolist() == assign_splits(both)[rows].tolist()
    digests = [digest for digest, is_own in zip(found.digests, rows, strict=True) if is_own]
    assert split_hash(digests, found.names[rows]) == split_hash(own.digests, own.names)
    assert not own.leaked.any()


def test_a_source_s_own_split_is_kept_and_a_part_of_train_validates(sources):
    dataset = read_dataset([sources.photos, sources.chips])
    names = assign_splits(dataset)
    given = dataset.table["given_split"]
    assert set(names[given == "dev"]) == {"dev"}
    assert set(names[given == "train"]) == {"train", "validation"}
    assert 1 <= (names[given == "train"] == "validation").sum() <= 15
    assert set(names[given == ""]) == set(SPLITS)


def faces_of(dataset) -> list[Face | None]:
    return [None if aligned else FACE_IN_PHOTO for aligned in dataset.table["aligned"]]


def test_what_is_measured_later_is_not_learned_under_another_name(sources):
    dataset = read_dataset([sources.photos, sources.chips])
    files = dataset.table["file"]
    found = partition(dataset, faces=faces_of(dataset))
    assert set(files[found.leaked]) == {"photos/train/00.jpg", "photos/train/02.jpg", sources.in_dev}
    group = dict(zip(files, found.groups.tolist(), strict=True))
    pairs = {
        "photos/train/00.jpg": sources.test,
        "photos/dev/00.jpg": sources.in_dev,
        "photos/train/01.jpg": sources.in_train,
        "photos/train/02.jpg": "photos/dev/01.jpg",
    }
    assert all(group[one] == group[other] for one, other in pairs.items())
    assert len(set(found.groups.tolist())) == 100 - len(pairs)

    unseen = partition(dataset)  # framings differ: only the same bytes are told
    assert set(files[unseen.leaked]) == {"photos/train/02.jpg"}
    assert unseen.names.equals(found.names)
    learned = found.groups[found.rows("train").index]
    assert not set(learned) & set(found.groups[found.names != "train"])
    assert len(found.rows("train")) == found.sizes()["train"] - 3


@pytest.mark.parametrize(
    ("uses", "leaked"),
    [
        (["train", "train"], [False, False]),
        (["train", "selection"], [True, False]),
        (["train", "dev"], [True, False]),
        (["calibration", "selection"], [False, True]),
        (["calibration", "test"], [True, False]),
        (["dev", "test"], [False, False]),
        (["train", "selection", "test"], [True, True, False]),
    ],
)
def test_what_comes_last_keeps_a_photo(uses, leaked):
    assert leaks(uses, np.zeros(len(uses), np.int64)).tolist() == leaked
    assert not leaks(uses, np.arange(len(uses))).any()


def test_a_kept_partition_is_the_same_and_is_made_again_when_damaged_or_something_changed(
    sources, tmp_path, monkeypatch
):
    dataset = read_dataset([sources.photos, sources.chips])
    faces, reads = faces_of(dataset), []
    monkeypatch.setattr(
        split_module, "fingerprint", lambda *args, **how: reads.append(1) or fingerprint(*args, **how)
    )

    def same(one, other) -> bool:
        return (
            one.names.equals(other.names)
            and (one.groups == other.groups).all()
            and (one.leaked == other.leaked).all()
            and one.digests == other.digests
        )

    first = partition(dataset, faces=faces, cache=tmp_path / "kept")
    assert same(partition(dataset, faces=faces, cache=tmp_path / "kept"), first)
    assert len(reads) == 1
    [kept] = (tmp_path / "kept").iterdir()
    kept.write_bytes(kept.read_bytes()[:200])
    assert same(partition(dataset, faces=faces, cache=tmp_path / "kept"), first)
    assert len(reads) == 2
    assert not partition(dataset, faces=[None] * 100, cache=tmp_path / "kept").leaked.sum() > 1
    other = Dataset(dataset.folder, dataset.table.assign(given_split="train"), dataset.skipped)
    assert not (partition(other, faces=faces, cache=tmp_path / "kept").names == "dev").any()
    assert len(reads) == 4


@pytest.mark.dataset
@pytest.mark.slow
def test_no_duplicate_of_utkface_straddles(dataset_dir):
    dataset = read_dataset(dataset_dir)
    prints = fingerprint(dataset)
    assert prints.decodable.all()
    groups = pd.Series(duplicate_groups(prints))
    sizes = groups.value_counts()
    assert 800 < (sizes > 1).sum() < 1000
    assert sizes.max() < 20
    found = partition(dataset, prints=prints)
    splits, sizes = found.names, found.sizes()
    assert found.hash.startswith("957c380e2b90")  # what every published card states
    assert (sizes["selection"], sizes["calibration"]) == (1027, 1114)
    assert splits.groupby(groups).nunique().eq(1).all()
    shares = splits.value_counts(normalize=True)
    assert shares["train"] == pytest.approx(0.8, abs=0.01)
    assert shares["validation"] == pytest.approx(0.1, abs=0.01)
    assert shares["test"] == pytest.approx(0.1, abs=0.01)
    # The salt was chosen for splits that look alike.
    by_split = dataset.table.groupby(splits)
    assert np.ptp(by_split["age"].mean()) < 1.0
    assert np.ptp(by_split["gender"].mean()) < 0.02
