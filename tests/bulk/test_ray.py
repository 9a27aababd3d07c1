"""The Ray engine on two nodes of one machine: whatever dies, every photo is answered once."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from PIL import Image

from agegender.__main__ import main
from agegender.assets import EXAMPLE
from agegender.bulk.part import SCHEMA
from agegender.bulk.table import read_columns

pytest.importorskip("ray", reason="Ray is not installed: pip install -r requirements-ray.txt")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="looks for Ray's workers in /proc"),
]

ROOT = Path(__file__).parents[2]
PHOTOS = 48
PATIENCE = 280.0
"""For a machine that does something else, too; on an idle one all of it takes half a minute."""


@pytest.fixture
def cluster(monkeypatch):
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    from ray.cluster_utils import Cluster

    found = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    try:
        found.add_node(num_cpus=1)
        yield found
    finally:
        found.shutdown()


def test_an_address_where_nobody_listens_is_told_at_once(tmp_path, capsys):
    Image.new("RGB", (64, 64)).save(tmp_path / "a.png")
    command = ["predict", str(tmp_path), "--parquet", str(tmp_path / "out"), "--engine", "ray"]
    assert main([*command, "--address", "127.0.0.1:1"]) == 2
    assert "no Ray cluster at 127.0.0.1:1" in capsys.readouterr().err


def workers_of(cluster) -> list[int]:
    """Processes of the actors that predict: children of this cluster's raylets."""
    nodes = [cluster.head_node, *cluster.worker_nodes]
    raylets = {node.all_processes["raylet"][0].process.pid for node in nodes}
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            if parent in raylets and b"MapWorker" in (entry / "cmdline").read_bytes():
                found.append(int(entry.name))
        except OSError:  # it has ended meanwhile
            continue
    return found


def rows_of(folder: Path) -> list[dict]:
    rows = read_columns(folder, SCHEMA.names).drop_columns(["modified"]).to_pylist()
    return sorted(rows, key=lambda row: (row["path"], row["face"] or 0))


def test_a_killed_driver_worker_and_node_lose_and_double_nothing(cluster, tmp_path):
    photos, out = tmp_path / "photos", tmp_path / "out"
    photos.mkdir()
    with Image.open(EXAMPLE) as example:
        for number in range(PHOTOS):
            example.resize((480, 240 + number)).save(photos / f"{number:02}.jpg")
    (photos / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 not really")
    Image.new("RGB", (64, 64)).save(photos / "nobody.png")
    command = [sys.executable, "-m", "agegender", "predict", str(photos), "--parquet"]
    distributed = [*command, str(out), "--engine", "ray", "--address", cluster.address]
    end = time.monotonic() + PATIENCE

    def start() -> subprocess.Popen[bytes]:
        return subprocess.Popen(distributed, cwd=ROOT, stderr=subprocess.PIPE)

    def wait_for_parts(least: int, driver: subprocess.Popen[bytes]) -> None:
        while len(list(out.glob("part-*"))) < least:
            assert driver.poll() is None, driver.communicate()[1].decode()
            assert time.monotonic() < end
            time.sleep(0.02)

    first = start()
    wait_for_parts(1, first)
    first.kill()
    first.communicate()
    done = len(list(out.glob("part-*")))

    second = start()
    wait_for_parts(done + 1, second)
    os.kill(workers_of(cluster)[0], signal.SIGKILL)
    wait_for_parts(done + 2, second)
    cluster.remove_node(next(iter(cluster.worker_nodes)), allow_graceful=False)
    told = second.communicate(timeout=max(1.0, end - time.monotonic()))[1].decode()
    assert second.returncode in {0, 1}, told  # 1 where the broken photo is among those done now
    assert f"photos: {PHOTOS + 2}," in told
    assert "failed: 1 (NotAnImageError 1)" in told or "failed: 1 (TruncatedImageError 1)" in told

    assert main(["predict", str(photos), "--parquet", str(tmp_path / "local"), "--quiet"]) == 1
    here, there = rows_of(tmp_path / "local"), rows_of(out)
    assert [(row["path"], row["face"]) for row in there] == [(row["path"], row["face"]) for row in here]
    for mine, other in zip(here, there, strict=True):
        for name, off in (("age", 0.1), ("gender_probability", 0.001), ("confidence", 0.001)):
            assert other.pop(name) == pytest.approx(mine.pop(name), abs=off)
        for name in ("age_interval", "box", "landmarks"):
            mine_values, others = mine.pop(name), other.pop(name)
            assert (mine_values is None) == (others is None)
        assert other == mine
