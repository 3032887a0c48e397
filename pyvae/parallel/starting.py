"""How processes of this machine are started.

On Linux they are forked from a fork server (`multiprocessing.forkserver`): a process that imports
PyTorch and what the jobs need once, computes nothing, and lives as long as this one. Elsewhere, and
where that server would not do, each process is started anew and imports for itself ("spawn").

What processes get as they are started is the same in both ways: the folder, the search path and the
main module come from this process as it is then, and `adopt` brings the environment. What cannot be
brought later is what libraries read while they are imported, and what a process inherits. So the
server is used only while it has what this process has of it (`surroundings`). A program that uses a
fork server itself keeps its own.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from multiprocessing import forkserver, resource_tracker
from multiprocessing.context import BaseContext
from typing import Any

import numpy as np
import torch

from pyvae.errors import UserError

__all__ = [
    "FOR_ONE",
    "adopt",
    "choose_context",
    "hold_back",
    "importable_main",
    "surroundings",
]

FOR_ONE = (signal.SIGINT, signal.SIGHUP)
FITS, FITS_NOT = 0, 3  # exit codes; a program that cannot be imported ends with others
LOST = 255  # what multiprocessing says of a process whose fork server is gone
PRELOADED = "pyvae.parallel.preloaded"
# Beginnings of variables that nothing that is preloaded reads at its import: no job draws figures.
# (GNU readline sets the last two, which only processes that are started see.)
READ_LATE = ("PYVAE_", "PYTEST_", "MPL", "MATPLOTLIB", "COLUMNS", "LINES")


Surroundings = dict[str, Any]
_fitting: dict[int | None, Surroundings] = {}  # of the fork server, by its process


def choose_context(modules: Sequence[str]) -> BaseContext:
    """Chooses how processes are started, and has the fork server started if there is none.

    Waits until it has imported everything, a matter of seconds in which Ctrl-C ends the wait.

    Arguments:
        modules: What the processes need. A server that was started before keeps its own.

    Returns:
        The fork server's context, or that of "spawn".

    Raises:
        UserError: If the main module cannot be imported, as each process will.
    """
    if sys.platform == "linux" and not _is_anothers():
        # not the main module, which may compute: threads of OpenMP do not survive a fork
        wanted = [name for name in modules if name != "__main__"]
        try:
            if _serves([*wanted, PRELOADED]):
                return multiprocessing.get_context("forkserver")
        except (OSError, EOFError):  # no place for its socket, or it was killed
            pass
    return multiprocessing.get_context("spawn")


def _is_anothers() -> bool:
    """Whether the program uses a fork server for itself, or is about to."""
    if multiprocessing.get_start_method(allow_none=True) == "forkserver":
        return True
    server = getattr(forkserver, "_forkserver", None)
    preload = getattr(server, "_preload_modules", ())  # there is no public way to ask
    return list(preload) != ["__main__"] and PRELOADED not in preload


def _serves(modules: Sequence[str]) -> bool:
    """Whether there is a fork server that fits; a process of it looks, once it has imported."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(modules))
    with hold_back(*FOR_ONE):  # its processes inherit what it blocks
        forkserver.ensure_running()
    now = surroundings()
    server = getattr(getattr(forkserver, "_forkserver", None), "_forkserver_pid", None)
    if server is not None and _fitting.get(server) == now:
        return True  # it was asked before
    look = context.Process(target=_end_as_fitting, args=(now,))
    with importable_main():
        look.start()
    look.join()
    if look.exitcode not in (None, FITS, FITS_NOT, LOST) and look.exitcode > 0:
        raise UserError(
            "this program cannot be imported by the processes that it starts (see above)",
            "put what it does below a line that says if __name__ == '__main__'",
        )
    if look.exitcode != FITS:
        return False
    _fitting.clear()
    _fitting[server] = now
    return True


def _end_as_fitting(expected: Surroundings) -> None:
    """In a process of the server: tells whether the server is ours and has these surroundings."""
    preloaded: Any = sys.modules.get(PRELOADED)
    fits = preloaded is not None and expected == preloaded.SURROUNDINGS
    sys.exit(FITS if fits else FITS_NOT)


def surroundings() -> Surroundings:
    """What a process inherits and cannot change well later on: the environment that libraries read
    while they are imported, where its standard output and standard error go, and what it may do."""
    import resource  # Windows has none

    mask = os.umask(0)
    os.umask(mask)
    limits = [name for name in dir(resource) if name.startswith("RLIMIT_")]
    return {
        "environment": {
            name: text for name, text in os.environ.items() if not name.startswith(READ_LATE)
        },
        "streams": [_file_of(descriptor) for descriptor in (1, 2)],
        "limits": [resource.getrlimit(getattr(resource, name)) for name in limits],
        "umask": mask,
        "niceness": os.nice(0),
        "cores": os.sched_getaffinity(0),
    }


def _file_of(descriptor: int) -> tuple[int, int] | None:
    try:
        found = os.fstat(descriptor)
    except OSError:  # it is closed
        return None
    return found.st_dev, found.st_ino


def adopt(environment: Mapping[str, str]) -> None:
    """In a process that was forked: makes it as one that was started anew.

    Forked processes share the states of their server's generators, which are not fixed: a recipe
    of the user's may draw from them. (Python's own is seeded by a fork.)

    Arguments:
        environment: That of the process that asked for it.
    """
    os.environ.clear()
    os.environ.update(environment)
    np.random.seed()  # noqa: NPY002
    torch.default_generator.seed()


@contextmanager
def importable_main() -> Iterator[None]:
    """Lets processes be started by a program that comes from standard input: Python would have each
    look for a file of that name. No job needs its main module."""
    main: Any = sys.modules["__main__"]
    file = getattr(main, "__file__", None)
    if file != "<stdin>":
        yield
        return
    del main.__file__
    try:
        yield
    finally:
        main.__file__ = file


@contextmanager
def hold_back(*signals: signal.Signals) -> Iterator[None]:
    """Holds Ctrl-C and a closed terminal back while processes are started: both are for this one
    alone, which ends the others. What came meanwhile is raised at the end."""
    came: list[int] = []
    # processes inherit what this thread blocks; other threads let signals through to the handlers
    handlers = {one: signal.signal(one, lambda number, _: came.append(number)) for one in signals}
    resource_tracker.ensure_running()  # it unblocks both when it is started
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        for one, handler in handlers.items():
            signal.signal(one, handler)
        for number in came:
            signal.raise_signal(number)
