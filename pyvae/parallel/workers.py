"""Where runs that do not depend on each other are done: processes here, or a cluster."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from pyvae.errors import UserError
from pyvae.parallel.jobs import Workers
from pyvae.parallel.processes import Processes

__all__ = ["check_fan_out", "open_workers"]


def check_fan_out(jobs: int | None, scheduler: str | None) -> None:
    """Raises UserError for both options at once."""
    if jobs is not None and scheduler is not None:
        raise UserError(
            f"--jobs {jobs} together with --scheduler {scheduler}",
            "leave out --jobs: how many runs go on at once, the cluster's workers decide",
            expected="one of them",
        )


@contextmanager
def open_workers(
    jobs: int, scheduler: str | None, threads: int, say: Callable[[str], object] = print
) -> Iterator[Workers]:
    """So many processes of this machine, or the workers of a scheduler.

    Arguments:
        jobs: Processes, where there is no scheduler.
        scheduler: Its address, such as `tcp://host:8786`.
        threads: PyTorch's, for each job.
        say: Called with a line on workers that could be used better.

    Raises:
        UserError: If the number is out of its range, or the cluster cannot be used.
    """
    if scheduler is None:
        processes = Processes(jobs, threads)
        cores = os.cpu_count() or 1
        if jobs > 1 and jobs * threads > cores:
            say(
                f"{processes} on {cores} core{'s' if cores > 1 else ''}: they get into each "
                "other's way (--threads changes the threads, and with them the last bits)"
            )
        yield processes
        return
    from pyvae.parallel.dask_client import (
        open_cluster,  # `distributed` takes a second, and may not be there
    )

    with open_cluster(scheduler, threads, say) as cluster:
        yield cluster
