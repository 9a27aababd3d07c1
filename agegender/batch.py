"""Many inputs side by side: results in order, bounded memory, and an end on request."""

from __future__ import annotations

import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Final, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class _Batch(threading.local):
    """What a thread of a `Crew` knows of the others: how many of them are at work, in a list they share."""

    at_work: list[object] | None = None
    threads: int = 0


_batch: Final = _Batch()


def others_are_busy() -> bool:
    """Whether this thread works on one of many items, beside others on all other cores.

    Then an item's own work is better not divided among threads: all that is gained is their coordination.
    """
    return _batch.at_work is not None and len(_batch.at_work) >= _batch.threads


class SideBySide:
    """Threads that share the work on one of many items, unless all cores are busy with others.

    Args:
        threads: How many there are at most; they are started when they are needed.
    """

    def __init__(self, threads: int) -> None:
        self._pool = ThreadPoolExecutor(threads) if threads > 1 else None

    def map(self, work: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
        """Does the work on every item; returns the results in the items' order."""
        if self._pool is None or len(items) < 2 or others_are_busy():
            return [work(item) for item in items]
        return list(self._pool.map(work, items))


class Crew:
    """Threads that work side by side, each on an item of its own, and know whether all of them are busy.

    Args:
        threads: How many threads there are.
    """

    def __init__(self, threads: int) -> None:
        self.threads = threads
        self._at_work: list[object] = []

    def work_on(self, item: Item, work: Callable[[Item], Result]) -> Result:
        """Does the work in one of the threads, which calls this; see `others_are_busy`."""
        _batch.at_work, _batch.threads = self._at_work, self.threads
        self._at_work.append(item)
        try:
            return work(item)
        finally:
            self._at_work.pop()  # any one: they are only counted
            _batch.at_work = None


def in_order(
    work: Callable[[Item], Result],
    items: Iterable[Item],
    stop: threading.Event | None = None,
    threads: int | None = None,
) -> Generator[Result, None, None]:
    """Works on items in one thread a core, and gives the results in the items' order.

    Twice as many items as threads are begun or wait to be at any time, so that memory is bounded however
    many there are, and one slow item holds up nothing but the order.

    Args:
        work: What to do with an item; called from several threads at once.
        items: Taken one by one, as they are needed.
        stop: Once set, no further item is begun; those that are begun are finished and given.
        threads: Another number of threads.

    Yields:
        The results.

    Raises:
        Exception: What ``work`` raises, in the item's turn. Nothing follows then.
    """
    crew = Crew(threads or cores())
    rest = iter(items)
    waiting: deque[Future[Result]] = deque()
    pool = ThreadPoolExecutor(crew.threads)
    try:
        while True:
            while len(waiting) < 2 * crew.threads and not (stop and stop.is_set()):
                try:
                    waiting.append(pool.submit(crew.work_on, next(rest), work))
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
