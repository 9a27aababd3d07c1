"""Work that takes minutes, done beside the pages: it goes on while the visitor looks around.

A page that did such work itself would lose it at the next click.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Final

import streamlit as st

from agegender.errors import AgeGenderError
from agegender.progress import Progress
from ui.widgets import without_paths

_LOOK_SECONDS: Final = 1.0
_REMEMBERED: Final = 8

Work = Callable[[Progress], None]
"""Gets what to report to; keeps its result itself."""


class StopRequestedError(Exception):
    """Raised within the work where whoever began it wants it to end."""


class Job:
    """One piece of work in a thread of its own, begun at once.

    Args:
        work: What to do. It is stopped the next time it reports.
        owner: Who began it, and may stop it.

    Attributes:
        owner: As given.
        what: What is being done, in words.
        share: How much of it is done, 0 to 1.
        error: Why it failed, in words for people, or "".
    """

    def __init__(self, work: Work, owner: str = "") -> None:
        self.owner = owner
        self.what, self.share = "Starting", 0.0
        self.error = ""
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(work,), daemon=True)
        self._thread.start()

    @property
    def running(self) -> bool:
        """Whether it is still at it."""
        return self._thread.is_alive()

    def stop(self) -> None:
        """Asks it to end."""
        self._stop.set()

    def join(self) -> None:
        """Waits for its end."""
        self._thread.join()

    def _run(self, work: Work) -> None:
        try:
            work(self._report)
        except StopRequestedError:
            pass
        except AgeGenderError as error:
            self.error = without_paths(str(error))
        except Exception as error:
            self.error = f"{type(error).__name__}; the app's log says more"
            raise  # to the log, by the thread's own handler

    def _report(self, what: str, done: int, total: int) -> None:
        if self._stop.is_set():
            raise StopRequestedError
        self.what, self.share = what, done / max(total, 1)


class Jobs:
    """The jobs of all visitors, one at a time; how the latest ended is remembered."""

    def __init__(self) -> None:
        self._jobs: OrderedDict[Hashable, Job] = OrderedDict()
        self._lock = threading.Lock()

    def find(self, key: Hashable) -> Job | None:
        """The latest job of a kind, at work or done."""
        return self._jobs.get(key)

    def current(self) -> Job | None:
        """The one at work, of whatever kind."""
        return next((job for job in list(self._jobs.values()) if job.running), None)

    def begin(self, key: Hashable, work: Work, owner: str) -> None:
        """Begins a job, unless one is at work: another visitor may have been quicker."""
        with self._lock:
            if self.current() is None:
                self._jobs[key] = Job(work, owner)
                self._jobs.move_to_end(key)
                while len(self._jobs) > _REMEMBERED:
                    self._jobs.popitem(last=False)


def watch(job: Job, *, me: str, key: str) -> None:
    """Shows how far a job is, and reruns the page when it ends. Whoever began it gets a button to stop it.

    Args:
        job: The job.
        me: Who looks on.
        key: Of the button.
    """

    def look() -> None:
        if not job.running:
            st.rerun()
        with st.container(horizontal=True, vertical_alignment="center"):
            st.progress(min(job.share, 1.0), f"{job.what} … {job.share:.0%}")
            if job.owner == me:
                st.button("Stop", key=key, icon=":material/stop_circle:", on_click=job.stop)

    st.fragment(look, run_every=_LOOK_SECONDS)()
