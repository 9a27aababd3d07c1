"""From two runs to a model that predicts, or to nothing at all."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from agegender import Predictor
from agegender.data.generator import read_chip
from agegender.data.split import assign_splits
from agegender.data.table import Dataset, read_dataset
from agegender.errors import AgeGenderError, ConfigError, DatasetError
from agegender.labels import GENDERS, MAX_AGE
from agegender.models.registry import describe_models
from agegender.models.store import file_sha256
from agegender.training import publish as module
from agegender.training.publish import publish
from agegender.training.runs import list_runs, read_history, read_json, write_json

NAME = "tiny-pair"


@pytest.fixture(scope="module")
def published(age_run, gender_run, dataset, tmp_path_factory) -> tuple[Path, dict]:
    weights_dir = tmp_path_factory.mktemp("weights")
    runs = {"age": age_run, "gender": gender_run}
    card = publish(runs, NAME, dataset, title="A tiny pair", weights_dir=weights_dir)
    # As JSON gives it: tuples become lists.
    return weights_dir, json.loads(json.dumps(card))


@pytest.fixture
def run_copy(age_run, gender_run, tmp_path):
    """Makes a copy of a run to change."""

    def make(task: str) -> Path:
        source = age_run if task == "age" else gender_run
        shutil.copytree(source, tmp_path / task)
        return tmp_path / task

    return make


def change_config(run: Path, **options) -> None:
    values = read_json(run / "config.json")
    values["options"] |= options
    write_json(run / "config.json", values)


def test_the_card_on_disk_is_the_one_returned(published):
    weights_dir, card = published
    assert json.loads((weights_dir / NAME / "card.json").read_text(encoding="utf-8")) == card


def test_the_card_says_all_that_it_should(published, age_run, dataset):
    weights_dir, card = published
    environment = read_json(age_run / "environment.json")
    assert (card["name"], card["system"], card["title"]) == (NAME, "vggface", "A tiny pair")
    assert card["tasks"] == ["age", "gender"]
    assert card["options"]["backbone"] == "mobilenet"
    assert card["options"]["input_size"] == [32, 32]
    assert card["options"]["hidden"] == [8]
    assert card["parameters"] > 2 * 3_000_000
    assert card["base"] == "random"
    assert card["data"]["files"] == len(dataset.table)
    assert card["split"] == environment["split"]
    assert set(card["training"]) == {"age", "gender"}
    assert card["training"]["age"]["config"] == read_json(age_run / "config.json")
    assert card["training"]["age"]["validation"] == read_json(age_run / "metrics.json")
    assert "non-commercial" in card["licence"]["weights"]
    assert card["intended_use"]
    assert card["limits"]
    assert str(weights_dir.parent) not in json.dumps(card)


def test_checksums_are_those_of_the_files(published):
    weights_dir, card = published
    assert set(card["files"]) == {"age.weights.h5", "gender.weights.h5"}
    for file, checksum in card["files"].items():
        assert file_sha256(weights_dir / NAME / file) == checksum
    # Half precision: two bytes a weight.
    size = sum((weights_dir / NAME / file).stat().st_size for file in card["files"])
    assert size < 2.2 * card["parameters"]


def test_nothing_else_is_left_in_the_weights_folder(published):
    weights_dir, _ = published
    assert [path.name for path in weights_dir.iterdir()] == [NAME]
    assert {path.name for path in (weights_dir / NAME).iterdir()} == {
        "age.weights.h5",
        "gender.weights.h5",
        "card.json",
        "history.csv",
    }


def test_calibration_is_of_the_validation_split_and_figures_are_of_the_test_split(published, dataset):
    _, card = published
    sizes = assign_splits(dataset).value_counts()
    assert card["calibration"]["age"]["method"] == "distribution"
    for task in ("age", "gender"):
        assert card["calibration"][task]["n"] == sizes["validation"]
        assert card["calibration"][task]["split"] == "validation"
    metrics = card["metrics"]
    assert metrics["split"] == "test"
    assert metrics["n"] == sizes["test"]
    assert 0 < metrics["age"]["mae"] < 60
    assert 0 <= metrics["gender"]["accuracy"] <= 1
    assert metrics["ms_per_face"] > 0
    assert "model" not in metrics


def test_the_history_holds_both_runs(published, age_run, gender_run):
    weights_dir, _ = published
    history = read_history(weights_dir / NAME / "history.csv")
    assert history["task"].tolist() == ["age", "age", "gender", "gender"]
    expected = read_history(age_run / "history.csv")["val_mae"].tolist()
    assert history["val_mae"].tolist()[:2] == pytest.approx(expected)
    [record] = list_runs(weights_dir, weights_dir / "no runs")
    assert (record.id, record.status["state"]) == (NAME, "published")
    assert len(record.history) == len(history)


def test_the_model_predicts_chips(published, dataset):
    weights_dir, card = published
    chips = np.stack([read_chip(dataset.folder / file) for file in dataset.table["file"][:5]])
    answers = Predictor(NAME, weights_dir=weights_dir).predict_chips(chips)
    assert len(answers) == 5
    for age, gender in answers:
        assert 0 <= age.low <= age.years <= age.high <= MAX_AGE
        assert age.coverage == card["calibration"]["age"]["coverage"]
        assert age.distribution.sum() == pytest.approx(1, abs=1e-4)
        assert gender.label in GENDERS
        assert 0.5 <= gender.probability <= 1


def test_the_model_is_listed(published):
    weights_dir, card = published
    row = next(row for row in describe_models(weights_dir) if row["name"] == NAME)
    assert row["trained"]
    assert row["input"] == [32, 32]
    assert row["parameters"] == card["parameters"]
    assert row["metrics"] == card["metrics"]


def test_publishing_again_replaces_the_whole_model_and_one_task_will_do(
    published, gender_run, dataset, tmp_path
):
    weights_dir, _ = published
    shutil.copytree(weights_dir / NAME, tmp_path / NAME)
    card = publish({"gender": gender_run}, NAME, dataset, title="Gender alone", weights_dir=tmp_path)
    assert card["tasks"] == ["gender"]
    assert set(card["calibration"]) == set(card["training"]) == {"gender"}
    assert "age" not in card["metrics"]
    assert (
        {path.name for path in (tmp_path / NAME).glob("*.h5")} == set(card["files"]) == {"gender.weights.h5"}
    )
    predictor = Predictor(NAME, weights_dir=tmp_path)
    assert predictor.card["title"] == "Gender alone"
    [(age, gender)] = predictor.predict_chips(np.zeros((1, 50, 50, 3), np.uint8))
    assert age is None
    assert gender.label in GENDERS


# --- refusals: each leaves no folder --------------------------------------------------------------------


def refused(runs: dict, dataset: Dataset, weights_dir: Path, error: type, words: str) -> None:
    with pytest.raises(error, match=words):
        publish(runs, NAME, dataset, title="x", weights_dir=weights_dir)
    assert not weights_dir.exists() or list(weights_dir.iterdir()) == []


def test_runs_of_the_other_task_are_refused(age_run, gender_run, dataset, tmp_path):
    refused({"age": gender_run, "gender": age_run}, dataset, tmp_path / "w", ConfigError, "trained for")


def test_runs_on_different_splits_are_refused(age_run, run_copy, dataset, tmp_path):
    run = run_copy("gender")
    environment = read_json(run / "environment.json")
    environment["split"]["hash"] = "0" * 64
    write_json(run / "environment.json", environment)
    refused({"age": age_run, "gender": run}, dataset, tmp_path / "w", ConfigError, "different splits")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"hidden": [4]}, "hidden"),
        ({"input_size": [64, 64]}, "input_size"),
        ({"backbone": "vgg16", "input_size": [48, 48]}, "backbone"),
    ],
)
def test_runs_of_different_networks_are_refused(age_run, run_copy, dataset, options, words):
    run = run_copy("gender")
    change_config(run, **options)
    refused({"age": age_run, "gender": run}, dataset, run.parent / "w", ConfigError, words)


def test_a_run_without_a_record_is_refused(age_run, dataset, tmp_path):
    (tmp_path / "run").mkdir()
    refused(
        {"age": age_run, "gender": tmp_path / "run"}, dataset, tmp_path / "w", ConfigError, r"config\.json"
    )


def test_a_run_without_weights_is_refused(age_run, run_copy, dataset, tmp_path):
    run = run_copy("gender")
    (run / "best.weights.h5").unlink()
    runs = {"age": age_run, "gender": run}
    refused(runs, dataset, tmp_path / "w", AgeGenderError, r"best\.weights\.h5")


def test_weights_that_do_not_fit_the_recipe_are_refused(run_copy, dataset, tmp_path):
    run = run_copy("gender")
    change_config(run, hidden=[5])
    refused({"gender": run}, dataset, tmp_path / "w", AgeGenderError, r"best\.weights\.h5")


def test_a_dataset_without_a_test_split_is_refused(gender_run, fake_utkface, tmp_path):
    chips = tmp_path / "chips"
    chips.mkdir()
    dataset = read_dataset(fake_utkface)
    held = dataset.table["file"][assign_splits(dataset) == "validation"]
    for file in held:
        shutil.copy(fake_utkface / file, chips)
    refused({"gender": gender_run}, read_dataset(chips), tmp_path / "w", DatasetError, "test")


def test_a_failure_half_way_leaves_the_model_that_was_there(published, gender_run, dataset, tmp_path):
    """Publishing over a good model and failing must not cost the good one."""
    weights_dir, card = published
    shutil.copytree(weights_dir / NAME, tmp_path / NAME)

    def fail(*_args, **_kwargs):
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(module, "evaluate", fail)
        publish({"gender": gender_run}, NAME, dataset, title="x", weights_dir=tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [NAME]
    assert read_json(tmp_path / NAME / "card.json") == card
    for file, checksum in card["files"].items():
        assert file_sha256(tmp_path / NAME / file) == checksum
