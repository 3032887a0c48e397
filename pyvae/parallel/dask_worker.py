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

INTERVAL = 1.0  # seconds between two looks at whether a job is still wanted
SAME = "Install the same versions on all machines."
ENDING = ("closing", "closed", "failed")

_one_at_a_time = threading.Lock()


class Outcome(NamedTuple):
    """What a job returned, or why it failed; and on which worker."""

    where: str
    result: Any = None
    failure: str = ""


class UnwantedError(Exception):
    """The client that submitted this job has gone away."""


def do_on_worker(job: Job, shared: Shared) -> Outcome:
    """Does a job in one of the worker's threads; a failure is part of what it returns.

    A worker with several threads does one job at a time, because PyTorch's number of threads
    belongs to the process. A second job goes back to the scheduler, which may have an idle worker.

    Raises:
        Reschedule: If the worker is busy, or about to end.
        UnwantedError: If the client has gone away. (Dask cannot end a job that has begun.)
    """
    from distributed import Reschedule, get_worker

    worker = get_worker()

    def check() -> None:
        if worker.status.name in ENDING:
            raise Reschedule
        if not shared.wanted:
            raise UnwantedError

    where = str(worker.name)
    if not _one_at_a_time.acquire(timeout=INTERVAL):
        raise Reschedule
    try:
        differing = differences(shared.versions, versions())
        if differing:  # of a worker that came later
            return Outcome(where, failure=f"other versions: {differing}. {SAME}")
        return Outcome(where, do(job, shared, _at_intervals(check)))
    except UserError as error:
        return Outcome(where, failure=str(error))
    except (Reschedule, UnwantedError):
        raise
    except Exception as error:  # a mistake of ours: the client gets one line, the log all of it
        traceback.print_exc()
        words = f"{type(error).__name__}: {error}"
        return Outcome(where, failure=f"{words}. The worker's output has the traceback.")
    finally:
        _one_at_a_time.release()


def differences(expected: Mapping[str, str], found: Mapping[str, str | None]) -> str:
    """The versions that differ, in words; empty if none does."""
    return ", ".join(
        f"{name} {found.get(name) or 'missing'} instead of {version}"
        for name, version in expected.items()
        if found.get(name) != version
    )


def _at_intervals(check: Callable[[], None]) -> Callable[[], None]:
    """A function that calls `check` if the last call was long enough ago."""
    last = time.monotonic()

    def on_step() -> None:
        nonlocal last
        if time.monotonic() - last >= INTERVAL:
            check()
            last = time.monotonic()

    return on_step
