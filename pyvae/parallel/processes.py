"""Jobs in processes of this machine."""

from __future__ import annotations

import multiprocessing
import multiprocessing.connection
import os
import signal
from collections.abc import Generator, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from threading import Thread
from typing import Any

from pyvae.data.images import ImageData
from pyvae.errors import UserError
from pyvae.parallel.jobs import Finished, Job, Shared, do, share

__all__ = ["Processes"]

MOST_JOBS = 1000


class Processes:
    """So many processes, each with so many of PyTorch's threads.

    Raises:
        UserError: If that is not 1 to 1000.
    """

    lasting = False

    def __init__(self, jobs: int, threads: int) -> None:
        if not 1 <= jobs <= MOST_JOBS:
            raise UserError(f"--jobs {jobs}", expected=f"1 to {MOST_JOBS}")
        self.jobs = jobs
        self.threads = threads

    def run(
        self, jobs: Sequence[Job], images: Mapping[str, ImageData], folder: Path
    ) -> Generator[Finished, None, None]:
        """As `pyvae.parallel.jobs.Workers.run` says."""
        # as files: of what a process is handed, it takes all before the next one is started
        with share(images, self.threads) as shared:
            pool = ProcessPoolExecutor(
                min(self.jobs, len(jobs)),
                multiprocessing.get_context("spawn"),
                initializer=_end_with_parent,
            )
            try:
                yield from _done(pool, jobs, shared)
            except BrokenProcessPool as error:
                raise UserError(
                    "a process that trained a seed was ended from outside; the system may have "
                    "been out of memory",
                    "run the same command again: seeds that are done are not repeated (fewer "
                    "--jobs need less memory)",
                ) from error
            finally:
                # not waited for: what is under way is not wanted any more, or there is nothing
                mine = _processes_of(pool)
                pool.shutdown(wait=False, cancel_futures=True)
                for process in mine:
                    process.terminate()

    def __str__(self) -> str:
        of = f" of {self.threads} threads" if self.threads > 1 else ""
        return f"{self.jobs} process{'es' if self.jobs > 1 else ''}{of}"


def _end_with_parent() -> None:
    """In a process: ends it when the one that started it is gone. Where that is killed, nobody
    tells the others; they would compute on, for nobody, and then wait without end."""
    parent = multiprocessing.parent_process()

    def wait_for_it() -> None:
        if parent is not None:
            multiprocessing.connection.wait([parent.sentinel])
            os._exit(1)  # what is half written is known as such

    Thread(target=wait_for_it, daemon=True).start()


def _processes_of(pool: ProcessPoolExecutor) -> list[multiprocessing.process.BaseProcess]:
    """A pool's own processes: others of this program are left alone. (From Python 3.14 on it ends
    them itself, `terminate_workers`.)"""
    return list((getattr(pool, "_processes", None) or {}).values())


def _done(pool: ProcessPoolExecutor, jobs: Sequence[Job], shared: Shared) -> Iterator[Finished]:
    """The jobs, as they are done."""
    # Ctrl-C and a closed terminal reach this process, which ends the others: they start out deaf
    deaf_to = (signal.SIGINT, signal.SIGHUP)
    heard = {number: signal.signal(number, signal.SIG_IGN) for number in deaf_to}
    try:
        pending: dict[Future[Any], Job] = {pool.submit(do, job, shared): job for job in jobs}
    finally:
        for number, handler in heard.items():
            signal.signal(number, handler)
    while pending:
        finished, _ = wait(pending, return_when=FIRST_COMPLETED)
        for future in finished:
            job = pending.pop(future)
            try:
                result = future.result()
            except UserError as error:
                raise UserError(f"{job.name}: {error}") from error
            yield Finished(job, result)
