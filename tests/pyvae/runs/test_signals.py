from __future__ import annotations

import os
import signal
import threading

import pytest

from pyvae.runs.signals import stopping_between_steps, terminated_as_interrupted

SIGNALS = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1]


@pytest.fixture(autouse=True)
def _as_in_a_program():
    """Handlers as a Python program has them at its start, and afterwards as they were."""
    before = {number: signal.getsignal(number) for number in SIGNALS}
    for number in SIGNALS:
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def send(number):
    os.kill(os.getpid(), number)


def handlers():
    return [signal.getsignal(number) for number in SIGNALS]


@pytest.mark.parametrize("number", SIGNALS)
def test_each_is_an_interruption(number):
    before = handlers()
    with pytest.raises(KeyboardInterrupt), terminated_as_interrupted():
        send(number)
    assert handlers() == before


def test_what_was_ignored_when_it_began_stays_so():
    """As `nohup` has it."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with terminated_as_interrupted(), stopping_between_steps() as told:
        send(signal.SIGHUP)
        assert not told()
    assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN


def test_a_closed_terminal_that_is_told_twice_does_not_interrupt_a_step():
    with terminated_as_interrupted(), stopping_between_steps() as told:
        send(signal.SIGHUP)
        send(signal.SIGHUP)
        assert told()


@pytest.mark.parametrize("number", [n for n in SIGNALS if n != signal.SIGHUP])
def test_the_first_signal_is_told_and_the_second_interrupts(number):
    seen = []

    def work():
        with stopping_between_steps() as told:
            seen.append(told())
            send(number)
            seen.append(told())
            send(number)
            seen.append("not reached")

    with terminated_as_interrupted():
        before = handlers()
        with pytest.raises(KeyboardInterrupt):
            work()
        assert handlers() == before
    assert seen == [False, True]


def test_without_a_signal_nothing_is_told_and_everything_is_as_before():
    before = handlers()
    with terminated_as_interrupted(), stopping_between_steps() as told:
        assert not told()
    assert handlers() == before


def test_what_goes_wrong_after_it_is_an_interruption(capsys):
    def work():
        with stopping_between_steps():
            send(signal.SIGINT)
            raise RuntimeError("a peer\nis gone")

    with pytest.raises(KeyboardInterrupt):
        work()
    assert capsys.readouterr().err == "pyvae: a peer is gone\n"
    with pytest.raises(RuntimeError, match="before"), stopping_between_steps():
        raise RuntimeError("before")


def test_who_listens_already_goes_on_listening():
    heard = []
    for number in SIGNALS:
        signal.signal(number, lambda number, frame: heard.append(number))
    with terminated_as_interrupted(), stopping_between_steps() as told:
        for number in SIGNALS:
            send(number)
        assert not told()
    assert heard == SIGNALS


def test_in_another_thread_signals_are_left_alone():
    before, seen = handlers(), []

    def work():
        with terminated_as_interrupted(), stopping_between_steps() as told:
            seen.append((handlers(), told()))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [(before, False)]
