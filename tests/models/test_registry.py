"""The list of models, trained or not."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from agegender.errors import AgeGenderError, UnknownModelError
from agegender.labels import TASKS
from agegender.models.registry import DEFAULT_MODEL, MODELS, get_system, list_models, model_spec

FACTS = {"name", "title", "default", "tasks", "parameters", "megabytes", "input"}
KEYS = FACTS | {"trained", "engine", "metrics"}


def publish(folder: Path, name: str, **values) -> None:
    (folder / name).mkdir(parents=True)
    card = {
        "name": name,
        "title": f"Model {name}",
        "system": "vggface",
        "tasks": ["gender"],
        "options": {"backbone": "mobilenet", "input_size": [64, 96]},
        "parameters": 1234,
        "metrics": {"split": "test", "gender": {"accuracy": 0.9}},
        **values,
    }
    (folder / name / "card.json").write_text(json.dumps(card), encoding="utf-8")
    (folder / name / "gender.weights.h5").write_bytes(bytes(2_500_000))


def test_every_entry_is_filed_under_its_own_name():
    assert DEFAULT_MODEL in MODELS
    for name, spec in MODELS.items():
        assert spec.name == name
        assert spec.title
        assert set(spec.tasks) <= set(TASKS)


@pytest.mark.parametrize("name", sorted(MODELS))
def test_every_entry_can_be_built_as_it_is_described(name):
    spec = MODELS[name]
    system = get_system(spec.system)
    options = system.options(**spec.options)
    # One network for all tasks, or one for each.
    networks = ("both",) if system.tasks[0] == "both" else spec.tasks
    assert set(networks) <= set(system.tasks)
    assert spec.parameters == sum(system.build(task, options).count_params() for task in networks)


def test_the_list_starts_with_the_default_and_obeys_the_contract(tmp_path):
    publish(tmp_path, "a-first")
    rows = list_models(tmp_path)
    names = [row["name"] for row in rows]
    assert names[:2] == [DEFAULT_MODEL, "a-first"]
    assert names[1:] == sorted({*MODELS, "a-first"} - {DEFAULT_MODEL})
    assert [row["default"] for row in rows] == [True] + [False] * (len(rows) - 1)
    assert all(set(row) >= KEYS for row in rows)
    assert json.loads(json.dumps(rows)) == rows


def test_a_published_model_is_described_by_its_card(tmp_path):
    publish(tmp_path, "mine")
    row = next(row for row in list_models(tmp_path) if row["name"] == "mine")
    assert row == {
        "name": "mine",
        "title": "Model mine",
        "default": False,
        "tasks": ["gender"],
        "parameters": 1234,
        "megabytes": 2.5,
        "input": [64, 96],
        "trained": True,
        "engine": "Keras",
        "metrics": {"split": "test", "gender": {"accuracy": 0.9}},
    }


def test_an_untrained_model_is_listed_as_such(tmp_path):
    row = list_models(tmp_path)[0]
    assert (row["name"], row["trained"], row["megabytes"], row["metrics"]) == (DEFAULT_MODEL, False, 0, {})
    assert row["input"] == [160, 160]
    assert row["engine"] is None


def test_a_light_form_is_what_answers(tmp_path):
    publish(tmp_path, "mine", light={"files": {"gender.tflite": "0" * 64}})
    assert [row["engine"] for row in list_models(tmp_path) if row["name"] == "mine"] == ["LiteRT"]


def test_a_base_is_no_model(tmp_path):
    publish(tmp_path, "base", tasks=[])
    assert "base" not in [row["name"] for row in list_models(tmp_path)]
    with pytest.raises(UnknownModelError):
        model_spec("base", tmp_path)


def test_a_card_overrides_the_registry(tmp_path):
    publish(tmp_path, DEFAULT_MODEL)
    spec = model_spec(DEFAULT_MODEL, tmp_path)
    assert (spec.input_size, spec.tasks, spec.parameters) == ((64, 96), ("gender",), 1234)


def test_an_unknown_name_is_answered_with_the_known_ones(tmp_path):
    publish(tmp_path, "mine")
    with pytest.raises(UnknownModelError, match=r"'other'.*mine.*vggface"):
        model_spec("other", tmp_path)


@pytest.mark.parametrize("missing", ["title", "options"])
def test_a_card_that_lacks_something_is_refused_by_name(tmp_path, missing):
    publish(tmp_path, "mine")
    path = tmp_path / "mine" / "card.json"
    card = json.loads(path.read_text(encoding="utf-8"))
    del card[missing]
    path.write_text(json.dumps(card), encoding="utf-8")
    with pytest.raises(AgeGenderError, match="mine"):
        model_spec("mine", tmp_path)


def test_a_damaged_card_is_refused_with_a_typed_error(tmp_path):
    publish(tmp_path, "mine")
    (tmp_path / "mine" / "card.json").write_text("{half", encoding="utf-8")
    with pytest.raises(AgeGenderError, match="mine"):
        model_spec("mine", tmp_path)
