"""`python -m agegender card`: the card as Markdown, and whether a folder's split is the model's."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from agegender.__main__ import main
from agegender.data.duplicates import fingerprint
from agegender.data.split import assign_splits
from agegender.data.split_file import write_split
from agegender.data.table import read_dataset
from agegender.models.card import SPLIT_FILE


@pytest.fixture
def weights(tmp_path, monkeypatch) -> Path:
    """A folder with one model in it, where the command looks."""
    folder = tmp_path / "weights" / "mine"
    folder.mkdir(parents=True)
    values = {"name": "mine", "title": "Mine — 1", "tasks": ["age"], "limits": ["Not for decisions."]}
    (folder / "card.json").write_text(json.dumps(values), encoding="utf-8")
    monkeypatch.setenv("AGEGENDER_WEIGHTS", str(folder.parent))
    return folder


def test_the_card_goes_to_standard_output(weights, capsys):
    assert main(["card", "mine"]) == 0
    out, err = capsys.readouterr()
    assert out.startswith("# mine: Mine — 1\n")
    assert "- Not for decisions." in out
    assert err == ""


def test_the_card_goes_to_a_file(weights, tmp_path, capsys):
    target = tmp_path / "deep" / "card.md"
    assert main(["card", "mine", "--output", str(target)]) == 0
    assert target.read_text(encoding="utf-8").startswith("# mine: Mine — 1\n")
    assert capsys.readouterr().out == ""


def test_without_a_name_it_is_the_default_model_s(capsys):
    assert main(["card"]) == 0
    assert capsys.readouterr().out.startswith("# vggface: ")


def test_an_unknown_model_is_wrong_usage(weights, capsys):
    assert main(["card", "absent"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert "absent" in err


def test_a_card_that_cannot_be_written_is_wrong_usage(weights, tmp_path, capsys):
    assert main(["card", "mine", "--output", str(tmp_path)]) == 2
    assert "folder" in capsys.readouterr().err


def test_the_split_of_a_folder_is_checked(weights, fake_utkface, capsys):
    dataset = read_dataset(fake_utkface)
    prints = fingerprint(dataset)
    splits = assign_splits(dataset, prints=prints)
    write_split(weights / SPLIT_FILE, prints.digests, splits)
    assert main(["card", "mine", "--data", str(fake_utkface)]) == 0
    assert "the same files in the same splits" in capsys.readouterr().err
    write_split(weights / SPLIT_FILE, prints.digests[1:], splits[1:])
    assert main(["card", "mine", "--data", str(fake_utkface)]) == 1
    out, err = capsys.readouterr()
    assert "are missing" in err
    assert out.startswith("# mine")


def test_a_model_without_a_record_of_its_split_says_so(weights, fake_utkface, capsys):
    assert main(["card", "mine", "--data", str(fake_utkface)]) == 2
    assert "split.txt" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", ["", "--both a --age b", "--both a --gender b", "--recipe a --age b"])
def test_publish_wants_a_pair_or_one_for_both_or_a_recipe(arguments, capsys):
    assert main(["publish", *arguments.split()]) == 2
    assert "--both RUN alone" in capsys.readouterr().err


def test_publish_wants_a_recipe_to_be_finished(capsys):
    assert main(["publish", "--recipe", "scratch-cnn"]) == 2
    assert "run both of recipe scratch-cnn is not finished in" in capsys.readouterr().err


def test_publish_measures_a_model_again_without_a_run(capsys):
    assert main(["publish", "--again", "--name", "mine", "--both", "a"]) == 2
    assert "name no run" in capsys.readouterr().err
