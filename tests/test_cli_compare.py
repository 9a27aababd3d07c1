"""`python -m agegender compare`: tables in words, and the whole as JSON."""

from __future__ import annotations

import json

import pytest

from agegender.__main__ import main
from agegender.errors import ModelError
from agegender.models.card import read_card
from agegender.reports.comparison import compare_models


@pytest.fixture
def nothing(tmp_path, monkeypatch) -> None:
    """No model is trained."""
    folder = tmp_path / "weights"
    folder.mkdir()
    found = compare_models(folder, rivals_file=tmp_path / "rivals.json")
    monkeypatch.setattr("agegender.commands.compare.compare_models", lambda: found)


def test_the_tables_go_to_standard_output(capsys):
    assert main(["compare"]) == 0
    out, err = capsys.readouterr()
    card = read_card("vggface")
    row = next(line for line in out.splitlines() if line.startswith("vggface *"))
    assert f"{card['metrics']['age']['mae']:.2f} (" in row
    assert f"{card['metrics']['gender']['accuracy']:.1%}".replace("%", " %") in row
    assert "published, in their words, on other splits" in out
    assert "MiVOLO" in out
    assert err == ""


def test_json_goes_to_standard_output_whole(capsys):
    assert main(["compare", "--json", "-"]) == 0
    out, _ = capsys.readouterr()
    assert json.loads(out) == json.loads(json.dumps(compare_models()))


def test_json_goes_to_a_file(tmp_path, capsys):
    target = tmp_path / "deep" / "compare.json"
    assert main(["compare", "--json", str(target)]) == 0
    assert {"models", "rivals", "published"} <= json.loads(target.read_text(encoding="utf-8")).keys()
    assert capsys.readouterr().out == ""


def test_a_folder_is_no_file_to_write_to(tmp_path, capsys):
    assert main(["compare", "--json", str(tmp_path)]) == 2
    assert "folder" in capsys.readouterr().err


def test_what_is_not_trained_yet_says_how(nothing, capsys):
    assert main(["compare"]) == 0
    out = capsys.readouterr().out
    assert "scratch-cnn is not trained yet. To train it:" in out
    assert "    python train.py --recipe scratch-cnn" in out
    assert "Measured here" not in out


def test_a_model_of_another_split_is_marked(monkeypatch, capsys):
    found = compare_models()
    found["models"][0] |= {"same_split": False}
    monkeypatch.setattr("agegender.commands.compare.compare_models", lambda: found)
    assert main(["compare"]) == 0
    out = capsys.readouterr().out
    assert "vggface * !" in out
    assert "! was measured on another split" in out


def test_a_damaged_record_is_said_and_ends_it(monkeypatch, capsys):
    def refuse() -> None:
        raise ModelError("rivals.json is no record of rivals")

    monkeypatch.setattr("agegender.commands.compare.compare_models", refuse)
    assert main(["compare"]) == 2
    assert "rivals.json" in capsys.readouterr().err
