from __future__ import annotations

import doctest
from dataclasses import replace

import numpy as np
import pytest

from pyvae.engines.pytorch import PyTorchEngine
from pyvae.errors import UserError
from pyvae.model.run import Run
from pyvae.recipes import get_recipe
from pyvae.trace.trace import Trace
from pyvae.training import callbacks as module
from pyvae.training.callbacks import Callback, StopTraining
from pyvae.training.loop import train

STEPS = 5


@pytest.fixture
def run(small, data_of):
    """A run of points: its steps take no time."""
    toy = get_recipe("clustering-toy")
    return Run(toy, small(toy, steps=STEPS), data_of(toy))


@pytest.fixture
def engine():
    return PyTorchEngine("cpu")


class Recorded(Callback):
    """Writes down its calls, and fails where it is told to."""

    def __init__(self, name, log, **fails):
        self.name, self.log, self.fails = name, log, fails

    def on_start(self, run, trace):
        self._call("start", 0)

    def on_step(self, now):
        self._call("step", now.step)

    def on_last_step(self, now):
        self._call("last", now.step)

    def on_end(self, now, error):
        self.log.append((self.name, "end", now and now.step, type(error).__name__))

    def _call(self, what, step):
        self.log.append((self.name, what, step))
        error, at = self.fails.get(what, (None, None))
        if error and step == at:
            raise error


def test_callbacks_are_called_in_order_and_at_the_end_in_reverse(run, engine):
    log = []
    train(run, engine, [Recorded("a", log), Recorded("b", log)])
    steps = [(name, "step", step) for step in range(1, STEPS + 1) for name in "ab"]
    end = [("b", "end", None, "NoneType"), ("a", "end", None, "NoneType")]
    assert log == [
        ("a", "start", 0), ("b", "start", 0), *steps, ("a", "last", STEPS), ("b", "last", STEPS),
        *end,
    ]  # fmt: skip


@pytest.mark.parametrize("step", [1, 3, STEPS])
def test_a_callback_ends_a_run_with_a_complete_trace(run, engine, step):
    """As if the run had had so many steps; the callbacks after it still see its last step."""
    log = []
    stops, looks = Recorded("a", log, step=(StopTraining, step)), Recorded("b", log)
    trace = train(run, engine, [stops, looks])
    shorter = replace(run, settings=replace(run.settings, steps=step))
    whole = train(shorter, PyTorchEngine("cpu"))
    assert trace.complete
    assert np.array_equal(trace.losses, whole.losses)
    assert all(np.array_equal(trace.parameters[k], v) for k, v in whole.parameters.items())
    assert np.array_equal(trace.samples, whole.samples)
    assert log[-5:] == [
        ("b", "step", step), ("a", "last", step), ("b", "last", step),
        ("b", "end", None, "NoneType"), ("a", "end", None, "NoneType"),
    ]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("error", [ValueError, UserError("no"), KeyboardInterrupt, OSError])
def test_an_error_ends_the_run_where_a_checkpoint_can_still_be_made(run, engine, error):
    log, checkpoints = [], []

    class Saves(Callback):
        def on_end(self, now, error):
            checkpoints.append((now.checkpoint(), error))

    fails = Recorded("a", log, step=(error, 3))
    trace = Trace.of_run(run, engine)
    with pytest.raises(BaseException) as raised:  # noqa: PT011
        train(run, engine, [Saves(), fails, Recorded("b", log)], trace=trace)
    assert raised.value is error or type(raised.value) is error
    name = type(raised.value).__name__
    assert log[-3:] == [("a", "step", 3), ("b", "end", 3, name), ("a", "end", 3, name)]
    ((checkpoint, seen),) = checkpoints
    assert seen is raised.value
    assert (checkpoint.step, len(checkpoint.losses), trace.steps, trace.complete) == (
        3,
        3,
        3,
        False,
    )
    whole = train(run, PyTorchEngine("cpu"))
    goes_on = Trace.of_run(run, engine)
    goes_on.losses, goes_on.epochs = checkpoint.losses, checkpoint.epochs
    train(run, PyTorchEngine("cpu"), trace=goes_on, resume=checkpoint)
    assert np.array_equal(goes_on.losses, whole.losses)
    assert all(np.array_equal(goes_on.parameters[k], v) for k, v in whole.parameters.items())


def test_where_the_engine_fails_there_is_nothing_to_go_on_from(run, engine, monkeypatch):
    log = []
    step, taken = engine.step, []

    def fail(*arguments, **options):
        taken.append(1)
        return step(*arguments, **options) if len(taken) < 3 else 1 / 0

    monkeypatch.setattr(engine, "step", fail)
    with pytest.raises(ZeroDivisionError):
        train(run, engine, [Recorded("a", log)])
    assert log[-1] == ("a", "end", None, "ZeroDivisionError")


def test_those_that_were_started_are_ended_where_one_cannot_start(run, engine):
    log = []
    with pytest.raises(OSError, match="closed"):
        train(run, engine, [Recorded("a", log), Recorded("b", log, start=(OSError("closed"), 0))])
    assert log == [("a", "start", 0), ("b", "start", 0), ("a", "end", None, "OSError")]


def test_an_error_at_the_end_is_what_the_callbacks_before_it_are_told(run, engine):
    told = []

    class Fails(Callback):
        def on_end(self, now, error):
            raise OSError("closed")

    class Told(Callback):
        def on_end(self, now, error):
            told.append(str(error))
            return True  # ends nothing: an error is never swallowed

    with pytest.raises(OSError, match="closed"):
        train(run, engine, [Told(), Fails()])
    assert told == ["closed"]


def test_nothing_is_started_where_the_data_are_too_few(run, engine):
    log = []
    few = Run(run.recipe, run.settings, type(run.data)("few", run.data.pixels[:3], None, "here"))
    with pytest.raises(UserError, match="3 images are fewer than one batch"):
        train(few, engine, [Recorded("a", log)])
    assert log == []


def test_a_function_is_called_after_every_step(run, engine):
    seen = []
    trace = train(run, engine, [lambda now: seen.append((now.step, now.engine, now.per_image))])
    objective, size = run.objective, run.settings.batch_size
    assert [step for step, *_ in seen] == list(range(1, STEPS + 1))
    assert {one for _, one, _ in seen} == {engine}
    for (_, _, terms), losses in zip(seen, trace.losses, strict=True):
        per_image = [objective.per_image(value, size) for value in losses]
        assert list(terms) == list(objective.terms)
        assert list(terms.values()) == pytest.approx(per_image, rel=1e-12)


def test_a_strangers_callback_stops_when_the_kl_is_low():
    """The example of `Callback`, as README has it: the article's network on the digits."""
    (example,) = doctest.DocTestFinder(recurse=False).find(Callback, "Callback", module=module)
    done = doctest.DocTestRunner().run(example)
    assert (done.failed, done.attempted > 5) == (0, True)
