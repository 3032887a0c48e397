"""Signals that end a run: Ctrl-C, SIGTERM, SIGHUP and SIGUSR1.

SIGTERM comes from a batch system, a container or `kill`, SIGHUP from a terminal that is closed,
SIGUSR1 from a cluster that warns of its time limit. A training ends after the step that is under
way, where it can go on from; everything else ends at once.
"""

from __future__ import annotations

import errno
import os
import signal
import sys
import termios
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

__all__ = [
    "SIGNALS",
    "interrupt",
    "is_main_thread",
    "leave_dead_terminals",
    "terminated_as_interrupted",
]

WARNINGS = (signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1)
SIGNALS = (signal.SIGINT, *WARNINGS)


@contextmanager
def terminated_as_interrupted() -> Iterator[None]:
    """SIGTERM, SIGHUP and SIGUSR1 raise KeyboardInterrupt, as Ctrl-C does.

    Files are then closed and processes ended. Signals that have another handler already keep it
    (`nohup` has SIGHUP ignored); outside of the main thread nothing is changed.
    """
    taken = []
    if is_main_thread():
        taken = [number for number in WARNINGS if signal.getsignal(number) is signal.SIG_DFL]
    for number in taken:
        signal.signal(number, interrupt)
    try:
        yield
    finally:
        for number in taken:
            signal.signal(number, signal.SIG_DFL)


def interrupt(number: int, frame: FrameType | None) -> None:
    """Raises KeyboardInterrupt: a handler of signals."""
    if number == signal.SIGHUP:
        leave_dead_terminals()
    raise KeyboardInterrupt


def leave_dead_terminals() -> None:
    """Sends output for a terminal that was closed to /dev/null, where it cannot fail."""
    for stream in (sys.__stdout__, sys.__stderr__):
        try:
            termios.tcgetattr(stream.fileno())  # type: ignore[union-attr]
        except termios.error as error:
            if error.args[0] == errno.EIO:
                nowhere = os.open(os.devnull, os.O_WRONLY)
                os.dup2(nowhere, stream.fileno())  # type: ignore[union-attr]
                os.close(nowhere)
        except (AttributeError, OSError, ValueError):  # there is none, or it was closed
            continue


def is_main_thread() -> bool:
    """Whether signals can be handled in this thread."""
    return threading.current_thread() is threading.main_thread()
