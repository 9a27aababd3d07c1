"""App, prediction and training reach nobody: tried where nobody is, with every call watched."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from agegender.assets import EXAMPLE

ROOT = Path(__file__).parents[1]

WATCH = """
import ipaddress, os, sys

def watch(event, arguments):
    if event in {"socket.connect", "socket.sendto"}:
        arguments = arguments[1]
        if not isinstance(arguments, tuple) or ipaddress.ip_address(arguments[0]).is_loopback:
            return
    elif event != "socket.getaddrinfo" or arguments[0] in {None, "", "localhost", "127.0.0.1", "::1"}:
        return
    with open(os.environ["REACHED_FOR"], "a") as file:
        print(*arguments[:2], sys.argv, file=file)

sys.addaudithook(watch)
"""
"""Runs first in each process, and notes what was reached for, also by code that hides it when it fails."""

LOOPBACK_UP = """
import fcntl, socket, struct, sys

with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any:
    fcntl.ioctl(any, 0x8914, struct.pack("16sh14x", b"lo", 0x1 | 0x40))  # SIOCSIFFLAGS: IFF_UP, IFF_RUNNING
with socket.socket() as one:
    one.settimeout(5)
    try:
        one.connect(("192.0.2.1", 80))  # RFC 5737: nobody
    except OSError as error:
        sys.exit(error.errno != 101)  # ENETUNREACH
sys.exit("a network without routes led somewhere")
"""

VISIT = """
import sys
from pathlib import Path
from urllib.request import urlopen
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from tools.app_in_browser import serve
from websockets.sync.client import connect

with serve(Path(sys.argv[1])) as server:
    assert urlopen(server.address).status == 200
    hello = BackMsg()
    hello.rerun_script.query_string = "example=true"
    address = server.address.replace("http", "ws") + "/_stcore/stream"
    with connect(address, subprotocols=["streamlit"], max_size=None) as visitor:
        visitor.send(hello.SerializeToString())
        shown = ""
        while "script_finished" not in shown:
            message = ForwardMsg.FromString(visitor.recv(timeout=300))
            shown += str(message)
    assert "faces found" in shown, shown[-3000:]
"""


def need_namespace() -> None:
    """Skips the test where no network of one's own can be had; fails it in the gate, which has to try."""
    try:
        done = subprocess.run(["unshare", "-rn", "true"], capture_output=True, text=True, check=False)
        reason = done.stderr.strip() if done.returncode else ""
    except OSError as error:
        reason = str(error)
    if reason:
        refuse = pytest.fail if os.environ.get("AGEGENDER_GATE") else pytest.skip
        refuse(f"no network namespace: {reason}")


@pytest.mark.parametrize(
    ("gate", "ends"), [("", pytest.skip.Exception), ("1", pytest.fail.Exception)], ids=["elsewhere", "gate"]
)
def test_without_a_network_namespace_the_gate_fails_and_others_skip(gate, ends, tmp_path, monkeypatch):
    refusing = tmp_path / "unshare"
    refusing.write_text("#!/bin/sh\necho unshare: Operation not permitted >&2\nexit 1\n", encoding="ascii")
    refusing.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.setenv("AGEGENDER_GATE", gate)
    with pytest.raises(ends, match="no network namespace: unshare: Operation not permitted"):
        need_namespace()


@pytest.mark.slow
def test_app_prediction_and_training_work_in_a_network_without_routes(fake_utkface, tmp_path):
    need_namespace()
    (tmp_path / "sitecustomize.py").write_text(WATCH, encoding="utf-8")
    (tmp_path / "runs").mkdir()
    reached = tmp_path / "reached"
    answers = tmp_path / "faces.json"
    tiny = ("--input-size", "32", "--base-weights", "none", "--head-epochs", "1", "--epochs", "0", "--quiet")
    commands = [
        ("-c", LOOPBACK_UP),
        ("-m", "agegender", "predict", str(EXAMPLE), "--json", str(answers)),
        ("train.py", "--task", "age", "--data", str(fake_utkface), "--runs", str(tmp_path / "runs"), *tiny),
        ("-c", VISIT, str(tmp_path)),
    ]
    code = f"import subprocess as s, sys\nfor c in {commands!r}:\n    s.run([sys.executable, *c], check=True)"
    done = subprocess.run(
        ["unshare", "-rn", sys.executable, "-c", code],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}", "REACHED_FOR": str(reached)},
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    # The first step fails to connect, which shows that it is watched.
    assert done.returncode == 0, done.stderr[-5000:]
    assert [line.split()[0] for line in reached.read_text("utf-8").splitlines()] == ["192.0.2.1"]
    assert len(json.loads(answers.read_text("utf-8"))["images"][0]["faces"]) == 7
    assert list((tmp_path / "runs").iterdir())
