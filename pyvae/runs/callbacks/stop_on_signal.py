"""Ending a training on a signal, where it can go on from."""

from __future__ import annotations

import signal
from types import FrameType
from typing import Any

from pyvae.errors import print_error
from pyvae.model.run import Run
from pyvae.runs.callbacks.signals import SIGNALS, interrupt, is_main_thread, leave_dead_terminals
from pyvae.trace.trace import Trace
from pyvae.training.callbacks import Callback, Progress

__all__ = ["StopOnSignal"]


class StopOnSignal(Callback):
    """Ends a training on a signal, after the step that is under way.

    The first signal lets that step end and then raises KeyboardInterrupt; a second one raises it at
    once. In the last step the run is completed before KeyboardInterrupt is raised. An error after
    the first signal, such as one of another process that got the signal too, is printed and
    becomes KeyboardInterrupt. SIGHUP never interrupts a step, however often it comes: a closed
    terminal sends it twice, through the shell and through the system.

    Only signals that would raise KeyboardInterrupt are taken, in the main thread.

    Example:
        >>> train(run, engine, [StopOnSignal(), Keep(kept)])  # doctest: +SKIP
    """

    def __init__(self) -> None:
        self.signalled = False
        self._before: dict[signal.Signals, Any] = {}

    def on_start(self, run: Run, trace: Trace) -> None:
        self.signalled = False
        if is_main_thread():
            for number in SIGNALS:
                if signal.getsignal(number) in (signal.default_int_handler, interrupt):
                    self._before[number] = signal.signal(number, self._handle)

    def on_step(self, now: Progress) -> None:
        if self.signalled and now.step < now.steps:
            raise KeyboardInterrupt

    def on_end(self, now: Progress | None, error: BaseException | None) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before.clear()
        if not self.signalled or isinstance(error, KeyboardInterrupt):
            return
        if error is None:  # the signal came in the last step
            raise KeyboardInterrupt
        if isinstance(error, Exception):
            print_error(str(error))
            raise KeyboardInterrupt from error

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if number == signal.SIGHUP:
            leave_dead_terminals()
        elif self.signalled:
            raise KeyboardInterrupt
        self.signalled = True
