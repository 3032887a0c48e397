"""Two engines side by side."""

from __future__ import annotations

import numpy as np
import pytest
from stand_ins.verdicts import Late, named

from comparisons.steps.lockstep import lockstep
from comparisons.steps.pair import Pair
from pyvae.model.run import Run
from pyvae.training.loop import train

pytestmark = pytest.mark.slow


@pytest.mark.slow
@pytest.mark.parametrize("resync", [True, False])
def test_both_go_through_the_run_that_each_would_go_through_alone(conv, settings, digits, resync):
    run = Run(conv, settings(steps=4), digits)
    alone = train(run, named("other"))
    steps = list(lockstep(Pair(run, named("a"), named("b")), resync=resync))
    assert [both.step for both in steps] == [1, 2, 3, 4]
    for side in (0, 1):
        losses = np.array([both.progress[side].losses.numpy() for both in steps])
        assert np.array_equal(losses, alone.losses)
        trace = steps[-1].progress[side].trace
        assert np.array_equal(trace.samples, alone.samples)
        assert np.array_equal(trace.latent_means["training"], alone.latent_means["training"])


def test_only_the_steps_asked_for_are_inspected(conv, settings, digits):
    pair = Pair(Run(conv, settings(steps=4), digits), named("a"), named("b"))
    steps = lockstep(pair, resync=False, inspect={2, 4})
    assert [both.probes is not None for both in steps] == [False, True, False, True]


def test_resynchronised_a_mistake_does_not_smear_over_later_steps(conv, settings, digits):
    """The first step's mistake in the parameters is gone in the second step's start."""
    run = Run(conv, settings(steps=2), digits)
    for resync in (True, False):
        pair = Pair(run, named("other"), Late(1))
        *_, last = lockstep(pair, resync=resync, inspect={2})
        a, b = last.probes
        same = np.array_equal(a["start/encoder.fc1.weight"], b["start/encoder.fc1.weight"])
        assert same == resync
        assert not np.array_equal(
            a["parameter/encoder.fc1.weight"], b["parameter/encoder.fc1.weight"]
        )
