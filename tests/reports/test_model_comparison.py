"""The table of all models: any subset trained, old cards and new, rivals and published figures."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from agegender.assets import COMPARISON
from agegender.errors import ModelError
from agegender.models.registry import MODELS
from agegender.places import SHIPPED_WEIGHTS
from agegender.reports.comparison import compare_models, leaderboard, measured_entries
from agegender.reports.others import published_figures, read_rivals

HEADLINES = ("mae", "cs5", "gender_accuracy")

Publish = Callable[..., None]


def around(value: float) -> dict[str, float]:
    return {"value": value, "low": round(0.9 * value, 4), "high": round(1.1 * value, 4)}


def group(n: int, mae: float, accuracy: float) -> dict:
    return {"n": n, "age": {"mae": around(mae)}, "gender": {"accuracy": around(accuracy)}}


def card(name: str, mae: float = 5.0, accuracy: float = 0.9, **values) -> dict:
    bands = {"0-4": {"n": 30, "mae": 1.0}, "76+": {"n": 5, "mae": 9.0}}
    genders = {"0-4": {"n": 30, "accuracy": 0.6}, "76+": {"n": 5, "accuracy": 1.0}}
    overall = {"n": 200, "age": {"mae": around(mae), "cs5": around(0.6)}}
    overall["age"] |= {"baseline_mae": 14.0, "baseline_cs5": 0.3}
    overall["gender"] = {"accuracy": around(accuracy), "baseline_accuracy": 0.51}
    return {
        "name": name,
        "title": f"Model {name}",
        "system": "vggface",
        "tasks": ["age", "gender"],
        "options": {"input_size": [64, 64]},
        "parameters": 1234,
        "split": {"hash": "abc"},
        "metrics": {
            "split": "test",
            "n": 200,
            "age": {"mae": mae, "cs5": 0.6, "by_band": bands},
            "gender": {"accuracy": accuracy, "by_band": genders},
            "ms_per_face": 8.0,
        },
        "groups": {
            "confidence": 0.95,
            "baseline": {"age": 29.0, "gender": "male", "split": "train"},
            "overall": overall,
            "by_age": {"0-4": group(30, 1.0, 0.6), "76+": {"n": 5}},
            "by_gender": {"male": group(90, 5.5, 0.8), "female": group(110, 4.5, 0.95)},
            "by_ethnicity": {"White": group(195, 5.0, 0.9), "Others": {"n": 5}},
        },
        **values,
    }


@pytest.fixture
def weights(tmp_path) -> Path:
    folder = tmp_path / "weights"
    folder.mkdir()
    return folder


@pytest.fixture
def publish(weights) -> Publish:
    def write(values: dict) -> None:
        folder = weights / values["name"]
        folder.mkdir()
        (folder / "card.json").write_text(json.dumps(values), encoding="utf-8")

    return write


@pytest.fixture
def compared(weights, tmp_path) -> Callable[[], dict]:
    return lambda: compare_models(weights, rivals_file=tmp_path / "rivals.json")


def entry_of(comparison: dict, name: str) -> dict:
    return next(entry for entry in comparison["models"] if entry["name"] == name)


def test_without_any_model_everything_waits_to_be_trained(compared):
    comparison = compared()
    assert comparison["n"] is None and comparison["baseline"] is None
    assert {entry["name"] for entry in comparison["models"]} == set(MODELS)
    for entry in comparison["models"]:
        assert not entry["trained"]
        assert entry["how_to_train"][-1].endswith(f"--recipe {entry['name']}")
        assert all(entry[figure] is None for figure in HEADLINES)
    assert all(set(figure["difference"].values()) == {None} for figure in comparison["published"])
    assert leaderboard(comparison).empty


def test_a_model_has_its_card_s_figures_and_intervals(compared, publish):
    publish(card("vggface", 4.0, 0.95))
    comparison = compared()
    entry = entry_of(comparison, "vggface")
    assert (comparison["split"], comparison["split_hash"], comparison["n"]) == ("test", "abc", 200)
    assert (entry["kind"], entry["default"], entry["trained"], entry["same_split"]) == (
        "measured",
        True,
        True,
        True,
    )
    assert (entry["mae"], entry["mae_interval"]) == (4.0, [3.6, 4.4])
    assert (entry["gender_accuracy"], entry["gender_accuracy_interval"]) == (0.95, [0.855, 1.045])
    assert entry["by_gender"]["female"]["gender_accuracy"] == 0.95
    assert entry["by_ethnicity"]["Others"] == {
        "n": 5,
        "mae": None,
        "mae_interval": None,
        "gender_accuracy": None,
        "gender_accuracy_interval": None,
    }
    assert comparison["baseline"] == {
        "age": 29.0,
        "gender": "male",
        "mae": 14.0,
        "cs5": 0.3,
        "gender_accuracy": 0.51,
    }


def test_a_small_band_keeps_its_figure_and_has_no_interval(compared, publish):
    publish(card("vggface"))
    bands = entry_of(compared(), "vggface")["by_band"]
    assert list(bands) == ["0-4", "76+"]
    assert bands["0-4"]["mae_interval"] == [0.9, 1.1]
    assert (bands["76+"]["mae"], bands["76+"]["gender_accuracy"], bands["76+"]["n"]) == (9.0, 1.0, 5)
    assert bands["76+"]["mae_interval"] is None


def test_a_card_of_before_lacks_parts_and_is_compared_all_the_same(compared, publish):
    old = card("scratch-cnn")
    for key in ("groups", "split"):
        del old[key]
    del old["metrics"]["age"]
    publish(old)
    entry = entry_of(compared(), "scratch-cnn")
    assert entry["trained"] and entry["mae"] is None and entry["gender_accuracy"] == 0.9
    assert entry["ranges"] is None and entry["reliability"] == [] and entry["training"] is None
    assert entry["by_gender"] == {} and entry["same_split"] is None


def test_newer_parts_are_passed_on(compared, publish):
    new = card("vggface")
    ranges = {
        "accuracy": 0.6,
        "within_one": 0.9,
        "own_answer": True,
        "confusion": np.eye(9, dtype=int).tolist(),
    }
    bins = [{"low": 0.5, "high": 0.6, "n": 3, "confidence": 0.55, "accuracy": 0.5}]
    new["metrics"]["age"]["ranges"] = ranges
    new["metrics"]["gender"]["reliability"] = bins
    new["corruptions"] = {"mean": {"mae_ratio": 1.2, "gender_points_lost": 2.0}}
    publish(new)
    entry = entry_of(compared(), "vggface")
    assert entry["ranges"] == ranges and entry["reliability"] == bins
    assert entry["corruptions"] == {"mae_ratio": 1.2, "gender_points_lost": 2.0}


def test_figures_on_other_sources_are_there_and_years_off_only_of_exact_ages(compared, publish):
    ranged = {"n": 40, "split": "dev", "no_face": 2, "age": {"ranges_n": 40, "mae": 9.0, "in_range": 0.6}}
    ranged["gender"] = {"accuracy": 0.91, "ece": 0.02}
    ranged["groups"] = {"overall": group(40, 9.0, 0.91), "children": group(20, 3.0, 0.75)}
    publish(card("vggface", sets={"bands": ranged, "exact": {"n": 10, "age": {"mae": 5.0}}}))
    found = entry_of(compared(), "vggface")["sets"]
    assert (found["bands"]["mae"], found["bands"]["in_range"]) == (None, 0.6)
    assert found["exact"]["mae"] == 5.0
    assert found["bands"]["children"]["gender_accuracy"] == 0.75
    assert found["bands"]["gender_accuracy_interval"] == list(around(0.91).values())[1:]
    assert found["exact"]["ethnicity_gap"] is None


def test_a_run_that_both_networks_went_on_from_is_counted_once(compared, publish):
    def run(name: str, seconds: float | None, machine: str, start: dict | None = None) -> dict:
        record = {"run": name, "validation": {"seconds": seconds}, "environment": {"machine": machine}}
        return record | ({"start": start} if start else {})

    both = run("both", 100.0, "one")
    training = {"age": run("age", 10.0, "one", both), "gender": run("gender", 20.0, "two", both)}
    publish(card("vggface", training=training))
    publish(card("scratch-cnn", training={"both": run("x", None, "one")}))
    comparison = compared()
    found = entry_of(comparison, "vggface")["training"]
    assert (found["seconds"], found["hardware"]) == (130.0, "one; two")
    assert [run["run"] for run in found["runs"]] == ["age", "both", "gender"]
    assert entry_of(comparison, "scratch-cnn")["training"]["seconds"] is None


def test_another_split_is_told(compared, publish):
    publish(card("vggface"))
    publish(card("mine", split={"hash": "other"}))
    assert entry_of(compared(), "mine")["same_split"] is False
    assert entry_of(compared(), "mine")["how_to_train"] == []


def test_the_same_test_files_in_another_split_are_the_same(compared, publish, weights):
    publish(card("vggface", split={"hash": "of four sources"}))
    publish(card("scratch-cnn", split={"hash": "of one"}))
    publish(card("age-range", split={"hash": "of another"}))
    for name, files in (("vggface", "ab"), ("scratch-cnn", "ba"), ("age-range", "ac")):
        lines = [f"validation {name[0]}", *(f"test {file}" for file in files)]
        (weights / name / "split.txt").write_text("\n".join(lines), encoding="ascii")
    found = compared()
    same = {name: entry_of(found, name)["same_split"] for name in ("vggface", "scratch-cnn", "age-range")}
    assert same == {"vggface": True, "scratch-cnn": True, "age-range": False}


def test_published_figures_are_held_against_the_model_of_their_design(compared, publish):
    publish(card("vgg16-multitask", 6.17, 0.9142))
    figures = {figure["name"]: figure for figure in compared()["published"]}
    assert figures["Two-branch VGG16, as published"]["difference"] == {"mae": -1.0, "gender_accuracy": 0.01}
    assert figures["face-api.js"]["difference"] == {"mae": None, "gender_accuracy": None}
    assert all(figure["kind"] == "published" and figure["source"] for figure in figures.values())


def test_every_published_figure_names_a_model_of_ours_and_says_something():
    for figure in published_figures():
        assert figure["against"] in MODELS
        assert figure["split"]
        keys = ("mae", "gender_accuracy", "gender_accuracy_words", "score")
        assert any(figure[key] is not None for key in keys), figure["name"]


RIVALS = {
    "split": "test",
    "split_hash": "abc",
    "n": 200,
    "rivals": [
        {
            "name": "them",
            "version": "2.0",
            "detector": detector,
            "n": n,
            "age": {"mae": 6.0, "cs5": 0.5, "by_band": {"0-4": {"n": 30, "mae": 2.0}}},
            "gender": {"accuracy": 0.88, "by_band": {"0-4": {"n": 30, "accuracy": 0.5}}},
            "ms_per_face": 20.0,
            "megabytes": 70.0,
        }
        for detector, n in (("none", 200), ("own", 190))
    ],
}


def test_rivals_are_read_where_they_were_measured(compared, publish, tmp_path):
    publish(card("vggface", 5.0, 0.9))
    assert compared()["rivals"] == []
    (tmp_path / "rivals.json").write_text(json.dumps(RIVALS), encoding="utf-8")
    first, second = compared()["rivals"]
    assert (first["name"], second["name"]) == ("them", "them (own detector)")
    assert first["same_split"] and first["difference"] == {"mae": -1.0, "gender_accuracy": 0.02}
    assert first["by_band"]["0-4"] == {"n": 30, "mae": 2.0, "gender_accuracy": 0.5}


@pytest.mark.parametrize("text", ["{", "[]", '{"rivals": [{}]}', '{"rivals": 3}'])
def test_a_damaged_record_of_rivals_is_named(tmp_path, text):
    path = tmp_path / "rivals.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ModelError, match=r"rivals\.json"):
        read_rivals(path)


def test_the_leaderboard_is_sorted_by_age_error_rivals_after_ours(compared, publish, tmp_path):
    (tmp_path / "rivals.json").write_text(json.dumps(RIVALS), encoding="utf-8")
    publish(card("vggface", 5.0))
    publish(card("scratch-cnn", 4.0))
    table = leaderboard(compared())
    assert table["name"].tolist() == ["scratch-cnn", "vggface", "them", "them (own detector)"]
    assert table["mae_low"].tolist()[:2] == [3.6, 4.5]
    assert math.isnan(table["mae_low"].iloc[-1]) and table["megabytes"].iloc[-1] == 70.0
    assert [entry["name"] for entry in measured_entries(compared())][:2] == ["vggface", "scratch-cnn"]


def test_the_shipped_table_is_that_of_the_shipped_cards():
    written = json.loads(COMPARISON.read_text(encoding="utf-8"))
    assert written == json.loads(json.dumps(compare_models(SHIPPED_WEIGHTS))), (
        "run python -m agegender compare --json agegender/assets/compare.json, "
        "then python -m agegender.reports"
    )
