"""A job in a Dask worker; there is no cluster here."""

from __future__ import annotations

import threading
from dataclasses import replace
from types import SimpleNamespace

import distributed
import pytest
import torch

from pyvae.data.images import load_toy
from pyvae.errors import UserError
from pyvae.parallel import dask_worker as cluster_worker
from pyvae.parallel.dask_worker import Outcome, UnwantedError, differences, do_on_worker
from pyvae.parallel.jobs import Job, share


@pytest.fixture
def worker(monkeypatch):
    """A stand-in for the worker of this process; jobs check it after every step."""
    worker = SimpleNamespace(name="w1", status=distributed.Status.running)
    monkeypatch.setattr(distributed, "get_worker", lambda: worker)
    monkeypatch.setattr(cluster_worker, "INTERVAL", 0.0)
    return worker


@pytest.fixture
def shared(tmp_path):
    threads = torch.get_num_threads()
    with share({"toy": load_toy(30)}, 1, tmp_path) as shared:
        yield shared
    torch.set_num_threads(threads)


def do(shared, function):
    return do_on_worker(Job("key", "a job", function, (), ("toy",)), shared)


def test_it_returns_what_the_job_does_and_where(worker, shared):
    def count(images, on_step):
        on_step()
        return len(images[0])

    assert do(shared, count) == Outcome("w1", 30)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (UserError("no paper", expected="some"), "no paper: expected some"),
        (
            ZeroDivisionError("by 0"),
            "ZeroDivisionError: by 0. The worker's output has the traceback.",
        ),
        (
            OSError(28, "disk full"),
            "OSError: [Errno 28] disk full. The worker's output has the traceback.",
        ),
    ],
)
def test_whatever_fails_is_words(worker, shared, error, words, capsys):
    def fail(images, on_step):
        raise error

    assert do(shared, fail) == Outcome("w1", None, words)
    assert ("Traceback" in capsys.readouterr().err) is not isinstance(error, UserError)
    assert do(shared, lambda images, on_step: 1).result == 1  # the next one is done


def test_a_worker_of_other_versions_does_nothing(worker, shared):
    other = replace(shared, versions={**shared.versions, "torch": "1.0"})
    outcome = do(other, lambda images, on_step: 1)
    assert outcome.result is None
    assert (
        f"other versions: torch {shared.versions['torch']} instead of 1.0. Install the same"
        in outcome.failure
    )


def test_differences_are_named():
    expected = {"python": "3.11", "torch": "2"}
    assert differences(expected, expected) == ""
    assert differences(expected, {"python": "3.11", "torch": "3"}) == "torch 3 instead of 2"
    assert differences(expected, {"torch": None}) == (
        "python missing instead of 3.11, torch missing instead of 2"
    )


def test_a_job_that_is_not_wanted_any_more_ends(worker, shared):
    def until_told(images, on_step):
        shared.images["toy"].file.unlink()
        on_step()

    with pytest.raises(UnwantedError):
        do(shared, until_told)


@pytest.mark.parametrize("status", ["closing", "closed", "failed"])
def test_a_worker_that_ends_gives_its_job_back(worker, shared, status):
    def until_told(images, on_step):
        worker.status = distributed.Status[status]
        on_step()

    with pytest.raises(distributed.Reschedule):
        do(shared, until_told)


def test_a_busy_worker_takes_no_second_job(worker, shared):
    """Of a worker with several threads."""
    begun, end = threading.Event(), threading.Event()

    def long(images, on_step):
        begun.set()
        end.wait()
        return "long"

    outcomes = []
    other = threading.Thread(target=lambda: outcomes.append(do(shared, long)))
    other.start()
    assert begun.wait()
    with pytest.raises(distributed.Reschedule):
        do(shared, lambda images, on_step: 1)
    end.set()
    other.join()
    assert [outcome.result for outcome in outcomes] == ["long"]
