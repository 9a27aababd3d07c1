"""Measures how many answers a second the page Live gets, and how old they are when they come.

    python -m tools.bench_live [--seconds 20] [--json docs/measurements/live.json]

First without a browser: how many frames of 640 × 480 pixels with two faces, as JPEG, the server can answer,
one after the other. Then in a Chromium on the same machine, whose webcam shows such a video, as the page
itself tells it. The processor's seconds an answer, of the server, can be compared even if the machine has
other work to do.
"""

from __future__ import annotations

import argparse
import math
import os
import sys
import tempfile
import time
from datetime import date
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

import cv2
import numpy as np

from agegender import Predictor
from agegender.batch import cores
from agegender.images import read_image
from agegender.video import FaceFollower
from tools.app_in_browser import PATIENCE, find_chromium, open_chromium, serve, wait_until_drawn
from tools.clips import Pixels, film, portraits, put
from tools.records import write_record


def main() -> int:
    """Runs the command line; returns the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--seconds", type=float, default=20, help="how long each of both runs")
    parser.add_argument("--note", default="", help="what else the machine was at")
    parser.add_argument("--json", type=Path, default=Path("docs/measurements/live.json"))
    options = parser.parse_args()
    chromium = find_chromium()
    if chromium is None:
        print("No browser: install Chromium, or name one in AGEGENDER_CHROMIUM.", file=sys.stderr)
        return 2
    load = os.getloadavg()[0]
    frames = list(make_frames())
    server = measure_server(frames, options.seconds)
    report = {
        "date": date.today().isoformat(),
        "cores": cores(),
        "load_before": round(load, 1),
        "note": options.note,
        "packages": {name: version(name) for name in ("streamlit", "ai-edge-litert", "playwright")},
        "faces": 2,
        "size": [640, 480],
        "server_alone": server,
        "in_browser": measure_page(chromium, frames, options.seconds),
    }
    write_record(report, options.json)
    return 0


def make_frames() -> list[bytes]:
    """A second of two people who sway, as JPEG files."""
    heads = portraits()

    def draw(frame: Pixels, time: float) -> None:
        sway = 12 * math.sin(2 * math.pi * time)
        put(frame, heads["collins"], 180 + sway, 240, 240)
        put(frame, heads["singer"], 460 - sway, 250, 230)

    files = (cv2.imencode(".jpg", frame[..., ::-1])[1] for _, frame in film(draw, 1, 15, (640, 480)))
    return [file.tobytes() for file in files]


def measure_server(frames: list[bytes], seconds: float) -> dict[str, Any]:
    """Answers frames one after the other, as the page's fragment does."""
    follower = FaceFollower(Predictor(), remember=False)
    taken: list[float] = []
    follower.look(read_image(frames[0]), 0.0)
    began, processor = time.perf_counter(), time.process_time()
    while time.perf_counter() - began < seconds:
        start = time.perf_counter()
        look = follower.look(read_image(frames[len(taken) % len(frames)]), start - began + 1)
        taken.append(time.perf_counter() - start)
    wall = time.perf_counter() - began
    return {
        "answers_a_second": round(len(taken) / wall, 1),
        "median_ms": round(1000 * median(taken), 1),
        "processor_ms_an_answer": round(1000 * (time.process_time() - processor) / len(taken), 1),
        "faces_followed": len(look.faces),
    }


def measure_page(chromium: Path, frames: list[bytes], seconds: float) -> dict[str, Any]:
    """Lets the page run, and reads what it tells."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        camera = folder / "camera.mjpeg"
        camera.write_bytes(b"".join(frames))
        with open_chromium(chromium, camera) as browser, serve(folder) as server:
            page = browser.new_context(permissions=["camera"]).new_page()
            page.set_default_timeout(1000 * PATIENCE)
            page.goto(f"{server.address}/live")
            wait_until_drawn(page)
            page.get_by_role("button", name="Start camera").click()
            speed = page.locator(".speed")
            speed.filter(has_text="answers a second").wait_for()
            page.wait_for_timeout(5000)  # until all is warm
            before, first = _processor_seconds(server.pid), int(speed.get_attribute("data-frames") or 0)
            rates, ages = [], []
            for _ in range(max(1, round(seconds / 2))):
                page.wait_for_timeout(2000)
                rates.append(float(speed.get_attribute("data-rate") or "nan"))
                ages.append(float(speed.get_attribute("data-age") or "nan"))
            answers = int(speed.get_attribute("data-frames") or 0) - first
            used = _processor_seconds(server.pid) - before
    return {
        "answers_a_second": float(np.median(rates)),
        "median_age_ms": float(np.median(ages)),
        "server_processor_ms_an_answer": round(1000 * used / max(1, answers), 1),
    }


def _processor_seconds(process: int) -> float:
    fields = Path(f"/proc/{process}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    sys.exit(main())
