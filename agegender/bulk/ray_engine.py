"""The engine for several machines: Ray Data hands lists of paths to workers, which read, predict and write.

Only paths and counts pass through the driver. Each row of the dataset is one part to be: its name and the
photos that it is to hold. Whatever worker does it writes that very part, so a row that is tried again,
because a worker or a node died, replaces its part and doubles nothing. Every node has to see the photos and
the folder under the same paths, and to have this package and the model.
"""

from __future__ import annotations

import json
import logging
import socket
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import asdict
from functools import partial
from typing import Any, Final

import numpy as np
import ray

from agegender.batch import cores, in_order
from agegender.bulk.part import Origin, write_part
from agegender.bulk.rows import Failure, Totals, answer_photo, failures_of, totals_of
from agegender.bulk.table import PART_PHOTOS, PartsFolder
from agegender.errors import ConfigError, ModelError
from agegender.models.card import fingerprint
from agegender.predictor import Predictor

WORKER_CPUS: Final = 4
"""Processors a worker at most, each a thread; all its threads share one model."""

PARTS_A_WORKER: Final = 16
"""A worker is to get so many parts or more, so that all end at about the same time."""

CONNECT_SECONDS: Final = 10

LEAST_PHOTOS: Final = 8
"""Photos a part at least: fewer are not worth a file."""


def predict_on_ray(
    paths: Sequence[str],
    folder: PartsFolder,
    answered: Callable[[Totals, Sequence[Failure]], None],
    *,
    address: str | None = None,
    stop: threading.Event | None = None,
) -> None:
    """Predicts photos on a Ray cluster and writes their rows.

    Args:
        paths: The photos, as `PartsFolder.missing` gives them.
        folder: Where the rows go; every node has to reach it.
        answered: Called for each part with what it holds and which photos failed, in no order.
        address: Of the cluster; ``None`` starts one on this machine, for as long as this takes.
        stop: Once set, no further part is waited for.

    Raises:
        ConfigError: There is no such cluster.
        ModelError: The model cannot be used, or a worker has another version of it.
    """
    if address:
        _check_reachable(address)
    where: dict[str, Any] = {"address": address} if address else {"address": "local", "num_cpus": cores()}
    try:
        ray.init(log_to_driver=False, logging_level=logging.WARNING, ignore_reinit_error=True, **where)
    except (ConnectionError, RuntimeError, TimeoutError, ValueError) as error:
        raise ConfigError(f"no Ray cluster at {address}: {error}") from error
    try:
        _run(paths, folder, answered, stop)
    finally:
        ray.shutdown()
        folder.read()  # what was written, whether it was told or not


def _check_reachable(address: str) -> None:
    """Asks whether anybody listens there, which Ray itself takes minutes to find out."""
    host, _, port = address.rpartition(":")
    if not (host and port.isdigit()):  # such as "auto"
        return
    try:
        socket.create_connection((host.rpartition("//")[2].strip("[]"), int(port)), CONNECT_SECONDS).close()
    except (OSError, OverflowError) as error:
        raise ConfigError(f"no Ray cluster at {address}: {error}") from error


def _run(
    paths: Sequence[str],
    folder: PartsFolder,
    answered: Callable[[Totals, Sequence[Failure]], None],
    stop: threading.Event | None,
) -> None:
    logging.getLogger("ray.data").setLevel(logging.WARNING)
    ray.data.DataContext.get_current().enable_progress_bars = False
    processors = [int(node["Resources"].get("CPU", 0)) for node in ray.nodes() if node["Alive"]]
    threads = max(1, min([WORKER_CPUS, *(count for count in processors if count)]))
    workers = max(1, sum(count // threads for count in processors))
    photos = len(paths) // (workers * PARTS_A_WORKER)
    photos = max(LEAST_PHOTOS, min(photos, PART_PHOTOS))
    parts = [
        {"part": folder.new_part(), "paths": list(paths[start : start + photos])}
        for start in range(0, len(paths), photos)
    ]
    answers = ray.data.from_items(parts, override_num_blocks=len(parts)).map_batches(
        _Worker,
        fn_constructor_kwargs={"origin": asdict(folder.origin), "threads": threads},
        batch_size=1,
        num_cpus=threads,
        compute=ray.data.ActorPoolStrategy(min_size=1, max_size=workers),
    )
    try:
        for row in answers.iter_rows():
            told = json.loads(row["told"])
            totals = Totals(told["photos"], told["faces"], Counter(told["errors"]))
            answered(totals, [(path, error) for path, error in told["failures"]])
            if stop is not None and stop.is_set():
                return
    except ray.exceptions.RayError as error:
        cause = _cause_of(error)
        if isinstance(cause, ModelError | OSError):
            raise cause from error
        raise


def _cause_of(error: BaseException) -> BaseException:
    """What was raised in the worker."""
    while (inner := getattr(error, "cause", None) or error.__cause__) is not None:
        error = inner
    return error


class _Worker:
    """An actor of the pool: loads the model once, then makes parts."""

    def __init__(self, origin: dict[str, Any], threads: int) -> None:
        self._origin, self._threads = Origin(**origin), threads
        self._predictor = Predictor(self._origin.model)
        if fingerprint(self._predictor.card) != self._origin.model_sha256:
            raise ModelError(f"a worker has another version of the model {self._origin.model!r}")
        self._predictor.load()

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        told = [
            self._make(part, list(paths)) for part, paths in zip(batch["part"], batch["paths"], strict=True)
        ]
        return {"told": np.array(told, object)}

    def _make(self, part: str, paths: list[str]) -> str:
        work = partial(answer_photo, predictor=self._predictor, chips=self._origin.chips)
        with closing(in_order(work, paths, threads=self._threads)) as answers:
            rows = [row for found in answers for row in found]
        write_part(part, rows, self._origin)
        return json.dumps(vars(totals_of(rows)) | {"failures": failures_of(rows)})
