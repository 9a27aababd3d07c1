"""From two runs to a model that predicts, or to nothing at all."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest
from PIL import Image

from agegender import Predictor
from agegender.data.pictures import read_chip
from agegender.data.split import partition
from agegender.data.split_file import check_split
from agegender.data.table import Dataset, read_dataset
from agegender.errors import AgeGenderError, ConfigError, DatasetError, ModelError
from agegender.labels import GENDERS, MAX_AGE
from agegender.models.card import find_model, read_card, write_card
from agegender.models.registry import get_system, list_models
from agegender.models.store import file_sha256
from agegender.models.trained import TrainedModel
from agegender.publishing import publish as module
from agegender.publishing.light import MOST_PROBABILITY, MOST_YEARS
from agegender.publishing.provenance import FinishedRun, provenance
from agegender.publishing.publish import measure_again, publish
from agegender.publishing.sets import measure_sets
from agegender.reports.card import card_markdown
from agegender.runs.records import list_runs, read_history, read_json, write_json
from agegender.training.config import TrainingConfig
from tests.training.conftest import trained

NAME = "tiny-pair"
QUICK = {"title": "x", "corruptions": False, "light": False}


class Nobody:
    """A detector that finds no face."""

    def detect_many(self, images):
        return [[] for _ in images]


@pytest.fixture(scope="module")
def published(age_run, gender_run, dataset, tmp_path_factory) -> tuple[Path, dict]:
    weights_dir = tmp_path_factory.mktemp("weights")
    runs = {"age": age_run, "gender": gender_run}
    notes = ("Made in a test.",)
    card = publish(runs, NAME, dataset, title="A tiny pair", notes=notes, weights_dir=weights_dir)
    # As JSON gives it: tuples become lists.
    return weights_dir, json.loads(json.dumps(card))


@pytest.fixture(scope="module")
def both_run(tiny, dataset, tmp_path_factory) -> Path:
    """The record of one network for both tasks."""
    return trained(tmp_path_factory.mktemp("runs") / "both", tiny("both"), dataset)


@pytest.fixture
def run_copy(age_run, gender_run, tmp_path):
    """Makes a copy of a run to change."""

    def make(task: str) -> Path:
        source = age_run if task == "age" else gender_run
        shutil.copytree(source, tmp_path / task)
        return tmp_path / task

    return make


def change_config(run: Path, changes: dict | None = None, **options) -> None:
    values = read_json(run / "config.json") | (changes or {})
    values["options"] |= options
    write_json(run / "config.json", values)


def test_the_card_on_disk_is_the_one_returned(published):
    weights_dir, card = published
    assert read_card(NAME, weights_dir) == card


def test_the_card_says_all_that_it_should(published, age_run, dataset):
    weights_dir, card = published
    environment = read_json(age_run / "environment.json")
    assert (card["name"], card["system"], card["title"]) == (NAME, "vggface", "A tiny pair")
    assert card["tasks"] == ["age", "gender"]
    assert card["options"]["backbone"] == "tiny"
    assert card["options"]["input_size"] == [32, 32]
    assert card["options"]["hidden"] == [8]
    networks = TrainedModel(NAME, weights_dir).networks
    assert card["parameters"] == sum(network.count_params() for network in networks.values())
    assert card["base"] == "random"
    assert card["data"]["files"] == len(dataset.table)
    assert card["split"] == {**environment["split"], "file": "split.txt"}
    assert card["notes"] == ["Made in a test."]
    assert set(card["training"]) == {"age", "gender"}
    assert card["training"]["age"]["config"] == read_json(age_run / "config.json")
    assert card["training"]["age"]["validation"] == read_json(age_run / "metrics.json")
    assert card["training"]["age"]["run"] == age_run.name
    assert card["training"]["age"]["seconds"] == read_json(age_run / "metrics.json")["seconds"]
    assert "non-commercial" in card["licence"]["weights"]
    assert "random" in card["licence"]["base"]
    assert card["intended_use"]
    assert card["limits"]
    assert str(weights_dir.parent) not in json.dumps(card)


def test_checksums_are_those_of_the_files(published):
    weights_dir, card = published
    assert set(card["files"]) == {"age.weights.h5", "gender.weights.h5"}
    for file, checksum in card["files"].items():
        assert file_sha256(weights_dir / NAME / file) == checksum
        with h5py.File(weights_dir / NAME / file) as weights:
            assert weights["layers/dense/vars/0"].dtype == "float16"


def test_the_light_form_is_proved_on_the_test_split_and_answers_for_the_model(published, dataset):
    weights_dir, card = published
    light, folder = card["light"], weights_dir / NAME
    assert light["files"] == {file: file_sha256(folder / file) for file in ("age.tflite", "gender.tflite")}
    assert light["runtime"] == Predictor(NAME, weights_dir=weights_dir).load().runtime == "LiteRT"
    difference = light["difference"]
    assert (difference["split"], difference["n"]) == ("test", card["metrics"]["n"])
    assert 0 < difference["age"] < MOST_YEARS / 10
    assert 0 <= difference["female"] < MOST_PROBABILITY / 10
    half = sum((folder / f"{task}.weights.h5").stat().st_size for task in ("age", "gender"))
    assert sum((folder / file).stat().st_size for file in light["files"]) < 1.05 * half


def test_a_light_form_that_answers_otherwise_is_not_published(published, dataset, tmp_path, monkeypatch):
    weights_dir, _ = published
    shutil.copytree(weights_dir / NAME, tmp_path / NAME)
    kept = {path.name: path.read_bytes() for path in (tmp_path / NAME).iterdir()}

    # Converting anew would give these again, which differ, if by little: here by more than is let through.
    converted = iter([kept["age.tflite"], kept["gender.tflite"]])
    monkeypatch.setattr("agegender.publishing.light.to_litert", lambda _: next(converted))
    monkeypatch.setattr("agegender.publishing.light.MOST_YEARS", 0.0)
    with pytest.raises(ModelError, match=r"differs .* in age:"):
        measure_again(NAME, dataset, light=True, weights_dir=tmp_path)
    assert {path.name: path.read_bytes() for path in (tmp_path / NAME).iterdir()} == kept


def test_nothing_else_is_left_in_the_weights_folder(published):
    weights_dir, _ = published
    assert [path.name for path in weights_dir.iterdir()] == [NAME]
    assert {path.name for path in (weights_dir / NAME).iterdir()} == {
        "age.tflite",
        "gender.tflite",
        "age.weights.h5",
        "gender.weights.h5",
        "card.json",
        "metrics.json",
        "history.csv",
        "split.txt",
    }


def test_calibration_is_of_its_half_of_validation_and_figures_are_of_the_test_split(published, dataset):
    _, card = published
    sizes = partition(dataset).sizes()
    assert card["calibration"]["age"]["method"] == "bands"
    for task in ("age", "gender"):
        assert card["calibration"][task]["n"] == sizes["calibration"]
        assert card["calibration"][task]["split"] == "calibration"
    metrics = card["metrics"]
    assert metrics["split"] == "test"
    assert metrics["n"] == sizes["test"]
    assert 0 < metrics["age"]["mae"] < 60
    assert 0 <= metrics["gender"]["accuracy"] <= 1
    assert metrics["ms_per_face"] > 0
    assert "model" not in metrics


def test_groups_and_corruptions_are_of_the_test_split(published, dataset):
    _, card = published
    train, test = (partition(dataset).rows(name) for name in ("train", "test"))
    groups = card["groups"]
    assert groups["overall"]["n"] == sum(f["n"] for f in groups["by_age"].values()) == len(test)
    assert groups["by_ethnicity"]["White"]["n"] == (test["ethnicity"] == 0).sum()
    assert groups["baseline"]["age"] == train["age"].median()
    assert len(card["corruptions"]["by_kind"]) == 7
    assert "detect" not in card


def test_the_split_is_recorded_beside_the_model(published, dataset):
    weights_dir, card = published
    splits = partition(dataset)
    path = weights_dir / NAME / card["split"]["file"]
    assert check_split(path, splits.digests, splits.names).same
    assert card["split"]["hash"] in path.read_text(encoding="ascii")


def test_the_card_can_be_rendered(published):
    _, card = published
    text = card_markdown(card)
    assert "Made in a test." in text
    assert f"{card['metrics']['n']} chips of the test split" in text


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
        assert age.years == round(age.years)
        assert age.coverage == card["calibration"]["age"]["coverage"]
        assert age.distribution.sum() == pytest.approx(1, abs=1e-4)
        assert gender.label in GENDERS
        assert 0.5 <= gender.probability <= 1


def test_the_model_is_listed(published):
    weights_dir, card = published
    row = next(row for row in list_models(weights_dir) if row["name"] == NAME)
    assert row["trained"]
    assert row["input"] == [32, 32]
    assert row["parameters"] == card["parameters"]
    assert row["metrics"] == card["metrics"]


def test_publishing_again_replaces_the_whole_model_and_one_task_will_do(
    published, gender_run, dataset, tmp_path
):
    weights_dir, _ = published
    shutil.copytree(weights_dir / NAME, tmp_path / NAME)
    how = {**QUICK, "title": "Gender alone", "detector": Nobody(), "weights_dir": tmp_path}
    card = publish({"gender": gender_run}, NAME, dataset, **how)
    assert "corruptions" not in card
    assert card["detect"]["no_face"] == card["metrics"]["n"]
    assert (card["detect"]["n"], card["detect"]["split"]) == (0, "test")
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


def test_one_network_for_both_is_one_file(both_run, dataset, tmp_path):
    seen = []
    card = publish(
        {"both": both_run},
        NAME,
        dataset,
        **QUICK | {"title": "Both in one"},
        progress=lambda what, done, total: seen.append((what, done <= total)),
        weights_dir=tmp_path,
    )
    assert set(card["files"]) == {"both.weights.h5"}
    assert card["tasks"] == ["age", "gender"]
    assert set(card["training"]) == {"both"}
    assert {"age", "gender"} <= set(card["metrics"])
    [(age, gender)] = Predictor(NAME, weights_dir=tmp_path).predict_chips(np.zeros((1, 50, 50, 3), np.uint8))
    assert age.coverage == 0.9
    assert gender.label in GENDERS
    assert dict(seen) == dict.fromkeys(("Reading", "Comparing photos", "Calibrating", "Predicting"), True)


def test_the_run_that_training_went_on_from_is_in_the_card(age_run, both_run, run_copy, dataset, tmp_path):
    """So are its time and its teacher, but no folder of this machine."""
    run = run_copy("gender")
    start = tmp_path / "first-half"
    shutil.copytree(both_run, start)
    change_config(start, {"teacher": "vggface"})
    change_config(run, {"start": f"/elsewhere/runs/{start.name}", "teacher": "vggface"})
    environment = read_json(run / "environment.json")
    write_json(run / "environment.json", environment | {"base": "random, then run first-half (conv1, conv2)"})
    own, before = (read_json(folder / "metrics.json")["seconds"] for folder in (run, start))
    (start / "metrics.json").unlink()  # a run that was killed leaves none
    card = publish({"gender": run}, NAME, dataset, **QUICK, weights_dir=tmp_path / "weights")
    record = card["training"]["gender"]
    assert record["config"]["start"] == record["start"]["run"] == "first-half"
    assert record["start"]["validation"] == {
        "split": "selection",
        "epochs": len(read_history(start / "history.csv")),
        "seconds": pytest.approx(before, abs=0.1),
        "ended": "killed",
    }
    assert record["seconds"] == pytest.approx(own + before, abs=0.1)
    assert card["teachers"] == ["vggface"]
    assert card["base"] == "random"
    assert "/elsewhere" not in json.dumps(card)
    assert str(tmp_path) not in json.dumps(card)


def test_epochs_of_another_system_which_gave_its_backbone_only_are_not_told(
    both_run, run_copy, dataset, tmp_path
):
    run, start = run_copy("gender"), tmp_path / "backbone"
    shutil.copytree(both_run, start)
    change_config(run, {"start": str(start)})
    own = len(read_history(run / "history.csv"))
    for system, told in (("vggface", own + len(read_history(start / "history.csv"))), ("age-range", own)):
        change_config(start, {"system": system})
        card = publish({"gender": run}, NAME, dataset, **QUICK, weights_dir=tmp_path / "weights")
        history = read_history(tmp_path / "weights" / NAME / "history.csv")
        assert history["epoch"].tolist() == list(range(1, told + 1))
        record = card["training"]["gender"]
        assert record["kept_epoch"] == told - own + record["validation"]["best_epoch"]
        assert record["start"]["run"] == "backbone"  # the card tells it all the same


def test_of_a_published_start_the_card_tells_what_that_model_s_card_does(run_copy, dataset, tmp_path):
    run = run_copy("gender")
    change_config(run, {"start": "vggface"})
    card = publish({"gender": run}, NAME, dataset, **QUICK, weights_dir=tmp_path / "weights")
    record, before = card["training"]["gender"], read_card("vggface")["training"]["gender"]
    assert record["start"] == before
    own = read_history(run / "history.csv")
    assert record["seconds"] == pytest.approx(own["seconds"].sum() + before["seconds"], abs=0.1)
    # Its epochs come first, without those of the age network, which this one did not go on from.
    history, earlier = (
        read_history(model / "history.csv") for model in (tmp_path / "weights" / NAME, find_model("vggface"))
    )
    earlier = earlier[earlier["task"] != "age"]
    assert history["loss"].tolist() == [*earlier["loss"], *own["loss"]]
    assert history["epoch"].tolist() == list(range(1, len(history) + 1))
    assert record["kept_epoch"] == len(earlier) + record["validation"]["best_epoch"]


@pytest.mark.parametrize("how", ["start", "teacher", "start of its start"])
def test_the_terms_are_those_of_all_that_it_learnt_from(how, run_copy, both_run, dataset, tmp_path):
    """Not of the last run's sources alone: those of a model gone on from, or taught by, bind too."""
    run = run_copy("gender")
    own = {"sources": ["fairface"]}
    if how == "start of its start":
        shutil.copytree(both_run, tmp_path / "before")
        change_config(tmp_path / "before", {"start": "vggface", **own})
        change_config(run, {"start": str(tmp_path / "before")})
    else:
        change_config(run, {how: "vggface"})
    change_config(run, own)
    network = FinishedRun.of("gender", run)
    card = provenance([network])
    assert set(card["data"]["name"].split(", ")) == {"FairFace", "UTKFace", "APPA-REAL", "All-Age-Faces"}
    assert "non-commercial: trained on UTKFace" in card["licence"]["weights"]
    change_config(run, {"start": None, "teacher": None})
    assert provenance([network])["licence"]["weights"] == "As the data: attribution."


def test_a_teacher_that_is_not_here_binds_as_nobody_knows_on_what_terms(run_copy):
    run = run_copy("gender")
    change_config(run, {"sources": ["fairface"], "teacher": "somebody"})
    card = provenance([FinishedRun.of("gender", run)])
    assert card["data"]["name"] == "FairFace, somebody"
    assert "non-commercial: trained on somebody" in card["licence"]["weights"]


def test_layers_that_a_pair_has_in_common_are_stored_once(published, age_run, run_copy, dataset, tmp_path):
    run = run_copy("gender")
    networks = {}
    for task, folder in (("age", age_run), ("gender", run)):
        config = TrainingConfig.read(folder / "config.json")
        networks[task] = get_system(config.system).build(task, config.options)
        networks[task].load_weights(folder / "best.weights.h5")
    backbones = [net.get_layer("tiny") for net in networks.values()]
    backbones[1].set_weights(backbones[0].get_weights())
    networks["gender"].save_weights(run / "best.weights.h5")

    card = publish(
        {"age": age_run, "gender": run}, NAME, dataset, **QUICK, share=True, weights_dir=tmp_path / "weights"
    )
    for file, checksum in card["files"].items():
        assert file_sha256(tmp_path / "weights" / NAME / file) == checksum
    held_by = read_json(tmp_path / "weights" / NAME / "gender.weights.json")["weight_map"]
    shared = {file for path, file in held_by.items() if "conv" in path}
    assert shared == {"age.weights.h5"} < set(held_by.values())
    assert card["metrics"]["age"] == published[1]["metrics"]["age"]
    held = TrainedModel(NAME, tmp_path / "weights").networks["gender"].get_weights()
    for found, trained_to in zip(held, networks["gender"].get_weights(), strict=True):
        np.testing.assert_allclose(found, trained_to, rtol=1e-2, atol=1e-3)


def test_a_start_that_is_gone_is_named_all_the_same_and_another_state_of_the_dataset_is_told(
    run_copy, dataset, tmp_path
):
    run = run_copy("gender")
    change_config(run, {"start": "runs/long-gone"})
    environment = read_json(run / "environment.json")
    environment["split"]["hash"] = "0" * 64
    write_json(run / "environment.json", environment)
    card = publish({"gender": run}, NAME, dataset, **QUICK, weights_dir=tmp_path / "weights")
    assert any("another state" in note for note in card["notes"])
    assert card["training"]["gender"]["config"]["start"] == "long-gone"
    assert "start" not in card["training"]["gender"]


# --- refusals: each leaves no folder --------------------------------------------------------------------


def refused(runs: dict, dataset: Dataset, weights_dir: Path, error: type, words: str) -> None:
    with pytest.raises(error, match=words):
        publish(runs, NAME, dataset, title="x", weights_dir=weights_dir)
    assert not weights_dir.exists() or list(weights_dir.iterdir()) == []


def test_a_published_model_is_calibrated_and_measured_anew_on_the_same_split(published, dataset, tmp_path):
    weights_dir, card = published
    shutil.copytree(weights_dir / NAME, tmp_path / NAME)
    stale = json.loads(json.dumps(card))
    stale["calibration"]["age"] |= {"n": 10, "split": "validation", "band_tails": [0.2] * 9}
    stale["metrics"]["gender"]["accuracy"] = 2.0
    stale["corruptions"]["mean"] = {}
    write_card(tmp_path / NAME, stale)
    how = {"corruptions": False, "detector": Nobody, "weights_dir": tmp_path}
    again = json.loads(json.dumps(measure_again(NAME, dataset, detect=False, **how)))
    assert again == read_card(NAME, tmp_path)
    expected = json.loads(json.dumps(card))
    for document in (again, expected):
        assert document["metrics"].pop("ms_per_face") > 0
    assert again == expected
    assert measure_again(NAME, dataset, detect=True, **how)["detect"]["no_face"] == card["metrics"]["n"]
    assert [path.name for path in tmp_path.iterdir()] == [NAME]

    card_elsewhere = json.loads(json.dumps(card))
    card_elsewhere["split"]["hash"] = "of another state"
    write_card(tmp_path / NAME, card_elsewhere)
    with pytest.raises(ConfigError, match="split"):
        measure_again(NAME, dataset, detect=False, **how)


def test_photos_of_other_sources_are_measured_as_they_stand_and_change_nothing_else(
    published, dataset, astronaut, tmp_path
):
    weights_dir, card = published
    shutil.copytree(weights_dir / NAME, tmp_path / "w" / NAME)
    folder = tmp_path / "photos"
    folder.mkdir()
    for name, pixels in (("a", astronaut), ("b", astronaut[:, ::-1]), ("none", np.zeros_like(astronaut))):
        Image.fromarray(pixels).save(folder / f"{name}.png")
    rows = "a.png,30-39,female,Black,dev\nb.png,20-29,male,White,dev\nnone.png,5,male,,dev\nc.png,5,male,,\n"
    (folder / "labels.csv").write_text("file,age,gender,group,split\n" + rows)
    photos = read_dataset(folder)

    measured = measure_sets(NAME, [photos], weights_dir=tmp_path / "w")
    assert measured == read_card(NAME, tmp_path / "w")
    found = measured.pop("sets")["photos"]
    assert measured == card
    assert (found["split"], found["n"], found["no_face"]) == ("dev", 2, 1)
    assert found["age"]["ranges_n"] == 2
    assert set(found["by_group"]) == {"Black", "White"}
    assert found["groups"]["overall"]["n"] == 2

    with pytest.raises(ConfigError, match="photos too"):
        measure_again(NAME, dataset, weights_dir=tmp_path / "w")
    with pytest.raises(ConfigError, match="named once"):
        measure_sets(NAME, [photos, photos], weights_dir=tmp_path / "w")
    with pytest.raises(DatasetError, match="dev"):
        measure_sets(NAME, [dataset], weights_dir=tmp_path / "w")


def test_runs_of_the_other_task_are_refused(age_run, gender_run, dataset, tmp_path):
    refused({"age": gender_run, "gender": age_run}, dataset, tmp_path / "w", ConfigError, "trained for")


def test_a_pair_and_one_for_both_are_not_mixed(age_run, both_run, dataset, tmp_path):
    refused({"age": age_run, "both": both_run}, dataset, tmp_path / "w", ConfigError, "or both")
    refused({}, dataset, tmp_path / "w", ConfigError, "or both")


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


def test_chips_of_one_gender_are_refused(age_run, gender_run, fake_utkface, tmp_path):
    """Whatever a network says of them, it is right, or wrong, every time."""
    (tmp_path / "chips").mkdir()
    for i, path in enumerate(sorted(fake_utkface.glob("*_*_*_*.jpg.chip.jpg"))):
        shutil.copy(path, tmp_path / "chips" / f"{path.name.split('_')[0]}_1_0_20180101{i:09d}.jpg.chip.jpg")
    women = read_dataset(tmp_path / "chips")
    refused({"gender": gender_run}, women, tmp_path / "w", DatasetError, "labelled female")
    refused({"age": age_run, "gender": gender_run}, women, tmp_path / "w", DatasetError, "labelled female")


def test_a_dataset_without_a_test_split_is_refused(gender_run, fake_utkface, tmp_path):
    chips = tmp_path / "chips"
    chips.mkdir()
    dataset = read_dataset(fake_utkface)
    for file in partition(dataset).rows("validation")["file"]:
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
        publish({"gender": gender_run}, NAME, dataset, title="x", light=False, weights_dir=tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [NAME]
    assert read_card(NAME, tmp_path) == card
    for file, checksum in card["files"].items():
        assert file_sha256(tmp_path / NAME / file) == checksum
