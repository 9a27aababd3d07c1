"""`python train.py`: refusals that say what to do, real tiny runs and recipes, and how stopped ones go on."""

from __future__ import annotations

import importlib.util
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pandas as pd
import pytest

from agegender.data.table import DATA_ENVIRONMENT_VARIABLE
from agegender.models.systems.vggface import VGGFaceOptions
from agegender.runs.records import lock_folder, read_history, read_json, write_json
from agegender.training.config import Stage, TrainingConfig
from agegender.training.recipes import finished_runs
from agegender.training.tracking import Tracker

ROOT = Path(__file__).parents[1]

TINY = shlex.split("--input-size 32 --base-weights none --head-epochs 1 --epochs 0 --batch-size 128 --quiet")


@pytest.fixture(scope="module")
def cli() -> ModuleType:
    spec = importlib.util.spec_from_file_location("train_cli", ROOT / "train.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["train_cli"] = module  # where dataclasses look for their module
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def call(cli, fake_utkface, tmp_path) -> Callable[..., int]:
    """Runs the command line on the fake dataset, with its records under ``tmp_path / "runs"``."""

    def run(*arguments: str, data: Path = fake_utkface) -> int:
        return cli.main(["--data", str(data), "--runs", str(tmp_path / "runs"), *arguments])

    return run


@pytest.fixture(scope="module")
def eager():
    """Tracing MobileNet takes far longer than the single step of these runs."""
    import tensorflow as tf

    tf.config.run_functions_eagerly(True)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*run_functions_eagerly")
        yield
    tf.config.run_functions_eagerly(False)


@pytest.fixture(autouse=True)
def no_default_folder(monkeypatch):
    monkeypatch.delenv(DATA_ENVIRONMENT_VARIABLE, raising=False)


@pytest.fixture
def fake_train(monkeypatch):
    """Training itself replaced: remembers what it was asked."""
    calls = []

    def train(config, dataset, folder, **options):
        calls.append({"config": config, "dataset": dataset, "folder": folder, **options})
        return {"split": "selection"}

    monkeypatch.setattr("agegender.training.loop.train", train)
    return calls


def records(runs: Path) -> list[Path]:
    """Folders of runs, without the caches beside them."""
    return list(runs.glob("[!.]*"))


@pytest.mark.parametrize(
    ("folder", "words"), [(None, ""), ("nowhere", "nowhere"), ("", "no images named like")]
)
def test_no_dataset_exits_2_with_how_to_get_it(cli, capsys, tmp_path, folder, words):
    data = [] if folder is None else ["--data", str(tmp_path / folder)]
    assert cli.main(["--task", "age", *data]) == 2
    message = capsys.readouterr().err
    for told in (words, "https://susanqq.github.io/UTKFace/", "--data", DATA_ENVIRONMENT_VARIABLE):
        assert told in message
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "arguments",
    [
        "",
        "--data somewhere",
        "--task height",
        "--task age --speed 9",
        "--task age --epochs many",
        "--task",
        "--recipe vggface --resume",
    ],
)
def test_wrong_options_exit_2(cli, arguments, capsys):
    with pytest.raises(SystemExit) as caught:
        cli.main(shlex.split(arguments))
    assert caught.value.code == 2
    assert "usage:" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ("--epochs -1", "epochs"),
        ("--dropout 1.5", "dropout"),
        ("--backbone resnet", "mobilenet"),
        ("--age-head ordinal", "distribution"),
        ("--augmentation -1", "augmentation"),
        ("--learning-rate nan", "learning_rate"),
        ("--system quantum", "vggface"),
        ("--input-size 100", "100x100"),
        ("--frozen-blocks 99", "frozen_blocks"),
        ("--balance age --teacher nobody", "nobody"),
        ("--start nowhere", "nowhere"),
        ("--base-weights gone.weights.h5", "gone.weights.h5"),
        ("--recipe nobody", "nobody"),
        ("--resume", "runs"),
        ("--resume 20260101-000000-vggface-age", "runs"),
    ],
)
def test_options_that_make_no_sense_exit_2_and_leave_no_run(call, options, words, tmp_path, capsys):
    others = [] if "--resume" in options else TINY
    assert call("--task", "age", *others, *shlex.split(options)) == 2
    assert words in capsys.readouterr().err
    assert records(tmp_path / "runs") == []


def test_base_weights_of_another_network_exit_2(call, tmp_path, capsys):
    path = tmp_path / "other.weights.h5"
    path.write_bytes(b"no weights")
    assert call("--task", "age", *TINY, "--base-weights", str(path)) == 2
    assert "other.weights.h5" in capsys.readouterr().err


def test_options_become_the_config(call, fake_train, tmp_path):
    arguments = (
        "--task gender --backbone vgg16 --input-size 96 --dropout 0.4 --head-epochs 3 --epochs 7"
        " --frozen-blocks 2 --batch-size 16 --head-learning-rate 0.01 --learning-rate 0.001"
        " --ema-momentum 0.9 --patience 4 --augmentation 0.5 --limit 50 --seed 8 --base-weights none"
        " --layer-decay 0.8 --teacher vggface --teacher-weight 0.7 --balance both --precision mixed_bfloat16"
        " --weighting uncertainty --start none --quiet"
    )
    assert call(*shlex.split(arguments)) == 0
    [asked] = fake_train
    assert asked["config"] == TrainingConfig(
        "gender",
        options=VGGFaceOptions("vgg16", (96, 96), dropout=0.4),
        base_weights="none",
        stages=(Stage("head", 3, 0.01, "all"), Stage("finetune", 7, 0.001, 2)),
        batch_size=16,
        layer_decay=0.8,
        ema_momentum=0.9,
        teacher="vggface",
        teacher_weight=0.7,
        balance="both",
        weighting="uncertainty",
        precision="mixed_bfloat16",
        patience=4,
        augmentation=TrainingConfig("gender").augmentation.scaled(0.5),
        limit=50,
        seed=8,
    )
    assert (asked["resume"], asked["quiet"], asked["strategy"]) == (False, True, "none")
    assert asked["folder"].parent == tmp_path / "runs"
    assert len(asked["dataset"].table) == 120


def test_all_blocks_may_be_frozen_and_help_names_defaults(call, cli, fake_train):
    assert call("--task", "age", "--frozen-blocks", "all") == 0
    assert fake_train[0]["config"].stages[-1].frozen_blocks == "all"
    text = " ".join(cli.parser().format_help().split())
    for words in ("--plateau-factor X divides the rate, under plateau; default 2.0", "default adamw"):
        assert words in text


def test_without_options_the_config_is_the_default(call, fake_train, capsys):
    assert call("--task", "age") == 0
    assert call("--system", "age-range") == 0  # which trains both unless it is told otherwise
    assert call("--system", "age-range", "--task", "age") == 0
    assert fake_train[0]["config"] == TrainingConfig("age")
    assert [asked["config"].task for asked in fake_train] == ["age", "both", "age"]
    assert f"record: {fake_train[0]['folder']}" in capsys.readouterr().err
    assert fake_train[0]["folder"].is_dir()


def test_the_environment_names_the_dataset(cli, fake_train, fake_utkface, tmp_path, monkeypatch):
    monkeypatch.setenv(DATA_ENVIRONMENT_VARIABLE, str(fake_utkface))
    assert cli.main(["--task", "age", "--runs", str(tmp_path)]) == 0
    assert fake_train[0]["dataset"].folder == fake_utkface


def test_a_start_is_a_run_by_its_bare_name_its_path_or_a_model(call, fake_train, stopped_run):
    for start in (stopped_run.name, str(stopped_run), "vggface"):
        assert call("--task", "age", "--start", start) == 0
    assert [asked["config"].start for asked in fake_train] == [str(stopped_run)] * 2 + ["vggface"]


def test_strategy_and_tracker_are_handed_on_and_decide_nothing(
    call, fake_train, stopped_run, monkeypatch, capsys
):
    monkeypatch.setitem(sys.modules, "trackio", ModuleType("trackio"))
    assert call("--task", "age") == 0
    assert call("--task", "age", "--strategy", "mirrored", "--track", "trackio") == 0
    assert call("--task", "age", "--resume", stopped_run.name, "--strategy", "mirrored") == 0
    plain, other, resumed = fake_train
    assert (plain["tracker"], plain["strategy"]) == (None, "none")
    assert isinstance(other["tracker"], Tracker)
    assert plain["config"] == other["config"] == TrainingConfig("age")
    assert (resumed["strategy"], resumed["resume"]) == ("mirrored", True)
    assert "trackio show --project agegender" in capsys.readouterr().err


def test_without_trackio_tracking_is_refused_before_any_work(cli, fake_train, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "trackio", None)
    assert cli.main(["--task", "age", "--track", "trackio", "--data", "nowhere"]) == 2
    message = capsys.readouterr().err
    assert "pip install -r requirements-track.txt" in message
    assert "nowhere" not in message
    assert fake_train == []


# --- data -----------------------------------------------------------------------------------------------


def test_a_tiny_run_trains_for_real_and_says_what_it_leaves_out(call, eager, fake_utkface, tmp_path, capsys):
    chips = tmp_path / "chips"
    shutil.copytree(fake_utkface, chips)
    for age in range(1, 6):
        (chips / f"{age}_0_0_20180101000000000.jpg.chip.jpg").write_bytes(b"broken")
    assert call("--task", "gender", *TINY, "--limit", "30", data=chips) == 0
    [folder] = records(tmp_path / "runs")
    assert folder.name.endswith("-vggface-gender")
    assert read_json(folder / "status.json")["state"] == "finished"
    assert read_json(folder / "config.json")["limit"] == 30
    assert read_json(folder / "environment.json")["dataset"]["undecodable"] == 5
    assert len(read_history(folder / "history.csv")) == 1
    message = capsys.readouterr().err
    assert "gender on mobilenet at 32x32" in message
    assert f"{folder}: finished after 1 epochs; epoch 1 is kept, with a validation accuracy" in message
    broken = ", ".join(f"{age}_0_0_20180101000000000.jpg.chip.jpg" for age in (1, 2, 3))
    assert f"left out: 5 files that cannot be decoded: {broken}, …\n" in message
    assert "2 files that have no label that can be read: 39_1_20170116174525125.jpg.chip.jpg, 55_" in message


@pytest.mark.parametrize("task", ["gender", "both", "age"])
def test_one_label_only_is_nothing_to_learn_from(call, fake_utkface, tmp_path, capsys, task):
    """A network would be right every time, and know nothing."""
    chips = tmp_path / "chips"
    chips.mkdir()
    for i, path in enumerate(sorted(fake_utkface.glob("*_*_*_*.jpg.chip.jpg"))):
        age, gender = ("30", i % 2) if task == "age" else (path.name.split("_")[0], 1)
        shutil.copy(path, chips / f"{age}_{gender}_0_20180101{i:09d}.jpg.chip.jpg")
    assert call("--task", task, *TINY, data=chips) == 2
    assert f"labelled {'30 years old' if task == 'age' else 'female'}: there is" in capsys.readouterr().err
    assert records(tmp_path / "runs") == []


# --- going on with a run --------------------------------------------------------------------------------


@pytest.fixture
def stopped_run(tmp_path) -> Path:
    folder = tmp_path / "runs" / "20260101-000000-vggface-age"
    folder.mkdir(parents=True)
    write_json(folder / "config.json", TrainingConfig("age", batch_size=16, seed=4).to_dict())
    (folder / "last.weights.h5").write_bytes(b"")
    return folder


@pytest.mark.parametrize("named", ["", "name", "path"])
def test_resume_goes_on_as_the_run_was_started(call, fake_train, stopped_run, named):
    name = {"": [], "name": [stopped_run.name], "path": [str(stopped_run)]}[named]
    assert call(*([] if named == "path" else ["--task", "age"]), "--resume", *name) == 0
    [asked] = fake_train
    assert asked["config"] == TrainingConfig("age", batch_size=16, seed=4)
    assert (asked["folder"], asked["resume"]) == (stopped_run, True)


def test_resume_refuses_other_options_and_another_task(call, fake_train, stopped_run, capsys):
    assert call("--task", "age", "--epochs", "9", "--seed", "1", "--resume", stopped_run.name) == 2
    assert call("--task", "gender", "--resume", stopped_run.name) == 2
    message = capsys.readouterr().err
    assert "epochs, seed" in message
    assert "'age', not 'gender'" in message
    assert fake_train == []


def command_in(message: str) -> list[str]:
    """The arguments of the command that a message offers."""
    line = next(line for line in message.splitlines() if "Go on with: python train.py" in line)
    return shlex.split(line.split("python train.py", 1)[1].strip())


def interrupt(*_args, **_kwargs):
    raise KeyboardInterrupt


@pytest.fixture
def at_home(cli, fake_utkface, tmp_path, monkeypatch) -> Callable[[list[str]], int]:
    """The command line as people call it: the dataset by environment, records where they go by themselves."""
    monkeypatch.setenv(DATA_ENVIRONMENT_VARIABLE, str(fake_utkface))
    monkeypatch.setattr(cli, "RUNS_DIR", tmp_path / "runs")
    return cli.main


def test_ctrl_c_exits_130_with_the_command_that_goes_on_but_with_no_other_data(
    at_home, eager, fake_utkface, tmp_path, capsys
):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("agegender.training.callbacks.Progress.on_train_batch_end", interrupt)
        assert at_home(["--task", "gender", *TINY]) == 130
    message = capsys.readouterr().err
    assert "interrupted" in message
    [folder] = records(tmp_path / "runs")
    assert read_json(folder / "status.json")["state"] == "interrupted"
    go_on = [*command_in(message), "--quiet"]

    other = tmp_path / "other"
    shutil.copytree(fake_utkface, other)
    label = next(other.glob("7*_1_*.jpg.chip.jpg"))
    for change, words in (
        (lambda: label.rename(other / f"1_{label.name.split('_', 1)[1]}"), f"other labels in {other}"),
        (lambda: next(other.glob("1_*.jpg.chip.jpg")).unlink(), f"other files of {other}"),
    ):
        change()
        before = {path: path.read_bytes() for path in folder.iterdir()}
        assert at_home([*go_on, "--data", str(other)]) == 2
        assert words in capsys.readouterr().err
        assert {path: path.read_bytes() for path in folder.iterdir()} == before

    with lock_folder(folder, "trained"):
        assert at_home(go_on) == 2
    assert f"{folder} is being trained by another process" in capsys.readouterr().err
    assert at_home(go_on) == 0
    assert read_json(folder / "status.json")["state"] == "finished"


def test_ctrl_c_before_training_begins_offers_no_run_that_is_not_there(call, monkeypatch, capsys):
    monkeypatch.setattr("agegender.data.split.fingerprint", interrupt)
    assert call("--task", "gender", *TINY) == 130
    assert "--resume" not in capsys.readouterr().err


def test_the_offered_command_keeps_place_strategy_and_tracker(
    at_home, fake_train, stopped_run, monkeypatch, capsys
):
    monkeypatch.setitem(sys.modules, "trackio", ModuleType("trackio"))
    elsewhere = stopped_run.parent.rename(stopped_run.parents[1] / "elsewhere")
    arguments = ["--strategy", "mirrored", "--track", "trackio", "--runs", str(elsewhere)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("agegender.training.loop.train", interrupt)
        assert at_home(["--task", "age", "--resume", *arguments]) == 130
    assert at_home(command_in(capsys.readouterr().err)) == 0
    [asked] = fake_train
    assert (asked["folder"], asked["strategy"]) == (elsewhere / stopped_run.name, "mirrored")
    assert isinstance(asked["tracker"], Tracker)


# --- recipes --------------------------------------------------------------------------------------------

RECIPE = """
system = "scratch-cnn"
batch_size = 32
optimizer = "adam"
ema_momentum = 0.0
[options]
filters = [4, 4, 4]
hidden = 8
input_size = [32, 32]
[[runs]]
name = "both"
stages = [{ name = "all", epochs = 1, learning_rate = 1e-3 }]
[[runs]]
name = "age"
task = "age"
start = "both"
stages = [{ name = "all", epochs = 3, learning_rate = 1e-3 }]
"""


@pytest.fixture
def recipe(tmp_path) -> Path:
    path = tmp_path / "tiny.toml"
    path.write_text(RECIPE, encoding="utf-8")
    return path


def runs_of(folder: Path) -> dict[str, Path]:
    labelled = {path: read_json(path / "environment.json").get("recipe") for path in records(folder)}
    return {label["run"]: path for path, label in labelled.items() if label}


@pytest.mark.slow
@pytest.mark.usefixtures("eager")
def test_a_killed_recipe_goes_on_where_it_was_and_ends_like_one_that_was_not(
    at_home, fake_utkface, recipe, tmp_path, capsys
):
    """Killed in its second run: the first is not trained again, the second from its last epoch."""
    command = [sys.executable, str(ROOT / "train.py"), "--recipe", str(recipe)]
    runs = tmp_path / "runs"
    environment = {**os.environ, DATA_ENVIRONMENT_VARIABLE: str(fake_utkface), "AGEGENDER_RUNS": str(runs)}
    process = subprocess.Popen(command, cwd=tmp_path, env=environment, stderr=subprocess.DEVNULL)
    while process.poll() is None:
        if list(runs.glob("*-age/history.csv")):
            process.send_signal(signal.SIGKILL)
            process.wait()
        time.sleep(0.01)
    first, second = runs_of(runs)["both"], runs_of(runs)["age"]
    assert len(read_history(second / "history.csv")) < 3
    assert (second / ".lock").is_file()  # which holds nobody up
    before = {path: path.read_bytes() for path in first.iterdir()}

    assert at_home(["--recipe", str(recipe), "--quiet"]) == 0
    message = capsys.readouterr().err
    assert "both: scratch-cnn, both" in message
    assert "done before" in message
    assert f"python -m agegender publish --recipe {recipe}" in message
    assert runs_of(runs) == {"both": first, "age": second}
    assert {path: path.read_bytes() for path in first.iterdir()} == before
    assert read_json(second / "config.json")["start"] == str(first)
    assert "then run" in read_json(second / "environment.json")["base"]
    assert finished_runs(str(recipe), runs) == {"age": second}

    whole = tmp_path / "uninterrupted"
    assert at_home(["--recipe", str(recipe), "--quiet", "--runs", str(whole)]) == 0
    for name, folder in runs_of(whole).items():
        histories = [
            read_history(path / "history.csv").drop(columns="seconds")
            for path in (folder, runs_of(runs)[name])
        ]
        pd.testing.assert_frame_equal(*histories, rtol=1e-3)


@pytest.mark.usefixtures("eager")
def test_a_recipe_is_planned_anew_for_other_options_and_refuses_other_data(
    call, fake_utkface, recipe, tmp_path, capsys
):
    recipe.write_text(RECIPE.partition('[[runs]]\nname = "age"')[0], encoding="utf-8")
    limited = ["--recipe", str(recipe), "--limit", "9", "--quiet"]
    assert call(*limited) == 0
    assert call(*limited) == 0
    assert len(records(tmp_path / "runs")) == 1
    assert "publish" not in capsys.readouterr().err  # what was tried out is not the recipe's model
    assert call("--recipe", str(recipe), "--limit", "8", "--quiet") == 0
    assert len(records(tmp_path / "runs")) == 2

    chips = tmp_path / "chips"
    shutil.copytree(fake_utkface, chips)
    next(chips.glob("5*_*.jpg")).unlink()
    assert call(*limited, data=chips) == 2
    assert "other files" in capsys.readouterr().err


def test_nothing_goes_on_from_a_run_that_diverged(call, recipe, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(
        "agegender.training.loop.train", lambda *_args, **_how: {"ended": "diverged", "epochs": 1}
    )
    assert call("--recipe", str(recipe)) == 2
    assert "run both diverged" in capsys.readouterr().err


def test_ctrl_c_in_a_recipe_offers_the_same_command(at_home, recipe, fake_train, capsys):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("agegender.training.loop.train", interrupt)
        assert at_home(["--recipe", str(recipe), "--limit", "9"]) == 130
    assert at_home(command_in(capsys.readouterr().err)) == 0
    assert [asked["config"].limit for asked in fake_train] == [9, 9]
    assert [asked["recipe"]["run"] for asked in fake_train] == ["both", "age"]
    assert fake_train[1]["config"].start == str(fake_train[0]["folder"])
