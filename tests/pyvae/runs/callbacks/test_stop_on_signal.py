from __future__ import annotations

import os
import signal
import threading
from types import SimpleNamespace

import pytest

from pyvae.engines.pytorch import PyTorchEngine
from pyvae.model.run import Run
from pyvae.recipes import get_recipe
from pyvae.runs.callbacks.signals import SIGNALS, terminated_as_interrupted
from pyvae.runs.callbacks.stop_on_signal import StopOnSignal
from pyvae.trace.trace import Trace
from pyvae.training.loop import train

pytestmark = pytest.mark.usefixtures("signals_as_in_a_program")


def send(number):
    os.kill(os.getpid(), number)


def handlers():
    return [signal.getsignal(number) for number in SIGNALS]


def at(step, steps=3):
    return SimpleNamespace(step=step, steps=steps)


@pytest.fixture
def stop():
    """One that has started, where signals raise KeyboardInterrupt."""
    with terminated_as_interrupted():
        callback = StopOnSignal()
        callback.on_start(None, None)
        yield callback
        callback.on_end(None, KeyboardInterrupt())


@pytest.mark.parametrize("number", [n for n in SIGNALS if n != signal.SIGHUP])
def test_the_first_signal_ends_the_run_after_its_step_and_the_second_at_once(stop, number):
    stop.on_step(at(1))
    send(number)
    with pytest.raises(KeyboardInterrupt):
        send(number)
    with pytest.raises(KeyboardInterrupt):
        stop.on_step(at(2))


def test_a_closed_terminal_that_is_signalled_twice_does_not_interrupt_a_step(stop):
    send(signal.SIGHUP)
    send(signal.SIGHUP)
    with pytest.raises(KeyboardInterrupt):
        stop.on_step(at(1))


def test_in_the_last_step_the_run_is_completed_first(stop):
    send(signal.SIGINT)
    stop.on_step(at(3))
    with pytest.raises(KeyboardInterrupt):
        stop.on_end(None, None)


def test_an_error_after_a_signal_is_an_interruption(stop, capsys):
    """Such as of another process, which got the signal, too."""
    error = RuntimeError("a peer\nis gone")
    stop.on_end(None, error)
    assert capsys.readouterr().err == ""
    stop.on_start(None, None)
    send(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt) as raised:
        stop.on_end(None, error)
    assert raised.value.__cause__ is error
    assert capsys.readouterr().err == "pyvae: a peer is gone\n"


def test_without_a_signal_everything_is_as_before():
    with terminated_as_interrupted():
        before, stop = handlers(), StopOnSignal()
        stop.on_start(None, None)
        assert handlers() != before
        stop.on_step(at(1))
        stop.on_end(None, None)
        assert handlers() == before


def test_a_signal_that_has_another_handler_keeps_it():
    heard = []
    for number in SIGNALS:
        signal.signal(number, lambda number, frame: heard.append(number))
    with terminated_as_interrupted():
        stop = StopOnSignal()
        stop.on_start(None, None)
        for number in SIGNALS:
            send(number)
        stop.on_step(at(1))
        stop.on_end(None, None)
    assert heard == list(SIGNALS)


def test_in_another_thread_signals_are_left_alone():
    before, seen = handlers(), []

    def work():
        stop = StopOnSignal()
        stop.on_start(None, None)
        seen.append(handlers())
        stop.on_end(None, None)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [before]


@pytest.mark.parametrize(("at_step", "steps"), [(2, 2), (4, 4)])
def test_a_training_ends_after_the_step_in_which_the_signal_came(small, data_of, at_step, steps):
    """In its last step it is complete."""
    toy, engine = get_recipe("clustering-toy"), PyTorchEngine("cpu")
    run = Run(toy, small(toy, steps=4), data_of(toy))
    trace = Trace.of_run(run, engine)

    def interrupt(now):
        if now.step == at_step:
            send(signal.SIGINT)

    before = handlers()
    with pytest.raises(KeyboardInterrupt):
        train(run, engine, [interrupt, StopOnSignal()], trace=trace)
    assert (trace.steps, trace.complete) == (steps, steps == 4)
    assert handlers() == before
