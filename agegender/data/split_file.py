"""A split on disk: which files a model was validated and tested on, so that its figures can be had again.

    # split f1a2… of 21341 files: the first 12 digits of the SHA-256 of each file's bytes
    validation 00014be2a7c9
    …
    test 0003c0ffee11
    …

Files that are not named are in the train split. Twelve digits tell a hundred thousand files apart: two of
them agree by chance once in 56,000 datasets of that size.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pandas as pd

from agegender.data.split import SPLITS, split_hash
from agegender.errors import ConfigError

_DIGITS: Final = 12
_NAMED: Final = SPLITS[1:]
_HEAD: Final = re.compile(r"# split ([0-9a-f]{64}) of (\d+) files\b")
_LINE: Final = re.compile(rf"({'|'.join(_NAMED)}) ([0-9a-f]{{{_DIGITS}}})")


@dataclass(frozen=True)
class SplitCheck:
    """How a folder's split compares with the one a model was made with.

    Attributes:
        same: Whether it is the same files in the same splits, by the hash over all of them.
        named: How many validation and test files the record names.
        found: How many of these are in the folder, in the same split.
        moved: How many are in the folder, in another split.
        added: Files of the folder's validation and test splits that the record does not name.
    """

    same: bool
    named: int
    found: int
    moved: int
    added: int

    @property
    def missing(self) -> int:
        """How many named files are not in the folder."""
        return self.named - self.found - self.moved

    def in_words(self) -> str:
        """One sentence."""
        if self.same:
            return "the same files in the same splits"
        return (
            f"of {self.named} validation and test files {self.found} are here in the same split, "
            f"{self.moved} in another, {self.missing} are missing; {self.added} here are not among them"
        )


def write_split(path: Path, digests: list[str], splits: pd.Series) -> None:
    """Writes the record of a split.

    Args:
        path: Where to.
        digests: SHA-256 hex of each file.
        splits: "train", "validation" or "test" of each, aligned.
    """
    head = f"# split {split_hash(digests, splits)} of {len(digests)} files"
    lines = [f"{head}: the first {_DIGITS} digits of the SHA-256 of each file's bytes"]
    for name in _NAMED:
        pairs = zip(digests, splits, strict=True)
        lines += sorted({f"{name} {digest[:_DIGITS]}" for digest, split in pairs if split == name and digest})
    path.write_text("\n".join(lines) + "\n", encoding="ascii")


def check_split(path: Path, digests: list[str], splits: pd.Series) -> SplitCheck:
    """Compares a folder's split with a record.

    Args:
        path: What `write_split` wrote.
        digests: SHA-256 hex of each file of the folder.
        splits: Split of each, aligned, as `assign_splits` gives it.

    Returns:
        What agrees and what does not.

    Raises:
        ConfigError: The record cannot be read or is none.
    """
    try:
        head, *lines = path.read_text(encoding="ascii").splitlines()
    except (OSError, ValueError) as error:
        raise ConfigError(f"cannot read the split {path}: {error}") from error
    stated = _HEAD.match(head)
    matches = [_LINE.fullmatch(line) for line in lines]
    if stated is None or None in matches:
        raise ConfigError(f"{path} is not the record of a split")
    named = {match[2]: match[1] for match in matches if match is not None}
    here = {digest[:_DIGITS]: str(split) for digest, split in zip(digests, splits, strict=True) if digest}
    found = sum(here.get(digest) == split for digest, split in named.items())
    moved = sum(digest in here for digest in named) - found
    added = sum(split in _NAMED and digest not in named for digest, split in here.items())
    return SplitCheck(split_hash(digests, splits) == stated[1], len(named), found, moved, added)
