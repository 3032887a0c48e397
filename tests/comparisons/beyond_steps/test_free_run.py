"""Steps in which each engine goes its own way: what is said where Adam makes much of rounding.
What such steps find is in `test_rounding.py`, with kinks in `test_across_kinks.py`."""

from __future__ import annotations

import pytest
from stand_ins.verdicts import Mistaken, OnASchedule, compare_engines

from pyvae.engines.pytorch import PyTorchEngine
from pyvae.recipes import get_recipe

pytestmark = pytest.mark.slow


class NoiseForNothing(Mistaken):
    """Where a pixel is dark in the whole batch, the gradients of its weights are no zeros but what
    rounding leaves of a sum that cancels: a hundred-thousandth of the largest."""

    def step(self, x, *arguments, **options):
        weight = next(p for p in self.network.parameters() if p.dim() == 2 and p.shape[1] == 784)
        dark = (x.reshape(len(x), -1) == 0).all(0)
        update = self.optimizer.step

        def noisy() -> None:
            weight.grad[:, dark] += 1e-5 * weight.grad.abs().max()
            update()

        self.optimizer.step = noisy
        try:
            return super().step(x, *arguments, **options)
        finally:
            self.optimizer.step = update


class NoiseAndASchedule(NoiseForNothing, OnASchedule):
    """The same, with a schedule that a state makes the engine forget."""

    full = 1


@pytest.fixture
def compared(digits, tmp_path):
    def compare(engine, dtype="float32"):
        recipe = get_recipe("beta")
        run = recipe.settings(batch_size=12, latent_dim=3, steps=4, dtype=dtype)
        engines = PyTorchEngine("cpu"), engine
        return compare_engines(*engines, recipe, run, digits, tmp_path, mode="resync")

    return compare


def test_updates_of_gradients_that_are_rounding_are_not_something_that_is_kept(compared):
    found = compared(NoiseForNothing())
    assert set(found.disagreeing()) == {"free_run"}
    assert found.divergence is None
    assert "drives the two apart (encoder.fc1.weight by " in found.note
    assert "compare in float64" in found.note
    assert "keeps something" not in found.note


def test_an_optimiser_that_keeps_something_is_named_beside_them(compared):
    found = compared(NoiseAndASchedule())
    assert not found.agrees
    assert (found.divergence.stage, found.divergence.wrong) == ("adam.update", "port")
    assert "keeps something" in found.note


def test_in_float64_they_are_far_below_adams_epsilon(compared):
    """So that what is as large is none of rounding."""
    found = compared(NoiseForNothing(), "float64")
    assert not found.agrees
    assert "drives the two apart" not in found.note
