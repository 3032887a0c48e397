"""Jobs on the workers of a Dask cluster."""

from __future__ import annotations

import asyncio
import logging
import time
import warnings
from collections.abc import Generator, Iterator, Mapping, Sequence
from concurrent.futures import CancelledError, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pyvae.data.images import ImageData
from pyvae.environment import read_seconds
from pyvae.errors import UserError
from pyvae.parallel.dask_worker import differences, do_on_worker
from pyvae.parallel.jobs import Finished, Job, share

if TYPE_CHECKING:
    from collections.abc import Callable

    from distributed import Client, Future

__all__ = ["Cluster", "open_cluster"]

TIMEOUT = 30.0  # seconds for a scheduler or a worker to be there, unless PYVAE_DASK_TIMEOUT says so
CONNECT = 10.0  # of these, until a scheduler has answered
GREETING = 1.0  # more, for it to say who it is
OFTEN = 1.0  # seconds between two looks at whether there are workers
HOW = "start one with: dask worker"
SAME = ("python", "pyvae", "torch")  # what the numbers depend on


class Cluster:
    """The workers of a scheduler, connected to by `open_cluster`.

    A worker that is lost costs what it did since its last checkpoint: its job is given to another
    one, as often as Dask allows (`distributed.scheduler.allowed-failures`).

    Arguments:
        client: Connected.
        address: The scheduler's, as it was given.
        threads: PyTorch's, for each job.
        patience: Seconds without any worker before that is an error.
    """

    lasting = True

    def __init__(self, client: Client, address: str, threads: int, patience: float) -> None:
        self.client = client
        self.address = address
        self.threads = threads
        self.patience = patience

    def run(
        self, jobs: Sequence[Job], images: Mapping[str, ImageData], folder: Path
    ) -> Generator[Finished, None, None]:
        """As `pyvae.parallel.jobs.Workers.run` says.

        At the end the images are removed, by which jobs that are under way see that they are not
        wanted any more.
        """
        with share(images, self.threads, folder) as shared:
            pending: dict[Future, Job] = {
                self.client.submit(do_on_worker, job, shared, pure=False): job for job in jobs
            }
            try:
                while pending:
                    for future in self._some(list(pending)):
                        job = pending.pop(future)
                        yield self._outcome(job, future)
            finally:
                if pending and self.client.status == "running":
                    with suppress(Exception):  # the scheduler went away: there is nothing to cancel
                        self.client.cancel(list(pending), force=True)

    def _some(self, futures: list[Future]) -> list[Future]:
        """Those that are done, as soon as one is.

        Raises:
            UserError: If the scheduler or all workers are lost.
        """
        from distributed import wait

        seen = time.monotonic()  # when there was a worker
        while True:
            try:
                with self.client.as_current():
                    return list(wait(futures, timeout=OFTEN, return_when="FIRST_COMPLETED").done)
            except TimeoutError:
                pass
            except CancelledError as error:  # they are when the connection is lost
                raise self._lost() from error
            if self.client.status != "running":
                raise self._lost()
            if _workers(self.client):
                seen = time.monotonic()
            elif time.monotonic() - seen > self.patience:
                raise UserError(
                    f"the last worker of {self.address} was lost {self.patience:g} seconds ago",
                    f"{HOW} {self.address}, and run the same command again: it goes on from here",
                    expected="one that does the rest",
                )

    def _lost(self) -> UserError:
        return UserError(
            f"the connection to the scheduler {self.address} was lost",
            "run the same command again: it goes on from here",
        )

    def _outcome(self, job: Job, future: Future) -> Finished:
        from distributed.scheduler import KilledWorker

        try:
            outcome = future.result()
        except KilledWorker as error:
            lost = error.allowed_failures + 1
            last = error.last_worker.address
            told = f"{lost} workers were lost while they had it, the last of them {last}"
            raise UserError(
                f"{job.name}: "
                + (told if lost > 1 else f"a worker was lost while it had it, {last}")
                + "; it may have been out of memory",
                "its own output says more; run the same command again: it goes on from here",
            ) from error
        except Exception as error:  # what kept the worker from even starting with it
            if future.cancelled():
                raise self._lost() from error
            raise UserError(f"{job.name}: {type(error).__name__} on a worker: {error}") from error
        if outcome.failure:
            raise UserError(f"{job.name} on worker {outcome.where}: {outcome.failure}")
        return Finished(job, outcome.result, outcome.where)

    def __str__(self) -> str:
        count = len(_workers(self.client))
        threads = f", {self.threads} thread{'s' if self.threads > 1 else ''} each"
        return f"{count} worker{'s' if count > 1 else ''} of {self.address}{threads}"


@contextmanager
def open_cluster(
    address: str, threads: int, say: Callable[[str], object] = print
) -> Iterator[Cluster]:
    """Connects to a scheduler and looks at its workers.

    Arguments:
        address: Of the scheduler, such as `tcp://host:8786`.
        threads: PyTorch's, for each job.
        say: Called with a line on workers that could be used better.

    Raises:
        UserError: If `distributed` is not there, the scheduler cannot be reached, has no worker
            within $PYVAE_DASK_TIMEOUT (30) seconds, or one with other versions.
    """
    patience = read_seconds("PYVAE_DASK_TIMEOUT", TIMEOUT)
    try:
        from distributed import Client
    except ImportError as error:
        raise UserError(
            f"--scheduler {address} needs the package 'distributed' ({error})",
            "pip install distributed",
        ) from error
    if ":" not in address:  # without an address Dask would start a cluster of its own
        raise UserError(f"--scheduler '{address}'", expected="an address such as tcp://host:8786")
    with _quiet():
        timeout = min(CONNECT, patience)
        try:
            _wait_for_answer(address, timeout)
            with warnings.catch_warnings():  # of other versions we say what matters
                warnings.simplefilter("ignore")
                client = Client(address, timeout=timeout, set_as_default=False)
        except Exception as error:  # of many kinds, from a wrong address to another protocol
            raise UserError(
                f"--scheduler {address} cannot be reached ({_reason(error)})",
                "start one with: dask scheduler",
                expected="the address that `dask scheduler` prints",
            ) from error
        try:
            _wait_for_workers(client, address, patience)
            _check_workers(client, address, say)
            yield Cluster(client, address, threads, patience)
        finally:
            if client.status == "running":  # what is lost gives up by itself
                with suppress(Exception):
                    client.close(timeout=2)


def _wait_for_answer(address: str, seconds: float) -> None:
    """Raises TimeoutError where something listens and says nothing: Dask would wait without end."""
    from distributed.comm import connect

    async def greet() -> None:
        comm = await connect(address, timeout=seconds)
        await comm.close()

    async def greet_in_time() -> None:
        try:
            await asyncio.wait_for(greet(), seconds + GREETING)  # first its own, which says more
        except TimeoutError as error:
            raise TimeoutError(f"no answer after {seconds:g} seconds") from error

    with ThreadPoolExecutor(1) as apart:  # a notebook's thread has a loop that is running
        apart.submit(asyncio.run, greet_in_time()).result()


def _wait_for_workers(client: Client, address: str, patience: float) -> None:
    deadline = time.monotonic() + patience
    while not _workers(client):
        if time.monotonic() > deadline:
            raise UserError(
                f"the scheduler {address} has no worker after {patience:g} seconds",
                f"{HOW} {address} (set PYVAE_DASK_TIMEOUT to more seconds if workers come later)",
                expected="at least one",
            )
        time.sleep(0.1)


def _check_workers(client: Client, address: str, say: Callable[[str], object]) -> None:
    """All that are there now; who comes later is looked at when it takes a job."""
    found: Any = client.get_versions(packages=["pyvae", "torch"])
    here = {name: found["client"]["packages"][name] for name in SAME}
    for worker, about in found["workers"].items():
        differing = differences(here, about["packages"])
        if differing:
            raise UserError(
                f"worker {worker} of {address} has other versions: {differing}",
                "install them there: other versions can give other numbers",
                expected="the same on all machines",
            )
    several = [about for about in _workers(client).values() if about["nthreads"] > 1]
    if several:
        say(
            f"{len(several)} of the workers have several threads and do one job at a time all the "
            f"same; for more: dask worker {address} --nthreads 1 --nworkers N"
        )


def _workers(client: Client) -> dict[str, Any]:
    return client.scheduler_info()["workers"]


def _reason(error: Exception) -> str:
    words = str(error).strip() or type(error).__name__
    return words.splitlines()[0]


def _dask_loggers() -> list[logging.Logger]:
    """Of Dask and what it stands on; some have handlers of their own."""
    known = ["asyncio", *logging.root.manager.loggerDict]
    names = [name for name in known if name.split(".")[0] in ("asyncio", "distributed", "tornado")]
    return [logging.getLogger(name) for name in names]


@contextmanager
def _quiet() -> Iterator[None]:
    """What goes wrong is said in one line, ours; not by Dask as well, nor by what of it still runs
    in the background after an error."""
    import distributed  # noqa: F401 (gives its loggers their handlers)

    loggers = _dask_loggers()
    before = [(logger.handlers, logger.propagate) for logger in loggers]
    for logger in loggers:
        logger.handlers, logger.propagate = [logging.NullHandler()], False
    yield
    for logger, (handlers, propagate) in zip(loggers, before, strict=True):
        logger.handlers, logger.propagate = handlers, propagate
