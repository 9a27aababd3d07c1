"""Cards: reading them, and what those that ship must say."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from agegender.errors import ModelError, WeightsNotFoundError
from agegender.labels import TASKS
from agegender.models.card import (
    CARD_FILE,
    HISTORY_FILE,
    MEASURED,
    METRICS_FILE,
    read_card,
    trained_models,
    write_card,
)
from agegender.models.store import file_sha256
from agegender.places import SHIPPED_WEIGHTS

SHIPPED = trained_models()
CARDS = sorted(path.parent.name for path in SHIPPED_WEIGHTS.glob(f"*/{CARD_FILE}"))


def write_file(folder: Path, name: str, **values: Any) -> Path:
    path = folder / name / CARD_FILE
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({"name": name, "tasks": ["age"], **values}), encoding="utf-8")
    return path


def test_a_card_is_read_as_it_stands(tmp_path):
    write_file(tmp_path, "mine", title="Mine — 1")
    assert read_card("mine", tmp_path) == {"name": "mine", "tasks": ["age"], "title": "Mine — 1"}


def test_what_was_measured_has_a_file_of_its_own(tmp_path):
    card = {"name": "mine", "tasks": ["age"], "groups": {"n": 1}, "metrics": {"n": 2}}
    (tmp_path / "mine").mkdir()
    write_card(tmp_path / "mine", card)
    short = json.loads((tmp_path / "mine" / CARD_FILE).read_text(encoding="utf-8"))
    assert short == {"name": "mine", "tasks": ["age"]}
    assert read_card("mine", tmp_path) == card
    write_card(tmp_path / "mine", short)  # other weights: the figures are not theirs
    assert read_card("mine", tmp_path) == short
    (tmp_path / "mine" / METRICS_FILE).write_text("{half", encoding="utf-8")
    with pytest.raises(ModelError, match=r"metrics\.json"):
        read_card("mine", tmp_path)


def test_a_card_is_parsed_once_a_state_and_callers_cannot_change_it(tmp_path, monkeypatch):
    path = write_file(tmp_path, "mine", title="First")
    parsed = []
    loads = json.loads
    monkeypatch.setattr("json.loads", lambda text: parsed.append(text) or loads(text))
    read_card("mine", tmp_path)["title"] = "changed by a caller"
    assert read_card("mine", tmp_path)["title"] == "First"
    assert len(parsed) == 1
    path.write_text(path.read_text(encoding="utf-8").replace("First", "Second"), encoding="utf-8")
    assert read_card("mine", tmp_path)["title"] == "Second"


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_cards_are_short(name):
    assert (SHIPPED_WEIGHTS / name / CARD_FILE).stat().st_size < 50_000
    assert (
        not set(MEASURED)
        & json.loads((SHIPPED_WEIGHTS / name / CARD_FILE).read_text(encoding="utf-8")).keys()
    )


def test_models_are_found_by_their_cards_and_bases_are_none(tmp_path):
    write_file(tmp_path, "b")
    write_file(tmp_path, "a")
    write_file(tmp_path, "base", tasks=[])
    (tmp_path / "no card").mkdir()
    assert trained_models(tmp_path) == ["a", "b"]
    assert trained_models(tmp_path / "nowhere") == []


def test_a_missing_card_says_what_there_is(tmp_path):
    write_file(tmp_path, "there")
    with pytest.raises(WeightsNotFoundError, match=r"'absent'.*trained here: there.*train\.py"):
        read_card("absent", tmp_path)
    with pytest.raises(WeightsNotFoundError, match="trained here: none"):
        read_card("absent", tmp_path / "nowhere")


@pytest.mark.parametrize("content", ["{half", '"text"', "[]", "{}", '{"name": "another"}'])
def test_what_is_no_card_of_the_model_is_refused_by_name(tmp_path, content):
    write_file(tmp_path, "mine").write_text(content, encoding="utf-8")
    with pytest.raises(ModelError, match=r"mine.*card\.json"):
        read_card("mine", tmp_path)


@pytest.mark.parametrize("content", [b"{half", b"[]", b"\xff\xfe"])
def test_one_damaged_card_does_not_hide_the_other_models(tmp_path, content):
    write_file(tmp_path, "damaged").write_bytes(content)
    write_file(tmp_path, "fine")
    assert "fine" in trained_models(tmp_path)
    assert read_card("fine", tmp_path)["name"] == "fine"
    with pytest.raises(ModelError):
        read_card("damaged", tmp_path)


def test_a_folder_that_is_called_as_a_card_is_no_model(tmp_path):
    (tmp_path / "odd" / CARD_FILE).mkdir(parents=True)
    assert trained_models(tmp_path) == []
    with pytest.raises(WeightsNotFoundError, match="trained here: none"):
        read_card("odd", tmp_path)


@pytest.mark.parametrize("name", CARDS)
def test_shipped_files_are_the_ones_their_card_names(name):
    files = read_card(name)["files"]
    folder = SHIPPED_WEIGHTS / name
    assert set(files) == {path.name for path in folder.glob("*.weights.*")}
    for file, checksum in files.items():
        assert file_sha256(folder / file) == checksum, file


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_models_carry_everything_a_card_should(name):
    card = read_card(name)
    assert set(card["tasks"]) <= set(TASKS)
    networks = set(card["training"])
    assert networks in ({"both"}, set(card["tasks"]))
    assert {file.partition(".")[0].removesuffix("_00000") for file in card["files"]} == networks
    assert (SHIPPED_WEIGHTS / name / HISTORY_FILE).is_file()
    assert len(card["split"]["hash"]) == 64
    assert set(card["calibration"]) == set(card["tasks"])
    assert card["metrics"]["split"] == "test"
    assert card["metrics"]["n"] > 1000
    assert ("non-commercial" in card["licence"]["weights"]) == (name != "vggface-open")
    assert card["intended_use"]
    assert card["limits"]
    assert str(Path.home()) not in json.dumps(card)
    if "file" in card["split"]:
        assert card["split"]["hash"] in (SHIPPED_WEIGHTS / name / card["split"]["file"]).read_text()
    if "groups" in card:
        assert card["groups"]["overall"]["n"] == card["metrics"]["n"]
        for task in card["tasks"]:
            figure = {"age": "mae", "gender": "accuracy"}[task]
            overall = card["groups"]["overall"][task]
            assert overall[figure]["value"] == pytest.approx(card["metrics"][task][figure], abs=1e-4)
            # Better than a fixed answer, beyond chance.
            worst = overall["mae"]["high"] if task == "age" else -overall["accuracy"]["low"]
            assert worst < (overall["baseline_mae"] if task == "age" else -overall["baseline_accuracy"])


def test_the_open_pair_learnt_from_fairface_alone_and_comes_near_the_default_pair_there():
    card, default = read_card("vggface-open"), read_card("vggface")
    assert card["data"]["name"] == "FairFace"
    assert {record["config"]["sources"][0] for record in card["training"].values()} == {"fairface"}
    assert card["licence"]["weights"] == "As the data: attribution."
    ours, theirs = (read["sets"]["fairface"] for read in (card, default))
    assert ours["gender"]["accuracy"] > theirs["gender"]["accuracy"] - 0.005
    assert ours["age"]["years_outside"] < theirs["age"]["years_outside"] + 0.3
    for figures in (card["metrics"], card["sets"]["appa-real"]):
        assert figures["age"]["interval_coverage"] == pytest.approx(0.9, abs=0.03)


def test_the_default_pair_is_as_good_as_promised():
    metrics = read_card("vggface")["metrics"]
    assert metrics["age"]["mae"] <= 4.4
    assert metrics["gender"]["accuracy"] >= 0.935
    assert metrics["age"]["interval_coverage"] == pytest.approx(0.9, abs=0.03)
