"""The record of a split: small, exact, and honest about what differs."""

from __future__ import annotations

import hashlib

import pandas as pd
import pytest

from agegender.data.split_file import check_split, write_split
from agegender.errors import ConfigError
from agegender.models.card import SPLIT_FILE


def files(n: int) -> tuple[list[str], pd.Series]:
    digests = [hashlib.sha256(str(i).encode()).hexdigest() for i in range(n)]
    names = ["test" if i % 10 == 0 else "validation" if i % 10 == 1 else "train" for i in range(n)]
    return digests, pd.Series(names)


@pytest.fixture
def record(tmp_path):
    path = tmp_path / SPLIT_FILE
    write_split(path, *files(100))
    return path


def test_the_same_files_in_any_order_agree(record):
    digests, splits = files(100)
    check = check_split(record, digests[::-1], splits[::-1])
    assert check.same
    assert (check.named, check.found, check.moved, check.missing, check.added) == (20, 20, 0, 0, 0)
    assert check.in_words() == "the same files in the same splits"


def test_the_record_says_nothing_of_names_or_order(record, tmp_path):
    digests, splits = files(100)
    other = tmp_path / "other.txt"
    write_split(other, digests[::-1], splits[::-1])
    assert other.read_bytes() == record.read_bytes()


def test_what_moved_went_missing_or_came_is_counted(record):
    digests, splits = files(120)  # 20 more: two test, two validation
    splits[0] = "train"  # was test
    splits[1] = "test"  # was validation
    kept = [i for i in range(120) if i not in (10, 20, 55)]  # two test files and one of train are gone
    check = check_split(record, [digests[i] for i in kept], splits[kept])
    assert not check.same
    assert (check.named, check.found, check.moved, check.missing, check.added) == (20, 16, 2, 2, 4)
    for number in ("16 are here", "2 in another", "2 are missing", "4 here"):
        assert number in check.in_words()


def test_a_missing_training_file_is_noticed_too(record):
    digests, splits = files(100)
    check = check_split(record, digests[:-1], splits[:-1])
    assert not check.same
    assert check.found == check.named


def test_unreadable_files_have_no_digest_and_are_not_named(tmp_path):
    digests, splits = files(30)
    digests[0] = ""
    write_split(tmp_path / "s", digests, splits)
    assert len((tmp_path / "s").read_text().splitlines()) == 1 + 5
    assert check_split(tmp_path / "s", digests, splits).same


def test_the_whole_of_utkface_fits_in_a_small_file(tmp_path):
    write_split(tmp_path / "s", *files(21_000))
    assert (tmp_path / "s").stat().st_size < 120_000


@pytest.mark.parametrize("text", ["", "# split\n", "test 0123456789ab\n", "{}"])
def test_what_is_no_record_is_refused(tmp_path, text):
    (tmp_path / "s").write_text(text)
    with pytest.raises(ConfigError, match="split"):
        check_split(tmp_path / "s", *files(10))


def test_an_absent_or_damaged_record_is_refused(record):
    with pytest.raises(ConfigError, match="cannot read the split"):
        check_split(record.with_name("gone"), *files(10))
    record.write_text(record.read_text() + "tset 0123456789ab\n")
    with pytest.raises(ConfigError, match="not the record"):
        check_split(record, *files(10))
