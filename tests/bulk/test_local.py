"""Many photos into Parquet: every photo once, whatever happens in between."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from agegender import predictor as predictor_module
from agegender.__main__ import main
from agegender.bulk.part import SCHEMA, Origin, write_part
from agegender.bulk.table import open_folder, read_columns
from agegender.commands import bulk
from agegender.faces import Face
from agegender.prediction import AgeEstimate, GenderEstimate, Prediction
from tools import prove_bulk, write_scale_page

ROOT = Path(__file__).parents[2]


class FakePredictor:
    """Sees as many faces as the first pixel's red says, and fails at blue ones."""

    seen: ClassVar[list[float]] = []
    delay = 0.0

    def __init__(self, model="vggface"):
        self.model = model
        self.card = {"name": model, "files": {"a": model}}

    def predict(self, source):
        time.sleep(self.delay)
        red, _, blue = source[0, 0].tolist()
        self.seen.append(red)
        if blue > 200:
            raise RuntimeError("something odd")
        return [self.predict_chip_image(source)] * (red // 60)

    def predict_chip_image(self, source):
        face = Face((1.0, 2.0, 30.04, 40.0), 0.98765, ((1.23, 2.0),) * 5)
        age, gender = AgeEstimate(31.2, 26.0, 37.1, 0.9), GenderEstimate("female", 0.6, True)
        return Prediction(face, np.zeros((200, 200, 3), np.uint8), age, gender, ("small face",))

    def predict_chips(self, chips, *, margin=0):
        return []


@pytest.fixture(autouse=True)
def fake_predictor(monkeypatch):
    monkeypatch.setattr(predictor_module, "Predictor", FakePredictor)
    monkeypatch.setattr(FakePredictor, "seen", [])


def write_photo(path: Path, color=(60, 0, 0), **options) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (64, 48), color).save(path, **options)
    return path


@pytest.fixture
def photos(tmp_path):
    """Two faces, one face, none, one that fails, and one that is no picture."""
    folder = tmp_path / "photos"
    exif = Image.Exif()
    exif[0x8769] = {0x9003: "2024:05:06 07:08:09"}
    write_photo(folder / "a.png", (120, 0, 0), exif=exif)
    write_photo(folder / "b.png")
    write_photo(folder / "c.png", (0, 0, 0))
    write_photo(folder / "d.png", (60, 0, 255))
    (folder / "e.jpg").write_bytes(b"\xff\xd8\xff\xe0 not really")
    return folder


def rows_of(folder: Path) -> list[dict]:
    rows = read_columns(folder, SCHEMA.names).drop_columns(["modified"]).to_pylist()
    return sorted(rows, key=lambda row: (row["path"], row["face"] or 0))


def names_of(folder: Path) -> list[str]:
    return [Path(row["path"]).name for row in rows_of(folder) if row["face"] in {None, 1}]


def test_every_photo_is_in_the_table_and_the_same_command_goes_on(photos, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    out = tmp_path / "out"
    command = ["predict", "photos", "gone.jpg", "--parquet", "out"]
    assert main(command) == 1
    told = capsys.readouterr().err
    assert f"{photos / 'e.jpg'}: a truncated, damaged" in told
    assert "photos: 6, faces: 3, failed: 3" in told
    assert "RuntimeError 1" in told
    rows = rows_of(out)
    assert names_of(out) == ["gone.jpg", "a.png", "b.png", "c.png", "d.png", "e.jpg"]
    first = next(row for row in rows if row["path"].endswith("a.png"))
    assert str(first.pop("taken")) == "2024-05-06 07:08:09"
    assert re.fullmatch("[0-9a-f]{64}", first.pop("model_sha256"))
    assert first.pop("size") == (photos / "a.png").stat().st_size
    assert first == {
        "path": str(photos / "a.png"),
        "face": 1,
        "width": 64,
        "height": 48,
        "box": [1.0, 2.0, 30.0, 40.0],
        "confidence": 0.9877,
        "landmarks": [[1.2, 2.0]] * 5,
        "age": 31.2,
        "age_interval": [26.0, 37.1],
        "gender": "female",
        "gender_probability": 0.6,
        "uncertain": True,
        "warnings": ["small face"],
        "error": None,
        "error_kind": None,
        "model": "vggface",
    }
    assert [row["error_kind"] for row in rows] == [
        *("ImageError", None, None, None, None, "RuntimeError", "TruncatedImageError")
    ]
    assert rows[0]["error"] == "no such file"
    assert rows[0]["size"] is None
    assert rows[4]["width"] == 64

    before = {path.name: path.stat().st_mtime_ns for path in out.iterdir()}
    FakePredictor.seen.clear()
    assert main(command) == 0
    assert "nothing to do" in capsys.readouterr().err
    assert FakePredictor.seen == []
    assert {path.name: path.stat().st_mtime_ns for path in out.iterdir()} == before

    write_photo(photos / "new" / "f.png", (180, 0, 0))
    write_photo(photos / "e.jpg", (0, 0, 0))  # no longer broken
    os.utime(photos / "b.png", (1, 1))
    (tmp_path / "list.txt").write_text("photos/a.png\nphotos/new/f.png\n\n", encoding="utf-8")
    pq.write_table(pa.table({"path": ["gone.jpg", "photos/c.png"]}), tmp_path / "list.parquet")
    assert main([*command, "--list", "list.txt", "--list", "list.parquet", "--quiet"]) == 0
    assert sorted(FakePredictor.seen) == [0, 60, 180]
    assert names_of(out) == ["gone.jpg", "a.png", "b.png", "c.png", "d.png", "e.jpg", "f.png"]
    assert "photos: 7, faces: 6, failed: 2" in capsys.readouterr().err

    FakePredictor.seen.clear()
    assert main(["predict", "photos", "--parquet", "out", "--model", "other"]) == 2
    assert main(["predict", "photos", "--parquet", "out", "--chips"]) == 2
    assert "--force" in capsys.readouterr().err
    assert main(["predict", "photos", "--parquet", "out", "--model", "other", "--force"]) == 1
    assert len(FakePredictor.seen) == 6
    assert {row["model"] for row in rows_of(out)} == {"other"}


def test_after_a_kill_the_same_command_does_what_is_missing(tmp_path):
    for number in range(40):
        write_photo(tmp_path / "photos" / f"{number:02}.png", (60 + number, 0, 0))
    out = tmp_path / "out"
    script = f"""
import sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
import test_local as t
from agegender.bulk import local
t.predictor_module.Predictor = t.FakePredictor
t.FakePredictor.delay = 0.05
local.predict_local.__kwdefaults__["part_photos"] = 4
sys.exit(t.main(["predict", "photos", "--parquet", "out"]))
"""
    command = [sys.executable, "-c", script]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    first = subprocess.Popen(command, cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True)
    while len(list(out.glob("part-*"))) < 2:
        assert first.poll() is None, first.communicate()[1]
        time.sleep(0.02)
    first.send_signal(signal.SIGKILL if hasattr(signal, "SIGKILL") else signal.SIGTERM)
    first.wait()
    before = names_of(out)
    assert 8 <= len(before) < 40
    (out / ".0123.tmp").write_bytes(b"half a part")
    assert main(["predict", str(tmp_path / "photos"), "--parquet", str(out)]) == 0
    assert names_of(out) == [f"{number:02}.png" for number in range(40)]
    assert sorted(FakePredictor.seen) == [60 + n for n in range(40) if f"{n:02}.png" not in before]
    assert not list(out.glob(".*.tmp"))


def test_a_folder_in_disorder(photos, tmp_path, capsys):
    out = tmp_path / "out"
    command = ["predict", str(photos), "--parquet", str(out)]
    assert main(command) == 1
    [part] = out.glob("part-*")
    (out / "part-000009.parquet").write_bytes(part.read_bytes())  # every photo twice
    (out / "part-000004.parquet").write_bytes(part.read_bytes()[:-9])
    flipped = bytearray(part.read_bytes())
    flipped[12] ^= 255  # within the first page, where only its checksum tells
    (out / "part-000005.parquet").write_bytes(flipped)
    FakePredictor.seen.clear()
    assert main(command) == 0
    assert FakePredictor.seen == []
    said = capsys.readouterr().err
    assert "part-000004.parquet was damaged" in said
    assert "part-000005.parquet was damaged" in said
    assert names_of(out) == ["a.png", "b.png", "c.png", "d.png", "e.jpg"]
    with open_folder(out, Origin("vggface", "x"), force=True):
        assert main(command) == 2
    assert "written by another process" in capsys.readouterr().err
    spark = out / "part-00000-c000.snappy.parquet"
    pq.write_table(pa.table({"price": [1.0]}), spark)
    assert main(command) == 2
    assert "something else" in capsys.readouterr().err
    spark.write_bytes(b"PAR1 cut short")  # and is not taken for one of ours
    assert main(command) == 2
    assert spark.exists()


def test_progress_comes_in_lines_where_it_cannot_be_drawn(photos, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(bulk, "LINE_SECONDS", 0.0)
    command = ["predict", str(photos), "--parquet", str(tmp_path / "out"), "--force"]
    assert main(command) == 1
    assert re.search(
        r"^5 of 5 photos, \d+\.\d a second, less than a minute left$", capsys.readouterr().err, re.M
    )
    assert main([*command, "--quiet"]) == 1
    told = capsys.readouterr().err.splitlines()
    assert [line.partition(":")[0] for line in told] == ["done now", "photos"]


def test_wrong_usage_and_a_missing_package(photos, tmp_path, capsys, monkeypatch):
    for options in (["--list", "x"], ["--parquet", "out", "--json", "-"], ["--force"]):
        with pytest.raises(SystemExit) as end:
            main(["predict", str(photos), *options])
        assert end.value.code == 2
    out = ["--parquet", str(tmp_path / "out")]
    assert main(["predict", *out, "--list", str(tmp_path / "none.txt")]) == 2
    assert "no list of photos" in capsys.readouterr().err
    for name in [name for name in sys.modules if re.match(r"agegender\.(commands\.)?bulk", name)]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delattr("agegender.commands.bulk")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    assert main(["predict", str(photos), *out]) == 2
    assert "needs the package pyarrow" in capsys.readouterr().err


def test_the_columns_are_documented():
    text = (ROOT / "docs" / "scale.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (`.+?`) \| ([^|]+) \|", text, re.M)
    documented = [(name, kind.strip()) for names, kind in rows for name in re.findall(r"`(\w+)`", names)]
    assert documented == [(column.name, str(column.type).replace("item: ", "")) for column in SCHEMA]


def test_the_page_shows_what_was_measured():
    page = write_scale_page.PAGE.read_text(encoding="utf-8")
    measured, proven = write_scale_page.read_records()
    assert write_scale_page.written(page, measured, proven, write_scale_page.PRICE) == page


def test_what_proves_the_engines_equal_sees_what_is_missing_twice_or_another(photos, tmp_path):
    folders = [tmp_path / "local", tmp_path / "ray"]
    for folder in folders:
        assert main(["predict", str(photos), "--parquet", str(folder)]) == 1
    found = prove_bulk.compare(photos, *folders)
    assert (found["photos"], found["rows"], found["faces"], found["errors"]) == (5, 6, 3, 2)
    assert found["same_rows"]
    assert (found["missing"], found["twice"]) == ({"local": 0, "ray": 0},) * 2
    assert found["rows_that_differ_otherwise"] == found["largest_difference"]["age"] == 0
    [part] = folders[1].glob("part-*")
    rows = pq.read_table(part).to_pylist()
    rows[0]["age"] += 0.5
    rows[1]["warnings"] = []
    origin = Origin("vggface", "x")
    write_part(part, [*rows[:-1], rows[2]], origin)
    found = prove_bulk.compare(photos, *folders)
    assert not found["same_rows"]
    assert found["missing"] == {"local": 0, "ray": 1}
    assert found["twice"] == {"local": 0, "ray": 1}
    assert found["largest_difference"]["age"] == 0.5
    assert found["rows_that_differ_otherwise"] >= 1
