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
from pyvae.version import DISTRIBUTION

if TYPE_CHECKING:
    from collections.abc import Callable

    from distributed import Client, Future

__all__ = ["Cluster", "open_cluster"]

TIMEOUT = 30.0  # seconds to wait for a scheduler or a worker, unless PYVAE_DASK_TIMEOUT is set
CONNECT = 10.0  # of these, until a scheduler has answered
GREETING = 1.0  # more, for it to say who it is
INTERVAL = 1.0  # seconds between two looks at whether the scheduler and a worker are there
SHORTEST = 0.01  # seconds to wait for a worker: Dask takes 0 for without end
AGAIN = "run the same command again to continue"
SAME = ("python", DISTRIBUTION, "torch")  # what the numbers depend on


class Cluster:
    """The workers of a scheduler, as `open_cluster` connects to them.

    Where a worker is lost, another one does its job from the last checkpoint on, as often as Dask
    allows (`distributed.scheduler.allowed-failures`).

    Arguments:
        client: Is connected to the scheduler.
        address: The scheduler's, as it was given.
        threads: PyTorch's, for each job.
        patience: Seconds to wait for a worker while there is none.
        log: Called with a line when that begins.
    """

    lasting = True

    def __init__(
        self,
        client: Client,
        address: str,
        threads: int,
        patience: float = TIMEOUT,
        log: Callable[[str], object] = print,
    ) -> None:
        self.client = client
        self.address = address
        self.threads = threads
        self.patience = patience
        self.log = log

    @property
    def at_once(self) -> int:
        return max(1, len(_workers(self.client)))

    def share(self, jobs: int) -> float:
        """All of it: nobody knows what else their machines do."""
        return 1.0

    def run(
        self, jobs: Sequence[Job], images: Mapping[str, ImageData], folder: Path
    ) -> Generator[Finished, None, None]:
        """Does all jobs, as `pyvae.parallel.jobs.Workers.run` does.

        At the end the images are removed: jobs that are still under way end when they see that.
        """
        with share(images, self.threads, folder) as shared:
            pending: dict[Future, Job] = {
                self.client.submit(do_on_worker, job, shared, pure=False): job for job in jobs
            }
            try:
                while pending:
                    for future in self._finished(list(pending)):
                        job = pending.pop(future)
                        yield self._outcome(job, future)
            finally:
                if pending and self.client.status == "running":
                    with suppress(Exception):  # the scheduler went away: there is nothing to cancel
                        self.client.cancel(list(pending), force=True)

    def _finished(self, futures: list[Future]) -> list[Future]:
        """Waits for the first of these to finish.

        Raises:
            UserError: If the scheduler or all workers are lost.
        """
        from distributed import wait

        while True:
            try:
                with self.client.as_current():
                    return list(wait(futures, timeout=INTERVAL, return_when="FIRST_COMPLETED").done)
            except TimeoutError:
                pass
            except CancelledError as error:  # they are when the connection is lost
                raise self._lost() from error
            if self.client.status != "running":
                raise self._lost()
            self.wait_for_worker(
                f"all workers of {self.address} are lost",
                f"start one with 'dask worker {self.address}', then {AGAIN}",
                futures,
            )

    def wait_for_worker(self, problem: str, remedy: str, futures: Sequence[Future] = ()) -> None:
        """Waits until there is a worker, or one of the futures is done: what the loss of the last
        worker did to its job may be heard of after the loss.

        Arguments:
            problem: Why there is none, in words.
            remedy: What to do if none appears.
            futures: Of jobs that are under way.

        Raises:
            UserError: If none appears in time, or the scheduler is lost.
        """
        if _workers(self.client):
            return
        self.log(f"{problem}: waiting up to {self.patience:g} seconds for one to appear")
        look = INTERVAL if futures else self.patience
        end = time.monotonic() + self.patience
        while not any(future.done() for future in futures):
            left = end - time.monotonic()
            try:
                self.client.wait_for_workers(1, timeout=max(SHORTEST, min(look, left)))
                return
            except TimeoutError as error:
                if left <= look:
                    raise UserError(
                        f"{problem}, and none appeared within {self.patience:g} seconds", remedy
                    ) from error
            except OSError as error:  # among them distributed's own of a connection that is lost
                raise self._lost() from error

    def _lost(self) -> UserError:
        return UserError(f"the connection to the scheduler {self.address} was lost", AGAIN)

    def _outcome(self, job: Job, future: Future) -> Finished:
        from distributed.scheduler import KilledWorker

        try:
            outcome = future.result()
        except KilledWorker as error:
            lost = error.allowed_failures + 1
            last = error.last_worker.address
            which = f"worker {last} was" if lost == 1 else f"{lost} workers, {last} the last, were"
            raise UserError(
                f"{job.name}: {which} lost during it, perhaps for lack of memory",
                f"look at the worker's own output, then {AGAIN}",
            ) from error
        except Exception as error:  # the worker could not even start the job
            if future.cancelled():
                raise self._lost() from error
            raise UserError(f"{job.name}: {type(error).__name__} on a worker: {error}") from error
        if outcome.failure:
            raise UserError(f"{job.name} on worker {outcome.where}: {outcome.failure}")
        return Finished(job, outcome.result, outcome.where)

    def __str__(self) -> str:
        count = len(_workers(self.client))
        threads = f"{self.threads} thread{'' if self.threads == 1 else 's'} each"
        return f"{count} worker{'' if count == 1 else 's'} of {self.address}, {threads}"


@contextmanager
def open_cluster(
    address: str, threads: int, log: Callable[[str], object] = print
) -> Iterator[Cluster]:
    """Connects to a scheduler and checks its workers.

    Arguments:
        address: Of the scheduler, such as `tcp://host:8786`.
        threads: PyTorch's, for each job.
        log: Called with one line if no worker has appeared yet, or if some of them will be idle.

    Raises:
        UserError: If `distributed` is not installed, the scheduler cannot be reached, no worker
            appears within $PYVAE_DASK_TIMEOUT (30) seconds, or one has other versions.
    """
    patience = read_seconds("PYVAE_DASK_TIMEOUT", TIMEOUT)
    try:
        from distributed import Client
    except ImportError as error:
        raise UserError(
            f"--scheduler {address} needs the package 'distributed' ({error})",
            "install it with 'pip install distributed'",
        ) from error
    if ":" not in address:  # without an address Dask would start a cluster of its own
        raise UserError(f"--scheduler '{address}'", expected="an address such as tcp://host:8786")
    with _silence_dask():
        timeout = min(CONNECT, patience)
        try:
            _wait_for_answer(address, timeout)
            with warnings.catch_warnings():  # of other versions we say what matters
                warnings.simplefilter("ignore")
                client = Client(address, timeout=timeout, set_as_default=False)
        except Exception as error:  # of many kinds, from a wrong address to another protocol
            raise UserError(
                f"--scheduler {address} cannot be reached ({_reason(error)})",
                "start a scheduler with 'dask scheduler' and give the address that it prints",
            ) from error
        try:
            cluster = Cluster(client, address, threads, patience, log)
            cluster.wait_for_worker(
                f"the scheduler {address} has no worker",
                f"start one with 'dask worker {address}', or set PYVAE_DASK_TIMEOUT to more "
                "seconds if workers take longer",
            )
            _check_workers(client, address, log)
            yield cluster
        finally:
            if client.status == "running":  # what is lost gives up by itself
                with suppress(Exception):
                    client.close(timeout=2)


def _wait_for_answer(address: str, seconds: float) -> None:
    """Raises TimeoutError if the address does not answer. (Dask waits without end for something
    that listens and is silent.)"""
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


def _check_workers(client: Client, address: str, log: Callable[[str], object]) -> None:
    """Checks the workers of now; those that come later are checked when they take a job."""
    found: Any = client.get_versions(packages=[DISTRIBUTION, "torch"])
    here = {name: found["client"]["packages"][name] for name in SAME}
    for worker, about in found["workers"].items():
        differing = differences(here, about["packages"])
        if differing:
            raise UserError(
                f"worker {worker} of {address} has other versions: {differing}",
                "install the same versions on all machines: others can give other numbers",
            )
    several = [about for about in _workers(client).values() if about["nthreads"] > 1]
    if several:
        log(
            f"{len(several)} of the workers have several threads but do one job at a time. To use "
            f"all cores: dask worker {address} --nthreads 1 --nworkers N"
        )


def _workers(client: Client) -> dict[str, Any]:
    return client.scheduler_info()["workers"]


def _reason(error: Exception) -> str:
    words = str(error).strip() or type(error).__name__
    return words.splitlines()[0]


def _dask_loggers() -> list[logging.Logger]:
    """The loggers of Dask and of what it uses; some have handlers of their own."""
    known = ["asyncio", *logging.root.manager.loggerDict]
    names = [name for name in known if name.split(".")[0] in ("asyncio", "distributed", "tornado")]
    return [logging.getLogger(name) for name in names]


@contextmanager
def _silence_dask() -> Iterator[None]:
    """Keeps Dask from printing what goes wrong: the user gets one line, ours. After an error Dask
    stays silent, because parts of it still run in the background."""
    import distributed  # noqa: F401 (gives its loggers their handlers)

    loggers = _dask_loggers()
    before = [(logger.handlers, logger.propagate) for logger in loggers]
    for logger in loggers:
        logger.handlers, logger.propagate = [logging.NullHandler()], False
    yield
    for logger, (handlers, propagate) in zip(loggers, before, strict=True):
        logger.handlers, logger.propagate = handlers, propagate
