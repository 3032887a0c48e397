"""Validation and early stopping in the one training loop."""

from __future__ import annotations

import doctest
from dataclasses import replace

import numpy as np
import pytest
from stand_ins.narrow import NARROW_CONV

from pyvae.data.images import ImageData
from pyvae.data.split import hold_out
from pyvae.engines.pytorch import PyTorchEngine
from pyvae.errors import UserError
from pyvae.metrics.held_out import evaluate
from pyvae.model.run import Run
from pyvae.recipes import get_recipe
from pyvae.runs.trained import load_network
from pyvae.training import validation as module
from pyvae.training.loop import train
from pyvae.training.validation import StopEarly, Validate


@pytest.fixture
def split(digits):
    return hold_out(digits, 0.2)


@pytest.fixture
def beta(small, split):
    recipe = get_recipe("beta")
    return Run(recipe, small(recipe, epochs=3, steps=None, batch_size=400), split.train)


def test_the_loss_of_other_images_is_computed_after_every_epoch(beta, split):
    validate = Validate(split.held_out)
    trace = train(beta, PyTorchEngine("cpu"), [validate])
    assert [row["epoch"] for row in validate.rows] == [1, 2, 3]
    last = dict(validate.rows[-1])
    assert last.pop("epoch") == 3
    assert last == evaluate(load_network(trace), "beta", beta.settings, split.held_out)


@pytest.mark.parametrize("recipe", [get_recipe("beta"), NARROW_CONV], ids=lambda one: one.name)
def test_the_training_is_the_same_with_it(small, split, recipe):
    settings = small(recipe, epochs=2, steps=None, batch_size=20)
    run = Run(recipe, settings, ImageData("few", split.train.pixels[:40], None, "here"))
    some = ImageData("some", split.held_out.pixels[:20], None, "here")
    with_it = train(run, PyTorchEngine("cpu"), [Validate(some)])
    without = train(run, PyTorchEngine("cpu"))
    assert np.array_equal(with_it.losses, without.losses)
    for name, value in without.parameters.items():
        assert np.array_equal(with_it.parameters[name], value)


@pytest.mark.slow
def test_an_engine_that_computes_elsewhere_is_validated_by_its_parameters(beta, split):
    class Elsewhere:
        """An engine without a network of PyTorch's that could be looked at."""

        def __init__(self):
            self._engine = PyTorchEngine("cpu")

        def __getattr__(self, name):
            return getattr(self._engine, name)

    here, there = Validate(split.held_out), Validate(split.held_out)
    train(beta, PyTorchEngine("cpu"), [here])
    train(beta, Elsewhere(), [there])
    assert there.rows == here.rows


def test_rows_of_a_run_that_goes_on_stay_and_are_not_there_twice(beta, split):
    before = [{"epoch": 1, "total": 9.0}, {"epoch": 4, "total": 8.0}]
    validate = Validate(split.held_out, before)
    train(beta, PyTorchEngine("cpu"), [validate])
    assert [row["epoch"] for row in validate.rows] == [1, 2, 3]
    assert validate.rows[0]["total"] != 9.0


class Given(Validate):
    """Losses of our own choice."""

    def __init__(self, data, losses):
        super().__init__(data)
        self.losses = iter(losses)

    def on_step(self, now):
        if now.epoch_ended:
            self.rows.append({"epoch": len(self.rows) + 1, "total": next(self.losses)})


@pytest.mark.slow
@pytest.mark.parametrize(
    ("losses", "patience", "epochs", "best"),
    [
        ([5, 4, 3, 2, 1, 0], 1, 6, 6),
        ([5, 4, 4, 3, 2, 1], 1, 3, 2),  # as good is not better
        ([5, 4, 4, 3, 6, 6], 2, 6, 4),  # in the last epoch there is nothing to end
        ([5, 6, 7, 4, 8, 8], 2, 3, 1),
        ([5, 6, 7, 4, 8, 8], 3, 6, 4),
        ([float("nan"), 3, float("nan"), 2, 2, 2], 2, 6, 4),
    ],
)
def test_it_ends_after_so_many_epochs_without_a_better_one(
    beta, split, losses, patience, epochs, best
):
    run = replace(beta, settings=replace(beta.settings, epochs=len(losses)))
    validate = Given(split.held_out, losses)
    stop = StopEarly(validate, patience)
    trace = train(run, PyTorchEngine("cpu"), [validate, stop])
    assert (trace.epochs[-1], stop.best) == (epochs, best)
    assert stop.stopped is (epochs < len(losses))
    assert trace.complete


def test_patience_is_1_or_more_and_images_are_the_recipes(beta, split):
    with pytest.raises(UserError, match="patience 0: expected 1 or more epochs"):
        StopEarly(Validate(split.held_out), 0)
    points = ImageData("points", split.train.pixels[:, :2], None, "here")
    with pytest.raises(UserError, match="recipe beta takes images of 28x28"):
        train(beta, PyTorchEngine("cpu"), [Validate(points)])


def test_the_example_runs():
    (example,) = doctest.DocTestFinder(recurse=False).find(Validate, "Validate", module=module)
    done = doctest.DocTestRunner().run(example)
    assert (done.failed, done.attempted > 5) == (0, True)
