"""The workers that train runs in parallel: processes of this machine, or a Dask cluster."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from pyvae.errors import UserError
from pyvae.parallel.jobs import Workers
from pyvae.parallel.processes import Processes

__all__ = ["check_workers", "open_workers"]


def check_workers(jobs: int | None, scheduler: str | None) -> None:
    """Raises UserError if both options are given."""
    if jobs is not None and scheduler is not None:
        raise UserError(
            f"--jobs {jobs} together with --scheduler {scheduler}",
            "leave out --jobs: each worker of the scheduler does one run at a time",
        )


@contextmanager
def open_workers(
    jobs: int, scheduler: str | None, threads: int, log: Callable[[str], object] = print
) -> Iterator[Workers]:
    """Opens processes of this machine, or the workers of a scheduler.

    Arguments:
        jobs: Number of processes; does not matter with a scheduler.
        scheduler: Its address, such as `tcp://host:8786`.
        threads: PyTorch's, for each job.
        log: Called with a line if workers could be used better, or are waited for.

    Raises:
        UserError: If the number is out of its range, or the cluster cannot be used.
    """
    if scheduler is None:
        processes = Processes(jobs, threads)
        cores = os.cpu_count() or 1
        if jobs > 1 and jobs * threads > cores:
            log(
                f"{processes} on {cores} core{'s' if cores > 1 else ''} slow each other down: "
                "lower --jobs, or --threads (which changes the last bits of the results)"
            )
        yield processes
        return
    from pyvae.parallel.dask_client import open_cluster  # takes a second, and may not be there

    with open_cluster(scheduler, threads, log) as cluster:
        yield cluster
