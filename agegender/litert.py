"""Networks as LiteRT files, safe to share between threads.

LiteRT (`ai-edge-litert`) runs what TensorFlow's converter writes, without TensorFlow.
"""

from __future__ import annotations

import ctypes
import os
import queue
import threading
import weakref
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

MAX_THREADS: Final = 4
"""Threads of one interpreter at most: networks this small gain nothing from more."""


def default_threads() -> int:
    """How many threads a network gets where nobody says: the cores this process may use, up to four."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(cores, MAX_THREADS))


@dataclass(eq=False)
class _Prepared:
    """An interpreter, and the shape of the input it is ready for."""

    interpreter: Any
    shape: tuple[int, ...] | None = None


class LiteRTModel:
    """A network with one input, ready to run.

    May be shared by any number of threads: as many calls run side by side as there are copies, others wait.
    An input of another height or width than the last one's costs milliseconds of preparation, so callers who
    mind keep to few sizes.

    Attributes:
        outputs: Names of the outputs, in the order in which a call returns them.

    Args:
        model: A ``.tflite`` file, or its bytes.
        threads: Threads of the processor a call may use; ``None`` for `default_threads`.
        copies: How many calls may run side by side, each with memory of its own.

    Raises:
        OSError: If the file cannot be read.
        ValueError: If it is not a LiteRT model, or its first signature has not exactly one input.
    """

    def __init__(self, model: Path | bytes, *, threads: int | None = None, copies: int = 1) -> None:
        from ai_edge_litert.interpreter import Interpreter

        content = model if isinstance(model, bytes) else model.read_bytes()
        # Last in, first out: where one caller is alone, the other copies take no memory for their work.
        self._idle: queue.LifoQueue[_Prepared] = queue.LifoQueue()
        for _ in range(copies):
            interpreter = Interpreter(model_content=content, num_threads=threads or default_threads())
            _keep_in_forks(interpreter)
            self._idle.put(_Prepared(interpreter))
        inputs, outputs = interpreter.get_input_details(), interpreter.get_output_details()
        if len(inputs) != 1:
            raise ValueError(f"a network with one input is needed, this has {len(inputs)}")
        self._input: int = inputs[0]["index"]
        self._outputs: list[int] = [output["index"] for output in outputs]
        self.outputs: tuple[str, ...] = tuple(output["name"] for output in outputs)

    def __call__(self, batch: NDArray[np.float32]) -> list[NDArray[np.float32]]:
        """Runs the network.

        Args:
            batch: The input, float32, in the shape the network takes.

        Returns:
            Its outputs, in the file's order; arrays of the caller's own.

        Raises:
            ValueError: If the input is of another type or shape than the network takes.
        """
        own = self._idle.get()
        try:
            if batch.shape != own.shape:
                own.shape = None
                own.interpreter.resize_tensor_input(self._input, batch.shape)
                with _without_greeting():
                    own.interpreter.allocate_tensors()
                own.shape = batch.shape
            own.interpreter.set_tensor(self._input, batch)
            own.interpreter.invoke()
            return [own.interpreter.get_tensor(index) for index in self._outputs]
        finally:
            self._idle.put(own)


def _keep_in_forks(interpreter: Any) -> None:
    """Sees to it that a forked process never frees an interpreter of the process it was forked from.

    Freeing one waits for its threads to end, and threads stay behind at a fork: the process would never exit.
    """
    kept = weakref.ref(interpreter)

    def keep() -> None:
        if (found := kept()) is not None:
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(found))

    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=keep)


_GREETING: Final = threading.Lock()
_GREETED: Final = threading.Event()
"""The first network of a process that gets ready does so alone; once it is, the event is set."""


@contextmanager
def _without_greeting() -> Iterator[None]:
    """Keeps a line off standard error that LiteRT's C++ code writes once a process and no setting turns off.

    For those few milliseconds, once, all of the process's standard error is lost; errors are exceptions.
    """
    if _GREETED.is_set():
        yield
        return
    with _GREETING, ExitStack() as stack:
        if not _GREETED.is_set():
            stack.enter_context(_silence())
            stack.callback(_GREETED.set)
        yield


@contextmanager
def _silence() -> Iterator[None]:
    try:
        kept = os.dup(2)
    except OSError:  # a process without standard error
        yield
        return
    try:
        with open(os.devnull, "wb") as nowhere:  # noqa: PTH123 - devnull is a name, not a path
            os.dup2(nowhere.fileno(), 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
