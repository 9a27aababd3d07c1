"""`python train.py`: refusals that say what to do, a real tiny run, and how interrupted ones go on."""

from __future__ import annotations

import dataclasses
import importlib.util
import re
import shlex
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from agegender.data.table import DATA_ENVIRONMENT_VARIABLE
from agegender.models.systems.vggface import VGGFaceOptions
from agegender.runs.records import read_history, read_json, write_json
from agegender.training.config import Stage, TrainingConfig
from agegender.training.tracking import Tracker

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
        ["--data", "somewhere"],
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
        ("--mixup 2", "mixup"),
        ("--balance age --teacher nobody", "nobody"),
        ("--start nowhere", "nowhere"),
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
        " --ema-momentum 0.9 --patience 4 --augmentation 0.5 --limit 50 --seed 8 --base-weights none"
        " --layer-decay 0.8 --teacher vggface --teacher-weight 0.7 --balance both --mixup 0.2 --cutmix 0.1"
        " --erasing 0.3 --precision mixed_bfloat16 --optimizer adam --schedule plateau"
        " --weighting uncertainty --quiet"
    )
    assert call(*shlex.split(arguments)) == 0
    [asked] = fake_train
    plain = TrainingConfig("gender")
    assert asked["config"] == TrainingConfig(
        "gender",
        options=VGGFaceOptions("vgg16", (96, 96), dropout=0.4),
        base_weights="none",
        stages=(Stage("head", 3, 0.01, "all"), Stage("finetune", 7, 0.001, 2)),
        batch_size=16,
        optimizer="adam",
        schedule="plateau",
        layer_decay=0.8,
        ema_momentum=0.9,
        teacher="vggface",
        teacher_weight=0.7,
        balance="both",
        mixup=0.2,
        cutmix=0.1,
        erasing=0.3,
        weighting="uncertainty",
        precision="mixed_bfloat16",
        patience=4,
        augmentation=plain.augmentation.scaled(0.5),
        limit=50,
        seed=8,
    )
    assert asked["resume"] is False
    assert asked["quiet"] is True
    assert asked["strategy"] == "none"
    assert asked["folder"].parent == tmp_path / "runs"
    assert len(asked["dataset"].table) == 120


def test_every_number_and_word_of_a_recipe_has_an_option_that_names_its_default(cli):
    text = re.sub(r"\s+", " ", cli.parser().format_help())
    named = re.findall(r"(--[\w-]+)(.*?)(?=(?:--[\w-]+ )|$)", text)
    helps = {option: " ".join(rest for name, rest in named if name == option) for option, _ in named}
    config = TrainingConfig("age")
    for field in dataclasses.fields(TrainingConfig):
        value = getattr(config, field.name)
        option = f"--{field.name.replace('_', '-')}"
        if field.name in ("stages", "options", "augmentation", "rates"):  # in recipe files alone
            continue
        assert option in helps, field.name
        if isinstance(value, float | int):
            assert f"default {value}" in helps[option], option
    for option, stage, key in (
        ("--head-epochs", 0, "epochs"),
        ("--epochs", 1, "epochs"),
        ("--head-learning-rate", 0, "learning_rate"),
        ("--learning-rate", 1, "learning_rate"),
        ("--frozen-blocks", 1, "frozen_blocks"),
    ):
        assert f"default {getattr(config.stages[stage], key)}" in helps[option], option


# --- recipe files ---------------------------------------------------------------------------------------

RECIPE = """
task = "gender"
balance = "age"
[options]
hidden = [16]
dropout = 0.1
[augmentation]
rotation = 3.0
[[stages]]
name = "head"
epochs = 2
learning_rate = 1e-3
frozen_blocks = "all"
[[stages]]
name = "top"
epochs = 3
learning_rate = 2e-4
frozen_blocks = 9
[[stages]]
name = "whole"
epochs = 4
learning_rate = 1e-4
"""


@pytest.fixture
def recipe(tmp_path) -> Path:
    path = tmp_path / "recipe.toml"
    path.write_text(RECIPE, encoding="utf-8")
    return path


def test_a_recipe_is_read_from_a_file(call, fake_train, recipe):
    assert call("--config", str(recipe)) == 0
    assert fake_train[0]["config"] == TrainingConfig.read(recipe)
    assert [stage.name for stage in fake_train[0]["config"].stages] == ["head", "top", "whole"]


def test_options_go_before_the_file(call, fake_train, recipe):
    options = (
        "--task age --dropout 0.2 --head-epochs 1 --epochs 6 --learning-rate 0.01 --frozen-blocks 3"
        " --augmentation 0 --balance none"
    )
    assert call("--config", str(recipe), *shlex.split(options)) == 0
    config = fake_train[0]["config"]
    plain = TrainingConfig.read(recipe)
    assert (config.task, config.balance) == ("age", "none")
    assert config.options == dataclasses.replace(plain.options, dropout=0.2)
    assert config.stages == (
        dataclasses.replace(plain.stages[0], epochs=1),
        plain.stages[1],
        dataclasses.replace(plain.stages[2], epochs=6, learning_rate=0.01, frozen_blocks=3),
    )
    assert config.augmentation == plain.augmentation.scaled(0)


@pytest.mark.parametrize(
    "case",
    [
        ("speed = 9", "--task age", "speed"),
        ("task = ", "--task age", "TOML"),
        ("stages = 3", "--task age", "stages"),
        ('options = "deep"', "--task age", "options"),
        ("patience = 'long'", "--task age", "patience"),
        ("patience = 3", "", "--task age or --task gender or --task both"),
        (
            '[[stages]]\nname = "one"\nepochs = 1\nlearning_rate = 0.1',
            "--task age --head-epochs 2",
            "--head-epochs",
        ),
    ],
)
def test_a_recipe_that_makes_no_sense_exits_2_and_is_named(call, tmp_path, capsys, case):
    text, options, words = case
    path = tmp_path / "odd.toml"
    path.write_text(text, encoding="utf-8")
    assert call("--config", str(path), *shlex.split(options)) == 2
    message = capsys.readouterr().err
    assert words in message
    assert "Traceback" not in message
    assert not (tmp_path / "runs").exists()


def test_a_missing_recipe_exits_2(call, tmp_path, capsys):
    assert call("--config", str(tmp_path / "gone.toml")) == 2
    assert "gone.toml" in capsys.readouterr().err


def test_a_multi_task_system_trains_both_unless_told_otherwise(call, fake_train):
    assert call("--system", "age-range") == 0
    assert call("--system", "age-range", "--task", "age") == 0
    assert [asked["config"].task for asked in fake_train] == ["both", "age"]


def test_the_strategy_is_handed_on_and_is_no_part_of_the_recipe(call, fake_train, stopped_run):
    assert call("--task", "age", "--strategy", "mirrored") == 0
    assert fake_train[0]["strategy"] == "mirrored"
    assert fake_train[0]["config"] == TrainingConfig("age")
    assert call("--task", "age", "--resume", stopped_run.name, "--strategy", "mirrored") == 0
    assert (fake_train[1]["strategy"], fake_train[1]["resume"]) == ("mirrored", True)


def test_a_run_to_start_from_is_found_by_its_bare_name(call, fake_train, stopped_run):
    assert call("--task", "age", "--start", stopped_run.name) == 0
    assert call("--task", "age", "--start", str(stopped_run)) == 0
    assert [asked["config"].start for asked in fake_train] == [str(stopped_run)] * 2


def test_a_published_model_to_start_from_keeps_its_name(call, fake_train):
    assert call("--task", "age", "--start", "vggface") == 0
    assert fake_train[0]["config"].start == "vggface"


def test_the_start_of_a_recipe_is_undone_with_none(call, fake_train, tmp_path):
    recipe = tmp_path / "recipe.toml"
    recipe.write_text('task = "age"\nstart = "vggface"\n', encoding="utf-8")
    assert call("--config", str(recipe)) == 0
    assert call("--config", str(recipe), "--start", "none") == 0
    assert [asked["config"].start for asked in fake_train] == ["vggface", None]


# --- the whole way --------------------------------------------------------------------------------------


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
    write_json(folder / "config.json", TrainingConfig("age", batch_size=16, seed=4).to_dict())
    (folder / "last.weights.h5").write_bytes(b"")
    return folder


@pytest.mark.parametrize("named", [False, True])
def test_resume_goes_on_with_the_run_s_own_recipe(call, fake_train, stopped_run, named):
    assert call("--task", "age", "--resume", *([stopped_run.name] if named else [])) == 0
    [asked] = fake_train
    assert asked["config"] == TrainingConfig("age", batch_size=16, seed=4)
    assert (asked["folder"], asked["resume"]) == (stopped_run, True)


def test_a_run_to_resume_may_be_given_as_a_path(call, fake_train, stopped_run):
    assert call("--resume", str(stopped_run)) == 0
    assert fake_train[0]["folder"] == stopped_run


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
    """The command line as people call it: the dataset by environment, records where they go by themselves."""
    monkeypatch.setenv(DATA_ENVIRONMENT_VARIABLE, str(fake_utkface))
    monkeypatch.setattr(cli, "RUNS_DIR", tmp_path / "runs")
    return cli.main


def test_ctrl_c_exits_130_with_the_command_that_goes_on(at_home, eager, tmp_path, capsys):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("agegender.training.callbacks.Progress.on_train_batch_end", interrupt)
        assert at_home(["--task", "gender", *TINY]) == 130
    message = capsys.readouterr().err
    assert "interrupted" in message
    [folder] = (tmp_path / "runs").iterdir()
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


def test_the_offered_command_keeps_the_strategy(at_home, fake_train, stopped_run, capsys):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("agegender.training.loop.train", interrupt)
        assert at_home(["--task", "age", "--strategy", "mirrored", "--resume"]) == 130
    assert at_home(command_in(capsys.readouterr().err)) == 0
    assert fake_train[0]["strategy"] == "mirrored"


def test_nothing_is_tracked_unless_asked(call, fake_train):
    assert call("--task", "age") == 0
    assert fake_train[0]["tracker"] is None


def test_without_trackio_tracking_is_refused_before_any_work(cli, fake_train, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "trackio", None)
    assert cli.main(["--task", "age", "--track", "trackio", "--data", "nowhere"]) == 2
    message = capsys.readouterr().err
    assert "pip install -r requirements-track.txt" in message
    assert "nowhere" not in message
    assert fake_train == []


def test_the_tracker_is_handed_on_and_is_no_part_of_the_recipe(call, fake_train, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "trackio", ModuleType("trackio"))
    assert call("--task", "age", "--track", "trackio") == 0
    assert isinstance(fake_train[0]["tracker"], Tracker)
    assert fake_train[0]["config"] == TrainingConfig("age")
    assert "trackio show --project agegender" in capsys.readouterr().err


def test_the_offered_command_keeps_the_tracker(at_home, fake_train, stopped_run, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "trackio", ModuleType("trackio"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("agegender.training.loop.train", interrupt)
        assert at_home(["--task", "age", "--track", "trackio", "--resume"]) == 130
    assert at_home(command_in(capsys.readouterr().err)) == 0
    assert isinstance(fake_train[0]["tracker"], Tracker)


def test_the_record_of_a_run_is_where_it_was_said(call, fake_train, capsys):
    assert call("--task", "age") == 0
    assert f"record: {fake_train[0]['folder']}" in capsys.readouterr().err
    assert fake_train[0]["folder"].is_dir()
