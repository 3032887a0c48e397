from __future__ import annotations

import os
import signal
import threading

import pytest

from pyvae.runs.callbacks.signals import SIGNALS, terminated_as_interrupted

pytestmark = pytest.mark.usefixtures("signals_as_in_a_program")


def handlers():
    return [signal.getsignal(number) for number in SIGNALS]


@pytest.mark.parametrize("number", SIGNALS)
def test_each_is_an_interruption(number):
    before = handlers()
    with pytest.raises(KeyboardInterrupt), terminated_as_interrupted():
        os.kill(os.getpid(), number)
    assert handlers() == before


def test_what_was_ignored_when_it_began_stays_so():
    """As `nohup` has it."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with terminated_as_interrupted():
        os.kill(os.getpid(), signal.SIGHUP)
    assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN


def test_in_another_thread_signals_are_left_alone():
    before, seen = handlers(), []

    def work():
        with terminated_as_interrupted():
            seen.append(handlers())

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [before]
