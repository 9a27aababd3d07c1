"""`python train.py`: refusals that say what to do, a real tiny run, and how interrupted ones go on."""

from __future__ import annotations

import importlib.util
import shlex
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from agegender.data.table import DATA_ENVIRONMENT_VARIABLE
from agegender.models.vggface import VGGFaceOptions
from agegender.training.config import TrainingConfig
from agegender.training.runs import read_history, read_json, write_json

ROOT = Path(__file__).parents[1]

TINY = shlex.split("--input-size 32 --base-weights none --head-epochs 1 --epochs 0 --batch-size 128 --quiet")


@pytest.fixture(scope="module")
def cli() -> ModuleType:
    spec = importlib.util.spec_from_file_location("train_cli", ROOT / "train.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def call(cli, fake_utkface, tmp_path) -> Callable[..., int]:
    """Runs the command line on the fake dataset, with its records under ``tmp_path / "runs"``."""

    def run(*arguments: str) -> int:
        return cli.main(["--data", str(fake_utkface), "--runs", str(tmp_path / "runs"), *arguments])

    return run


@pytest.fixture
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
        return {"split": "validation"}

    monkeypatch.setattr("agegender.training.loop.train", train)
    return calls


def assert_says_how_to_get_the_dataset(message: str) -> None:
    assert "https://susanqq.github.io/UTKFace/" in message
    assert "--data" in message
    assert DATA_ENVIRONMENT_VARIABLE in message


def test_no_dataset_exits_2_with_how_to_get_it(cli, capsys):
    assert cli.main(["--task", "age"]) == 2
    assert_says_how_to_get_the_dataset(capsys.readouterr().err)


def test_a_missing_folder_exits_2_with_how_to_get_it(cli, capsys, tmp_path):
    assert cli.main(["--task", "age", "--data", str(tmp_path / "nowhere")]) == 2
    message = capsys.readouterr().err
    assert "nowhere" in message
    assert_says_how_to_get_the_dataset(message)


def test_an_empty_folder_exits_2_with_how_to_get_it(cli, capsys, tmp_path):
    assert cli.main(["--task", "age", "--data", str(tmp_path)]) == 2
    message = capsys.readouterr().err
    assert "no images named like" in message
    assert_says_how_to_get_the_dataset(message)


def test_the_script_itself_exits_2_without_a_dataset(tmp_path):
    done = subprocess.run(
        [sys.executable, str(ROOT / "train.py"), "--task", "gender", "--data", str(tmp_path)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert_says_how_to_get_the_dataset(done.stderr)
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--task", "height"],
        ["--task", "age", "--speed", "9"],
        ["--task", "age", "--epochs", "many"],
        ["--task"],
    ],
)
def test_wrong_options_exit_2(cli, arguments, capsys):
    with pytest.raises(SystemExit) as caught:
        cli.main(arguments)
    assert caught.value.code == 2
    assert "usage:" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ("--epochs -1", "epochs"),
        ("--limit 0", "limit"),
        ("--dropout 1.5", "dropout"),
        ("--backbone resnet", "mobilenet"),
        ("--age-head ordinal", "distribution"),
        ("--augmentation -1", "augmentation"),
        ("--learning-rate nan", "learning_rate"),
        ("--system quantum", "vggface"),
        ("--input-size 100", "100x100"),
        ("--frozen-blocks 99", "frozen_blocks"),
        ("--base-weights gone.weights.h5", "gone.weights.h5"),
    ],
)
def test_options_that_make_no_sense_exit_2_and_leave_no_run(call, options, words, tmp_path, capsys):
    assert call("--task", "age", *TINY, *shlex.split(options)) == 2
    assert words in capsys.readouterr().err
    runs = tmp_path / "runs"
    assert not runs.exists() or list(runs.iterdir()) == []


def test_base_weights_of_another_network_exit_2(call, tmp_path, capsys):
    path = tmp_path / "other.weights.h5"
    path.write_bytes(b"no weights")
    assert call("--task", "age", *TINY, "--base-weights", str(path)) == 2
    assert "other.weights.h5" in capsys.readouterr().err


def test_options_become_the_recipe(call, fake_train, tmp_path):
    arguments = (
        "--task gender --backbone vgg16 --input-size 96 --dropout 0.4 --head-epochs 3 --epochs 7"
        " --frozen-blocks 2 --batch-size 16 --head-learning-rate 0.01 --learning-rate 0.001"
        " --ema-momentum 0.9 --patience 4 --augmentation 0.5 --limit 50 --seed 8 --base-weights none --quiet"
    )
    assert call(*shlex.split(arguments)) == 0
    [asked] = fake_train
    plain = TrainingConfig("gender")
    assert asked["config"] == TrainingConfig(
        "gender",
        options=VGGFaceOptions("vgg16", (96, 96), dropout=0.4),
        base_weights="none",
        head_epochs=3,
        epochs=7,
        frozen_blocks=2,
        batch_size=16,
        head_learning_rate=0.01,
        learning_rate=0.001,
        ema_momentum=0.9,
        patience=4,
        augmentation=plain.augmentation.scaled(0.5),
        limit=50,
        seed=8,
    )
    assert asked["resume"] is False
    assert asked["quiet"] is True
    assert asked["folder"].parent == tmp_path / "runs"
    assert len(asked["dataset"].table) == 120


def test_without_options_the_recipe_is_the_default(call, fake_train):
    assert call("--task", "age") == 0
    assert fake_train[0]["config"] == TrainingConfig("age")


def test_the_environment_names_the_dataset(cli, fake_train, fake_utkface, tmp_path, monkeypatch):
    monkeypatch.setenv(DATA_ENVIRONMENT_VARIABLE, str(fake_utkface))
    assert cli.main(["--task", "age", "--runs", str(tmp_path)]) == 0
    assert fake_train[0]["dataset"].folder == fake_utkface


def test_a_tiny_run_trains_for_real(call, eager, tmp_path, capsys):
    assert call("--task", "gender", *TINY, "--limit", "30") == 0
    [folder] = (tmp_path / "runs").iterdir()
    assert folder.name.endswith("-vggface-gender")
    assert read_json(folder / "status.json")["state"] == "finished"
    assert read_json(folder / "config.json")["limit"] == 30
    assert len(read_history(folder / "history.csv")) == 1
    message = capsys.readouterr().err
    assert "gender on mobilenet at 32x32" in message
    assert str(folder) in message
    assert "accuracy" in message


# --- going on -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [[], ["20260101-000000-vggface-age"]])
def test_nothing_to_resume_exits_2(call, name, tmp_path, capsys):
    assert call("--task", "age", "--resume", *name) == 2
    assert str(tmp_path / "runs") in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()


@pytest.fixture
def stopped_run(tmp_path) -> Path:
    folder = tmp_path / "runs" / "20260101-000000-vggface-age"
    folder.mkdir(parents=True)
    write_json(folder / "config.json", TrainingConfig("age", epochs=3, seed=4).to_dict())
    (folder / "last.weights.h5").write_bytes(b"")
    return folder


@pytest.mark.parametrize("named", [False, True])
def test_resume_goes_on_with_the_run_s_own_recipe(call, fake_train, stopped_run, named):
    assert call("--task", "age", "--resume", *([stopped_run.name] if named else [])) == 0
    [asked] = fake_train
    assert asked["config"] == TrainingConfig("age", epochs=3, seed=4)
    assert (asked["folder"], asked["resume"]) == (stopped_run, True)


def test_resume_refuses_other_options(call, fake_train, stopped_run, capsys):
    assert call("--task", "age", "--resume", stopped_run.name, "--epochs", "9", "--seed", "1") == 2
    assert "epochs, seed" in capsys.readouterr().err
    assert fake_train == []


def test_resume_refuses_a_run_of_the_other_task(call, fake_train, stopped_run, capsys):
    assert call("--task", "gender", "--resume", stopped_run.name) == 2
    assert "age" in capsys.readouterr().err
    assert fake_train == []


def command_in(message: str) -> list[str]:
    """The arguments of the command that a message offers."""
    line = next(line for line in message.splitlines() if "python train.py" in line)
    return shlex.split(line.split("python train.py", 1)[1].strip().rstrip("."))


def interrupt(*_args, **_kwargs):
    raise KeyboardInterrupt


@pytest.fixture
def at_home(cli, fake_utkface, tmp_path, monkeypatch) -> Callable[[list[str]], int]:
    """The command line as people call it: the dataset by environment, records in ``runs/``."""
    monkeypatch.setenv(DATA_ENVIRONMENT_VARIABLE, str(fake_utkface))
    monkeypatch.chdir(tmp_path)
    return cli.main


def test_ctrl_c_exits_130_with_the_command_that_goes_on(at_home, eager, capsys):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("agegender.training.callbacks.Progress.on_train_batch_end", interrupt)
        assert at_home(["--task", "gender", *TINY]) == 130
    message = capsys.readouterr().err
    assert "interrupted" in message
    [folder] = Path("runs").iterdir()
    assert read_json(folder / "status.json")["state"] == "interrupted"
    assert at_home([*command_in(message), "--quiet"]) == 0
    assert read_json(folder / "status.json")["state"] == "finished"


def test_ctrl_c_before_training_begins_offers_no_run_that_is_not_there(call, monkeypatch, capsys):
    monkeypatch.setattr("agegender.training.loop.fingerprint", interrupt)
    assert call("--task", "gender", *TINY) == 130
    assert "--resume" not in capsys.readouterr().err


def test_the_offered_command_finds_runs_kept_elsewhere(at_home, fake_train, stopped_run, capsys):
    elsewhere = stopped_run.parent.rename(stopped_run.parents[1] / "elsewhere")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("agegender.training.loop.train", interrupt)
        assert at_home(["--task", "age", "--runs", str(elsewhere), "--resume"]) == 130
    assert at_home(command_in(capsys.readouterr().err)) == 0
    assert fake_train[0]["folder"] == elsewhere / stopped_run.name


def test_the_record_of_a_run_is_where_it_was_said(call, fake_train, capsys):
    assert call("--task", "age") == 0
    assert f"record: {fake_train[0]['folder']}" in capsys.readouterr().err
    assert fake_train[0]["folder"].is_dir()
