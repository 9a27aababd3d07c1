"""The wheel, built and installed: it predicts, lists, renders and serves, from a folder with none of it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
import venv
import zipfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from email.message import Message
from email.parser import Parser
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from websockets.sync.client import connect

from agegender import __version__
from agegender.models.registry import DEFAULT_MODEL

ROOT = Path(__file__).parents[1]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(os.name != "posix", reason="links an environment together from this one"),
]

PATIENCE = 180.0


def needed(requirements: Iterable[Requirement], extra: str = "") -> set[str]:
    """Names of the distributions that requirements ask for, with what these ask for in turn.

    One that is not installed is left out: whatever lacks it then fails when it runs.
    """
    found: set[str] = set()
    waiting = [(requirement, extra) for requirement in requirements]
    while waiting:
        requirement, asked_as = waiting.pop()
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": asked_as}):
            continue
        name = requirement.name.lower()
        try:
            asks_for = distribution(name).requires or []
        except PackageNotFoundError:
            continue
        if name not in found or requirement.extras:
            found.add(name)
            waiting += [(Requirement(text), one) for text in asks_for for one in ("", *requirement.extras)]
    return found


@dataclass(frozen=True)
class Environment:
    """A clean environment with the wheel in it.

    Attributes:
        folder: The environment's.
        wheel: The file that was installed.
        elsewhere: A folder with nothing in it, to start commands from.
    """

    folder: Path
    wheel: Path
    elsewhere: Path

    @property
    def site(self) -> Path:
        return next(self.folder.glob("lib/python*/site-packages"))

    @property
    def variables(self) -> dict[str, str]:
        """Those of a fresh login: no path to this checkout, no setting of this test session."""
        return {"PATH": f"{self.folder / 'bin'}:/usr/bin:/bin", "HOME": str(self.folder), "LANG": "C.UTF-8"}

    def metadata(self) -> Message:
        with zipfile.ZipFile(self.wheel) as archive:
            return Parser().parsestr(archive.read(f"agegender-{__version__}.dist-info/METADATA").decode())

    def provide(self, extra: str = "") -> None:
        """Links in what the wheel's own metadata asks for, and nothing else of this environment."""
        asked = [Requirement(text) for text in self.metadata().get_all("Requires-Dist", [])]
        for name in needed(asked, extra):
            found = distribution(name)
            for top in {file.parts[0] for file in found.files or ()} - {"..", "__pycache__"}:
                link = self.site / top
                if not link.exists():
                    link.symlink_to(found.locate_file(top))

    def run(self, *command: str, **variables: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(self.folder / "bin" / command[0]), *command[1:]],
            cwd=self.elsewhere,
            env=self.variables | variables,
            capture_output=True,
            text=True,
            check=False,
            timeout=PATIENCE,
        )

    def ask(self, *arguments: str, **variables: str) -> str:
        """What an agegender command that goes well writes to standard output."""
        done = self.run("agegender", *arguments, **variables)
        assert done.returncode == 0, done.stderr
        return done.stdout


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """The wheel in an environment with its core dependencies, as `pip install agegender` leaves it."""
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    [wheel] = folder.glob("*.whl")
    made = Environment(folder / "environment", wheel, folder / "elsewhere")
    made.elsewhere.mkdir()
    venv.create(made.folder, symlinks=True)
    python = str(made.folder / "bin" / "python")
    pip = [sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-compile"]
    subprocess.run([*pip, "--no-deps", "--no-index", "--disable-pip-version-check", str(wheel)], check=True)
    made.provide()
    return made


@pytest.fixture(scope="module")
def with_app(installed: Environment) -> Environment:
    """The same with ``agegender[app]``; tests of the core come before it."""
    installed.provide("app")
    return installed


def test_the_wheel_adds_one_name_to_an_environment(installed):
    with zipfile.ZipFile(installed.wheel) as archive:
        names = archive.namelist()
    assert {name.split("/")[0] for name in names} == {"agegender", f"agegender-{__version__}.dist-info"}
    assert not [name for name in names if "__pycache__" in name or name.endswith((".pyc", ".chip.jpg"))]
    assert "agegender/py.typed" in names
    metadata = installed.metadata()
    assert metadata["Version"] == __version__
    assert metadata["License-Expression"].startswith("MIT")


def test_the_core_lists_models_and_renders_a_card(installed):
    models = {model["name"]: model for model in json.loads(installed.ask("models", "--json", "-"))}
    assert models[DEFAULT_MODEL]["trained"]
    assert not models["scratch-cnn"]["trained"]
    assert installed.ask("card").startswith(f"# {DEFAULT_MODEL}: ")
    assert DEFAULT_MODEL in installed.ask("compare")
    found = json.loads(installed.ask("models", "--json", "-", AGEGENDER_WEIGHTS=str(ROOT / "weights")))
    assert {model["name"] for model in found if model["trained"]} == set(models)


def test_the_core_predicts(installed):
    photo = installed.site / "agegender" / "assets" / "example.jpg"
    outputs = ["--json", "faces.json", "--csv", "faces.csv", "--annotate", "drawn"]
    installed.ask("predict", str(photo), *outputs)
    [image] = json.loads((installed.elsewhere / "faces.json").read_text(encoding="utf-8"))["images"]
    assert len(image["faces"]) == 7
    assert len((installed.elsewhere / "faces.csv").read_text(encoding="utf-8").splitlines()) == 8
    assert (installed.elsewhere / "drawn" / "example.jpg").is_file()


def test_the_core_says_what_else_to_install_or_to_get(installed, tmp_path):
    photo = str(installed.site / "agegender" / "assets" / "example.jpg")
    folder = tmp_path / "scratch-cnn"
    shutil.copytree(ROOT / "weights" / "scratch-cnn", folder)
    card = json.loads((folder / "card.json").read_text(encoding="utf-8"))
    card.pop("light", None)
    (folder / "card.json").write_text(json.dumps(card), encoding="utf-8")
    weights = {"AGEGENDER_WEIGHTS": str(tmp_path)}
    for command, variables, words in (
        (["predict", photo, "--model", "scratch-cnn"], {}, "AGEGENDER_WEIGHTS"),
        (["predict", photo, "--model", "scratch-cnn"], weights, "pip install 'agegender[train]'"),
        (["evaluate", "--data", "."], {}, "pip install 'agegender[train]'"),
        (["train", "--task", "age"], {}, "pip install 'agegender[train]'"),
        (["export", "--format", "onnx", "--output", "x.onnx"], {}, "pip install 'agegender[export]'"),
        (["app"], {}, "pip install 'agegender[app]'"),
    ):
        done = installed.run("agegender", *command, **variables)
        assert done.returncode == 2, (command, done.stderr)
        assert words in done.stderr, command
        assert "Traceback" not in done.stderr


@contextmanager
def app(environment: Environment) -> Iterator[tuple[int, subprocess.Popen[bytes]]]:
    """The app on a port of its own, started as people start it."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = environment.elsewhere / "app.log"
    command = [str(environment.folder / "bin" / "agegender"), "app", "--server.port", str(port)]
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*command, "--server.headless", "true"],
            cwd=environment.elsewhere,
            env=environment.variables,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        deadline = time.monotonic() + PATIENCE
        while process.poll() is None and time.monotonic() < deadline:
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/_stcore/health", timeout=5).close()
                break
            except OSError:
                time.sleep(0.2)
        else:
            pytest.fail(log.read_text(encoding="utf-8"))
        yield port, process
    finally:
        process.kill()
        process.wait()


def first_page(port: int) -> list[ForwardMsg]:
    """What the server sends a visitor who opens the app, until the page is drawn."""
    messages = []
    hello = BackMsg()
    hello.rerun_script.SetInParent()
    with connect(
        f"ws://127.0.0.1:{port}/_stcore/stream", subprotocols=["streamlit"], max_size=None
    ) as visitor:
        visitor.send(hello.SerializeToString())
        while not messages or messages[-1].WhichOneof("type") != "script_finished":
            messages.append(ForwardMsg.FromString(visitor.recv(timeout=PATIENCE)))
    return messages


def test_the_app_starts_anywhere_with_its_settings(with_app):
    with app(with_app) as (port, process):
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=PATIENCE) as page:
            assert page.status == 200
            assert "frame-ancestors" in page.headers["Content-Security-Policy"]
        messages = first_page(port)
        session = messages[0].new_session
        assert session.config.gather_usage_stats is False
        assert session.custom_theme.base_radius == "0.6rem"
        elements = [message.delta.new_element for message in messages]
        assert not [element for element in elements if element.HasField("exception")]
        titles = [element.heading.body for element in elements if element.HasField("heading")]
        assert "How old does this face look?" in titles
        with pytest.raises(OSError), socket.create_connection(("127.0.0.2", port), 5):
            pass  # the app listens on 127.0.0.1 alone
        process.send_signal(signal.SIGTERM)
        process.wait(PATIENCE)  # the process that was started is the app, so it ends with it


def test_training_keeps_its_records_in_the_home_folder(with_app):
    runs = with_app.folder / ".agegender" / "runs"
    assert str(runs) in with_app.ask("train", "--help").replace("\n" + 24 * " ", "")
    done = with_app.run("agegender", "train", "--task", "age")
    assert done.returncode == 2
    assert "UTKFACE_DIR" in done.stderr


def test_python_predicts_from_anywhere(with_app):
    code = (
        "import agegender; from agegender.assets import EXAMPLE;"
        "[image] = agegender.Predictor().predict([EXAMPLE]);"
        "print(len(image.faces), image.to_dict()['width'])"
    )
    done = with_app.run("python", "-P", "-c", code)
    assert done.stdout.split() == ["7", "1600"], done.stderr
