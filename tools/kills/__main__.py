"""`python -m tools.kills`: work that is killed at random moments, and what it leaves behind.

    python -m tools.kills --kills 200 --json docs/measurements/kills.json

A training, a publishing, an export of predictions and an audit are each done once and timed, then again and
again in processes of their own that get SIGKILL at a random moment of that time. After each kill everything
that lies there must be whole; then the same work is done once more, and must end as if nothing had happened.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Final

from agegender.runtime import prepare_tensorflow
from tools.kills.jobs import Job, jobs
from tools.records import write_record

SEED: Final = 20
_PATIENCE: Final = 300.0
"""Seconds that one piece of work may take; a process that takes longer hangs."""


def main() -> int:
    """Kills, looks, and says what was found."""
    parser = argparse.ArgumentParser(prog="python -m tools.kills", description=__doc__)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--json", type=Path, help="write the figures there")
    options = parser.parse_args()
    figures = kill_at_random(options.kills, options.seed)
    write_record(figures, options.json)
    return int(bool(figures["faults"]))


def kill_at_random(kills: int, seed: int = SEED) -> dict[str, Any]:
    """Kills work at random moments.

    Args:
        kills: How often; the kinds of work take turns.
        seed: Of the moments, as shares of the time that the work takes.

    Returns:
        ``kills`` by kind of work, ``in_time`` (how many hit a process that was still at work), ``faults``:
        what was not whole afterwards or did not go on, each with its kind and moment.
    """
    prepare_tensorflow()
    rng = random.Random(seed)
    counts: Counter[str] = Counter()
    in_time: Counter[str] = Counter()
    faults: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as made:
        works = jobs(Path(made))
        seconds = {job.name: _timed(job, Path(made) / "timed" / job.name) for job in works}
        for number in range(kills):
            job = works[number % len(works)]
            moment = rng.random()
            folder = Path(made) / "killed"
            folder.mkdir()
            job.prepare(folder)
            counts[job.name] += 1
            in_time[job.name] += _killed(partial(job.work, folder), moment * seconds[job.name])
            for what, check in (("left", job.check), ("again", job.work), ("done", job.check_done)):
                said = _in_a_child(partial(check, folder))
                if said:
                    found = {"work": job.name, "moment": round(moment, 4), "when": what, "said": said}
                    faults.append(found)
                    break
            shutil.rmtree(folder)
    return {
        "seed": seed,
        "kills": dict(counts),
        "in_time": dict(in_time),
        "seconds_a_work": {name: round(value, 2) for name, value in seconds.items()},
        "faults": faults,
    }


def _timed(job: Job, folder: Path) -> float:
    seconds = 0.0
    for turn in ("first", "second"):  # the first may make what the others start from
        own = folder / turn
        own.mkdir(parents=True)
        job.prepare(own)
        began = time.monotonic()
        said = _in_a_child(partial(job.work, own))
        seconds = time.monotonic() - began
        said = said or _in_a_child(partial(job.check_done, own))
        if said:
            raise RuntimeError(f"{job.name} does not work even when nobody kills it: {said}")
    return seconds


def _fork(work: Callable[[], None], output: int | None = None) -> int:
    """Does work in a forked process, which shares what has been imported and nothing it writes."""
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        quiet = os.open(os.devnull, os.O_WRONLY)
        os.dup2(quiet, 1)
        os.dup2(quiet, 2)
        work()
        code = 0
    except BaseException as error:  # whatever it is, the parent is to hear of it
        if output is not None:
            os.write(output, f"{type(error).__name__}: {error}"[:500].encode("utf-8", "replace"))
    finally:
        os._exit(code)


def _in_a_child(work: Callable[[], None]) -> str:
    """What went wrong in work that nobody kills; empty where nothing did."""
    reading, writing = os.pipe()
    child = _fork(work, writing)
    os.close(writing)
    signal.signal(signal.SIGALRM, lambda *_: os.kill(child, signal.SIGKILL))
    signal.setitimer(signal.ITIMER_REAL, _PATIENCE)
    with os.fdopen(reading, "rb") as pipe:
        said = pipe.read().decode("utf-8", "replace")
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    signal.setitimer(signal.ITIMER_REAL, 0)
    return said or (f"ended with {code}" if code else "")


def _killed(work: Callable[[], None], after: float) -> bool:
    """Kills work after so many seconds; says whether it was still going on."""
    child = _fork(work)
    time.sleep(after)
    os.kill(child, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL


if __name__ == "__main__":
    sys.exit(main())
