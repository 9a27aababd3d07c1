from __future__ import annotations

import sys
from types import SimpleNamespace

import numpy as np
import pytest

from agegender.audit import steps as module
from agegender.audit.label_table import read_label_table
from agegender.audit.steps import audit_files, audit_labels, same_labels
from agegender.data.table import read_dataset
from agegender.errors import DatasetError


def test_the_first_step_reports_forwards_and_finds_what_is_there(fake_utkface):
    steps: list[tuple[str, int, int]] = []
    found = audit_files(read_dataset(fake_utkface), lambda *step: steps.append(step))
    shares = [done / total for _, done, total in steps]
    assert shares == sorted(shares)
    assert shares[0] >= 0
    assert shares[-1] < 1
    assert len({what for what, _, _ in steps}) == 4
    assert not found.has_suspects
    found.prepare()
    assert len(found.faces) == found.figures["labelled"] == 120
    assert {"split", "duplicate", "blurred"} <= set(found.faces)
    assert found.findings["kind"].value_counts()["damaged name"] == 2


def test_few_files_are_too_few_to_doubt_labels(fake_utkface):
    found = audit_files(read_dataset(fake_utkface), lambda what, done, total: None)
    with pytest.raises(DatasetError, match="120 files are too few"):
        audit_labels(found, lambda what, done, total: None)


def test_doubting_adds_suspects_and_leaves_the_first_look_as_it_was(fake_utkface, monkeypatch):
    found = audit_files(read_dataset(fake_utkface), lambda what, done, total: None)
    table = found.tables.dataset.table
    monkeypatch.setattr(module, "LEAST_FILES", 100)
    monkeypatch.setattr("agegender.audit.out_of_fold.LEAST_FILES", 100)
    rng = np.random.default_rng(0)
    telling = np.stack([table["age"], table["gender"]], axis=1) + rng.normal(0, 0.01, (len(table), 2))
    network = SimpleNamespace(frozen_features=lambda files, faces, progress: telling.astype(np.float32))
    monkeypatch.setitem(sys.modules, "agegender.audit.frozen_features", network)  # no TensorFlow here
    doubted = audit_labels(found, lambda what, done, total: None)
    assert doubted.has_suspects
    assert not found.has_suspects
    assert "predicted_age" in doubted.faces
    assert "predicted_age" not in found.faces
    assert doubted.figures["suspects"]["files"] == len(doubted.tables.suspects)


def test_tables_of_the_same_labels_are_known_whatever_their_order():
    labels = read_label_table()
    shuffled = labels.sample(frac=1, random_state=1)
    assert same_labels(shuffled, labels)
    assert not same_labels(labels.iloc[1:], labels)
    other = shuffled.reset_index(drop=True)
    other.loc[0, "age"] += 1
    assert not same_labels(other, labels)


@pytest.mark.dataset
def test_the_shipped_labels_are_those_of_the_dataset(dataset_dir):
    assert same_labels(read_dataset(dataset_dir).table, read_label_table())
