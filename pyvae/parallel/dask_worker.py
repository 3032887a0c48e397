"""What a worker of a Dask cluster does with a job."""

from __future__ import annotations

import threading
import time
import traceback
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from pyvae.errors import UserError
from pyvae.parallel.jobs import Job, Shared, do, versions

__all__ = ["Outcome", "UnwantedError", "differences", "do_on_worker"]

OFTEN = 1.0  # seconds between two looks at whether a job is still wanted
ENDING = ("closing", "closed", "failed")

_one_at_a_time = threading.Lock()


class Outcome(NamedTuple):
    """What became of a job: what it returned, or why it failed; and on which worker."""

    where: str
    result: Any = None
    failure: str = ""


class UnwantedError(Exception):
    """Whom a job was done for is not there any more."""


def do_on_worker(job: Job, shared: Shared) -> Outcome:
    """Does a job in one of the worker's threads; whatever it fails with is what it returns.

    A worker with several threads does one job at a time: PyTorch's number of threads belongs to
    the process. What it cannot take up goes back to the scheduler, which may have an idle worker.

    Raises:
        Reschedule: If the worker is busy, or about to end.
        UnwantedError: If the job is not wanted any more: Dask cannot end what has begun.
    """
    from distributed import Reschedule, get_worker

    worker = get_worker()

    def look() -> None:
        if worker.status.name in ENDING:
            raise Reschedule
        if not shared.wanted:
            raise UnwantedError

    where = str(worker.name)
    if not _one_at_a_time.acquire(timeout=OFTEN):
        raise Reschedule
    try:
        differing = differences(shared.versions, versions())
        if differing:  # of a worker that came later
            return Outcome(where, failure=f"{differing}; install the same versions there")
        return Outcome(where, do(job, shared, _now_and_then(look)))
    except UserError as error:
        return Outcome(where, failure=str(error))
    except (Reschedule, UnwantedError):
        raise
    except Exception as error:  # a mistake of ours: who waits for it gets one line, the log all
        traceback.print_exc()
        words = f"{type(error).__name__}: {error}"
        return Outcome(where, failure=f"{words}; the worker's output says where")
    finally:
        _one_at_a_time.release()


def differences(expected: Mapping[str, str], found: Mapping[str, str | None]) -> str:
    """In words, what versions there are that should be others; empty where there are none."""
    return ", ".join(
        f"{name} {found.get(name) or 'is not there'}, here {version}"
        for name, version in expected.items()
        if found.get(name) != version
    )


def _now_and_then(look: Callable[[], None]) -> Callable[[], None]:
    """Looks, if the last time was long enough ago."""
    last = time.monotonic()

    def ask() -> None:
        nonlocal last
        if time.monotonic() - last >= OFTEN:
            look()
            last = time.monotonic()

    return ask
