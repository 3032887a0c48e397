"""Being told to stop: Ctrl-C, or SIGTERM of a batch system, a container or `kill`.

Between the steps of a run it is stopped where it can go on from; everywhere else at once.
"""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

__all__ = ["stopping_between_steps", "terminated_as_interrupted"]

SIGNALS = (signal.SIGINT, signal.SIGTERM)
Handler = Callable[[int, FrameType | None], Any]


@contextmanager
def terminated_as_interrupted() -> Iterator[None]:
    """SIGTERM raises KeyboardInterrupt, as Ctrl-C does, so that files are closed and processes
    ended; where nobody else has said what it is to do, in the main thread."""
    if not _is_main() or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        yield
        return
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


@contextmanager
def stopping_between_steps() -> Iterator[Callable[[], bool]]:
    """Gives a function that tells whether to stop: the first signal lets the step that is under
    way come to its end, a second one raises KeyboardInterrupt at once.

    Whatever goes wrong after the first one, such as in another process that was told, too, is an
    interruption. Only signals that would raise KeyboardInterrupt are taken: in another thread, or
    where somebody else listens, it always says no.
    """
    told = threading.Event()

    def tell(number: int, frame: FrameType | None) -> None:
        if told.is_set():
            raise KeyboardInterrupt
        told.set()

    before: dict[signal.Signals, Any] = {}
    if _is_main():
        for number in SIGNALS:
            if signal.getsignal(number) is signal.default_int_handler:
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
