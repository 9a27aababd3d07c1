"""`agegender video` and `--blur faces`, from end to end with the default model."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

from agegender.__main__ import main
from agegender.export import TRACKS_TABLE_COLUMNS
from agegender.images import read_image
from tools.clips import film, frames_of, put, save_clip

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def clips(heads, tmp_path_factory):
    """One clip with a person, one without, one that is none."""
    folder = tmp_path_factory.mktemp("clips")

    def draw(frame, time):
        put(frame, heads["collins"], 150 + 30 * time, 130, 110)

    (folder / "a").mkdir()
    save_clip(folder / "a" / "one.mp4", film(draw, 1, 25))
    save_clip(folder / "b.webm", film(lambda frame, time: None, 0.4, 25), codec="libvpx-vp9")
    (folder / "c.mov").write_bytes(b"no video at all")
    return folder


def test_a_line_a_person_and_the_rest_goes_on(clips, capsys):
    assert main(["video", str(clips)]) == 1
    out, err = capsys.readouterr()
    lines = out.splitlines()
    assert len(lines) == 2
    assert lines[0].startswith(f"{clips / 'a' / 'one.mp4'}: person 1, 0.0–0.8 s: looks about ")
    assert "; perceived female, " in lines[0]
    assert lines[1] == f"{clips / 'b.webm'}: no face found"
    assert f"{clips / 'c.mov'}: not a video that can be read" in err


def test_all_outputs_at_once(clips, tmp_path, capsys):
    out = tmp_path / "out"
    tables = ["--json", str(out / "r.json"), "--csv", str(out / "r.csv")]
    arguments = [*tables, "--annotate", str(out / "copies")]
    assert main(["video", str(clips), *arguments, "--blur", "faces", "--every", "0.5"]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "videos: 3, people: 1, failed: 1" in captured.err
    document = json.loads((out / "r.json").read_text("utf-8"))
    assert document["model"] == "vggface"
    one, two, three = document["videos"]
    assert (one["width"], one["height"], one["error"], len(one["tracks"])) == (480, 270, None, 1)
    assert (two["tracks"], two["error"]) == ([], None)
    assert "not a video" in three["error"] and three["width"] is None
    with (out / "r.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0]) == TRACKS_TABLE_COLUMNS
    assert [(row["track"], row["gender"], row["warnings"]) for row in rows[:2]] == [
        ("1", "female", "small face"),
        ("", "", "no face found"),
    ]
    copies = sorted(path.relative_to(out / "copies").as_posix() for path in (out / "copies").rglob("*.*"))
    assert copies == ["a/one.mp4", "b.webm.mp4"]
    assert len(frames_of(out / "copies" / "a" / "one.mp4")) == 25


def test_json_alone_goes_to_standard_output(clips, capsys):
    assert main(["video", str(clips / "b.webm"), "--json", "-"]) == 0
    assert json.loads(capsys.readouterr().out)["videos"][0]["looks"] == 2


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nothing/*.mp4"], "no video matches"),
        (["{clips}", "--blur", "faces"], "--annotate"),
        (["{clips}/b.webm", "--csv", "{clips}/b.webm"], "is one of the pictures"),
        (["{clips}/a", "--annotate", "{clips}/a"], "copies would mix with the videos"),
    ],
)
def test_what_makes_no_sense_is_refused_before_the_work(clips, capsys, arguments, words):
    assert main(["video", *(text.format(clips=clips) for text in arguments)]) == 2
    assert words in capsys.readouterr().err


def test_without_pyav_it_says_what_to_install(clips):
    program = "import sys; sys.modules['av'] = None; from agegender.__main__ import main; sys.exit(main())"
    command = [sys.executable, "-c", program, "video", str(clips)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "needs the package av, which is not installed: pip install" in done.stderr


def test_ctrl_c_keeps_what_is_done(heads, tmp_path):
    ((_, frame),) = film(lambda frame, time: put(frame, heads["collins"], 150, 130, 110), 0.04, 25)
    save_clip(tmp_path / "long.mp4", ((index / 10, frame) for index in range(1500)))
    save_clip(tmp_path / "never.mp4", [(0.0, frame)])
    out = tmp_path / "out"
    command = [sys.executable, "-m", "agegender", "video", str(tmp_path / "*.mp4")]
    process = subprocess.Popen(
        [*command, "--annotate", str(out), "--json", str(tmp_path / "r.json")],
        cwd=ROOT,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 120
    while not any(path.stat().st_size > 10_000 for path in out.glob(".*.tmp")):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "stopped after 1 of 2 videos" in err
    (video,) = json.loads((tmp_path / "r.json").read_text("utf-8"))["videos"]
    assert "stopped after" in video["error"] and len(video["tracks"]) == 1
    assert [path.name for path in out.iterdir()] == ["long.mp4"]
    assert len(frames_of(out / "long.mp4")) == pytest.approx(10 * video["seconds"], abs=1)


def test_photos_are_blurred_too(heads, tmp_path, predictor, capsys):
    ((_, photo),) = film(lambda frame, time: put(frame, heads["singer"], 240, 130, 130), 0.04, 25)
    cv2.imwrite(str(tmp_path / "photo.png"), photo[..., ::-1])
    arguments = ["predict", str(tmp_path / "photo.png"), "--annotate", str(tmp_path / "out")]
    assert main([*arguments, "--blur", "faces"]) == 0
    copy = read_image(tmp_path / "out" / "photo.png")
    assert len(predictor.find_faces(photo)) == 1
    assert predictor.find_faces(copy, min_confidence=0.6) == []
    assert np.abs(copy.astype(int) - photo)[:, :100].max() == 0  # the rest stays
    assert "faces: 1" in capsys.readouterr().err
