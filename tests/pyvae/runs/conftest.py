"""Fixtures of runs that are kept and interrupted."""

from __future__ import annotations

import signal

import pytest

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1)


@pytest.fixture
def signals_as_in_a_program():
    """Handlers as a Python program has them at its start, and afterwards as they were.

    In the background a shell has Ctrl-C ignored.
    """
    before = {number: signal.getsignal(number) for number in SIGNALS}
    for number in SIGNALS:
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)
