"""A model takes the place of another: whatever happens meanwhile, one of the two is there, whole."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from agegender.errors import ConfigError
from agegender.models.card import CARD_FILE, find_model, folders_with, read_card
from agegender.publishing.place import new_model

PUBLISH = """
import os, shutil, signal, sys
from itertools import count
from pathlib import Path
from agegender.publishing.place import new_model

def publish(home, left):
    def kill(event, arguments):
        nonlocal left
        changes = event in {"os.mkdir", "os.rename", "os.remove", "os.rmdir"}
        if changes and str(arguments[0]).startswith(str(home)):
            left -= 1
            if left < 0:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(kill)
    with new_model(home, "mine") as folder:
        (folder / "weights").write_text("second")
        (folder / "card.json").write_text('{"name": "mine", "tasks": ["age"], "title": "second"}')

for steps in count():
    home = Path(sys.argv[1], f"{steps:03}")
    shutil.copytree(Path(sys.argv[2]), home)
    if not os.fork():
        publish(home, steps)
        os._exit(0)
    ended = os.wait()[1]
    if not os.WIFSIGNALED(ended):
        sys.exit(os.waitstatus_to_exitcode(ended))
"""
"""Publishes beside a model in a copy of a folder, over and over: each time it is killed one step later, of
those that change what lies there; until it comes to its end."""


def put(folder: Path, title: str) -> None:
    (folder / "weights").write_text(title, encoding="utf-8")
    card = {"name": "mine", "tasks": ["age"], "title": title}
    (folder / CARD_FILE).write_text(json.dumps(card), encoding="utf-8")


def title_of(home: Path) -> str:
    """Reads the model as everybody does, and sees that its files belong together."""
    title = str(read_card("mine", home)["title"])
    assert (find_model("mine", home) / "weights").read_text("utf-8") == title
    assert folders_with(CARD_FILE, home)["mine"] == find_model("mine", home)
    return title


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_killed_before_any_step_one_of_the_two_models_is_there_and_publishing_goes_on(tmp_path):
    (tmp_path / "before" / "mine").mkdir(parents=True)
    put(tmp_path / "before" / "mine", "first")
    (tmp_path / "killed").mkdir()
    arguments = [str(tmp_path / "killed"), str(tmp_path / "before")]
    subprocess.run([sys.executable, "-c", PUBLISH, *arguments], check=True, timeout=100)
    *homes, last = sorted((tmp_path / "killed").iterdir())
    titles = []
    for home in homes:
        titles.append(title_of(home))
        with new_model(home, "mine") as folder:
            assert title_of(home) == titles[-1]
            put(folder, "third")
        assert title_of(home) == "third"
        assert [path.name for path in home.iterdir()] == ["mine"]
    # It was killed with the old model and with the new one in force.
    assert titles == sorted(titles) and set(titles) == {"first", "second"}
    assert title_of(last) == "second" and [path.name for path in last.iterdir()] == ["mine"]


def test_one_process_at_a_time_publishes_a_model_and_others_of_other_names(tmp_path):
    with new_model(tmp_path, "mine") as folder:
        put(folder, "first")
        with pytest.raises(ConfigError, match="published by another process"), new_model(tmp_path, "mine"):
            raise AssertionError
        with new_model(tmp_path, "other") as other:
            put(other, "first")
    assert title_of(tmp_path) == "first"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine", "other"]


def test_a_failure_leaves_the_model_that_was_there_and_nothing_else(tmp_path):
    (tmp_path / "mine").mkdir()
    put(tmp_path / "mine", "first")
    with pytest.raises(KeyError), new_model(tmp_path, "mine") as folder:
        put(folder, "second")
        raise KeyError
    assert title_of(tmp_path) == "first"
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]
