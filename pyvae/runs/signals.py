"""Being told to stop: Ctrl-C, SIGTERM of a batch system, a container or `kill`, SIGHUP of a
terminal that is closed, SIGUSR1 with which a cluster warns of its time limit.

Between the steps of a run it is stopped where it can go on from; everywhere else at once.
"""

from __future__ import annotations

import errno
import os
import signal
import sys
import termios
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

__all__ = ["stopping_between_steps", "terminated_as_interrupted"]

WARNINGS = (signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1)
SIGNALS = (signal.SIGINT, *WARNINGS)
Handler = Callable[[int, FrameType | None], Any]


@contextmanager
def terminated_as_interrupted() -> Iterator[None]:
    """SIGTERM, SIGHUP and SIGUSR1 raise KeyboardInterrupt, as Ctrl-C does, so that files are closed
    and processes ended; where nobody else has said what they are to do (`nohup` has SIGHUP
    ignored), in the main thread."""
    taken = []
    if _is_main():
        taken = [number for number in WARNINGS if signal.getsignal(number) is signal.SIG_DFL]
    for number in taken:
        signal.signal(number, _interrupt)
    try:
        yield
    finally:
        for number in taken:
            signal.signal(number, signal.SIG_DFL)


def _interrupt(number: int, frame: FrameType | None) -> None:
    if number == signal.SIGHUP:
        _leave_dead_terminals()
    raise KeyboardInterrupt


def _leave_dead_terminals() -> None:
    """What is printed to a terminal that was closed goes nowhere, instead of failing: what is kept
    matters more than what is said."""
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


@contextmanager
def stopping_between_steps() -> Iterator[Callable[[], bool]]:
    """Gives a function that tells whether to stop: the first signal lets the step that is under
    way come to its end, a second one raises KeyboardInterrupt at once.

    Whatever goes wrong after the first one, such as in another process that was told, too, is an
    interruption. Only signals that would raise KeyboardInterrupt are taken: in another thread, or
    where somebody else listens, it always says no. A closed terminal is told twice, by the shell
    and by the system: SIGHUP never interrupts a step.
    """
    told = threading.Event()

    def tell(number: int, frame: FrameType | None) -> None:
        if number == signal.SIGHUP:
            _leave_dead_terminals()
        elif told.is_set():
            raise KeyboardInterrupt
        told.set()

    before: dict[signal.Signals, Any] = {}
    if _is_main():
        for number in SIGNALS:
            if signal.getsignal(number) in (signal.default_int_handler, _interrupt):
                before[number] = signal.signal(number, tell)
    try:
        yield told.is_set
    except Exception as error:
        if not told.is_set():
            raise
        print(f"pyvae: {' '.join(str(error).split())}", file=sys.stderr)
        raise KeyboardInterrupt from error
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _is_main() -> bool:
    return threading.current_thread() is threading.main_thread()
