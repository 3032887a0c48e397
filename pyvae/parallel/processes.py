"""Jobs in processes of this machine."""

from __future__ import annotations

import multiprocessing
import multiprocessing.connection
import os
from collections.abc import Generator, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from threading import Thread
from typing import Any

from pyvae.data.images import ImageData
from pyvae.errors import UserError
from pyvae.parallel.jobs import Finished, Job, Shared, do, share
from pyvae.parallel.starting import (
    FOR_ONE,
    adopt,
    choose_context,
    hold_back,
    importable_main,
)

__all__ = ["Processes"]

MOST_JOBS = 1000


class Processes:
    """Processes of this machine.

    Arguments:
        jobs: How many, 1 to 1000.
        threads: PyTorch's, for each.

    Raises:
        UserError: If the number is out of its range.
    """

    lasting = False

    def __init__(self, jobs: int, threads: int) -> None:
        if not 1 <= jobs <= MOST_JOBS:
            raise UserError(f"--jobs {jobs}", expected=f"1 to {MOST_JOBS}")
        self.jobs = jobs
        self.threads = threads

    @property
    def at_once(self) -> int:
        return self.jobs

    def share(self, jobs: int) -> float:
        """Less than 1 if they have more threads than there are cores."""
        return min(1.0, (os.cpu_count() or 1) / (jobs * self.threads))

    def run(
        self, jobs: Sequence[Job], images: Mapping[str, ImageData], folder: Path
    ) -> Generator[Finished, None, None]:
        """Does all jobs, as `pyvae.parallel.jobs.Workers.run` does."""
        # as files: a process reads all that it is handed before the next one is started
        with share(images, self.threads) as shared:
            pool = _open_pool(min(self.jobs, len(jobs)), jobs)
            try:
                yield from _done(pool, jobs, shared)
            except BrokenProcessPool as error:
                raise UserError(
                    "a process that was training was killed, perhaps for lack of memory",
                    "run the same command again to continue; fewer --jobs need less memory",
                ) from error
            finally:
                # not waited for: nobody wants what is under way, if anything is
                mine = _pool_processes(pool)
                pool.shutdown(wait=False, cancel_futures=True)
                for process in mine:
                    process.terminate()

    def __str__(self) -> str:
        of = f" of {self.threads} threads" if self.threads > 1 else ""
        return f"{self.jobs} process{'es' if self.jobs > 1 else ''}{of}"


def _open_pool(processes: int, jobs: Sequence[Job]) -> ProcessPoolExecutor:
    """A pool of so many processes, which are started when they are needed."""
    context = choose_context(sorted({job.function.__module__ for job in jobs}))
    forked = context.get_start_method() == "forkserver"
    environment = dict(os.environ) if forked else None  # else they inherit it
    return ProcessPoolExecutor(processes, context, initializer=_begin, initargs=(environment,))


def _begin(environment: Mapping[str, str] | None) -> None:
    """The first thing that a process does."""
    _end_with_parent()
    if environment is not None:
        adopt(environment)


def _end_with_parent() -> None:
    """In a process: ends it when the one that started it is gone. If that is killed, the pool's
    processes are not told: they would compute on, and then wait without end. (joblib's do, too.)"""
    parent = multiprocessing.parent_process()

    def wait_for_parent() -> None:
        if parent is not None:
            multiprocessing.connection.wait([parent.sentinel])
            os._exit(1)  # half-written files are known as such

    Thread(target=wait_for_parent, daemon=True).start()


def _pool_processes(pool: ProcessPoolExecutor) -> list[multiprocessing.process.BaseProcess]:
    """A pool's own processes. (From Python 3.14 on it can end them itself: `terminate_workers`.)"""
    return list((getattr(pool, "_processes", None) or {}).values())


def _done(pool: ProcessPoolExecutor, jobs: Sequence[Job], shared: Shared) -> Iterator[Finished]:
    """The jobs, as they finish."""
    pending: dict[Future[Any], Job] = {}
    with hold_back(*FOR_ONE), importable_main():
        for job in jobs:
            try:
                pending[pool.submit(do, job, shared)] = job
            except (ConnectionError, EOFError) as error:  # what forks was killed just now
                raise BrokenProcessPool from error
    while pending:
        finished, _ = wait(pending, return_when=FIRST_COMPLETED)
        for future in [future for future in pending if future in finished]:  # in order
            job = pending.pop(future)
            try:
                result = future.result()
            except UserError as error:
                raise UserError(f"{job.name}: {error}") from error
            yield Finished(job, result)
