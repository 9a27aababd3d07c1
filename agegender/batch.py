"""Many inputs side by side: results in order, bounded memory, and an end on request."""

from __future__ import annotations

import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def in_order(
    work: Callable[[Item], Result], items: Iterable[Item], stop: threading.Event | None = None
) -> Generator[Result, None, None]:
    """Works on items in one thread a core, and gives the results in the items' order.

    Twice as many items as threads are begun or wait to be at any time, so that memory is bounded however
    many there are, and one slow item holds up nothing but the order.

    Args:
        work: What to do with an item; called from several threads at once.
        items: Taken one by one, as they are needed.
        stop: Once set, no further item is begun; those that are begun are finished and given.

    Yields:
        The results.

    Raises:
        Exception: What ``work`` raises, in the item's turn. Nothing follows then.
    """
    threads = cores()
    rest = iter(items)
    waiting: deque[Future[Result]] = deque()
    pool = ThreadPoolExecutor(threads)
    try:
        while True:
            while len(waiting) < 2 * threads and not (stop and stop.is_set()):
                try:
                    waiting.append(pool.submit(work, next(rest)))
                except StopIteration:
                    break
            if not waiting:
                return
            future = waiting.popleft()
            if not (stop and stop.is_set() and future.cancel()):
                yield future.result()
    finally:
        pool.shutdown(cancel_futures=True)


@contextmanager
def stop_on_signal() -> Iterator[threading.Event]:
    """Turns the first ``Ctrl-C``, or request to terminate, into an event; a second one interrupts at once."""
    stop = threading.Event()

    def ask(*_: object) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()

    if threading.current_thread() is not threading.main_thread():  # which alone may set handlers
        yield stop
        return
    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
