from __future__ import annotations

import threading

import pytest

from agegender.errors import DatasetError
from ui.jobs import Job


def test_a_job_says_how_far_it_is():
    go_on, reported = threading.Event(), threading.Event()
    kept = []

    def work(report):
        report("Counting", 1, 2)
        reported.set()
        go_on.wait(10)
        kept.append(42)

    job = Job(work)
    assert reported.wait(10)
    assert (job.running, job.what, job.share) == (True, "Counting", 0.5)
    go_on.set()
    job.join()
    assert (job.running, job.error, kept) == (False, "", [42])


def test_a_job_stops_when_it_next_reports_and_that_is_no_error():
    started = threading.Event()
    kept = []

    def work(report):
        report("Counting", 1, 10)
        started.set()
        stopped.wait(10)
        report("Counting", 2, 10)
        kept.append(42)

    stopped = threading.Event()
    job = Job(work)
    assert started.wait(10)
    job.stop()
    stopped.set()
    job.join()
    assert (job.share, job.error, kept) == (0.1, "", [])


def test_a_failure_is_put_into_words():
    def work(report):
        raise DatasetError("there are too few files")

    job = Job(work)
    job.join()
    assert job.error == "there are too few files"


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_surprise_goes_to_the_log_and_not_to_visitors():
    def work(report):
        raise RuntimeError("/secret/path")

    job = Job(work)
    job.join()
    assert job.error == "RuntimeError; the app's log says more"
