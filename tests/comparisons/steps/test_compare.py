"""Stages compared as both engines take their steps."""

from __future__ import annotations

import pytest
from stand_ins.verdicts import R_TORCHS, Failing, Late, named

from comparisons.steps.compare import compare_steps
from comparisons.steps.lockstep import StepFailure
from comparisons.steps.pair import Pair
from pyvae.model.run import Run

pytestmark = pytest.mark.slow


def test_the_failure_of_an_engine_is_raised(conv, settings, digits):
    pair = Pair(Run(conv, settings(), digits), named("other"), Failing())
    with pytest.raises(StepFailure) as failed:
        list(compare_steps(pair, last=1, resync=False, inspect={1}))
    assert failed.value.steps == {Failing.name: 1}
    ((name, error),) = failed.value.failures.items()
    assert name == Failing.name
    assert "must match the size of tensor" in str(error)


def test_it_stops_at_the_last_step_asked_for(conv, settings, digits):
    pair = Pair(Run(conv, settings(steps=4), digits), named("a"), named("b"))
    steps = list(compare_steps(pair, last=2, resync=False, inspect={1, 2}))
    assert [found.progress.step for found in steps] == [1, 2]
    assert all(agreement.agrees for found in steps for agreement in found.agreements)


def test_resynchronised_a_step_that_is_not_inspected_is_compared_by_its_end(conv, settings, digits):
    pair = Pair(Run(conv, settings(steps=2), digits), named("other"), Late(2))
    steps = compare_steps(pair, last=2, resync=True, inspect=())
    apart = [[a.quantity.key for a in found.agreements if not a.agrees] for found in steps]
    assert apart[0] == []
    assert apart[1]
    assert all(key.startswith("parameter/") for key in apart[1])


# Every bit


def two_orders(conv, settings, digits, exact):
    """PyTorch's order of operations in Adam against R torch's: they part in the second step."""
    run = Run(conv, settings(steps=2, rng="torch"), digits)
    return Pair(run, named("python", "torch"), named("r", "r-torch"), exact)


@pytest.mark.parametrize("resync", [pytest.param(True, marks=pytest.mark.slow), False])
def test_exactly_the_last_bit_is_seen(conv, settings, digits, resync):
    first, second = (
        [
            found.divergence
            for found in compare_steps(
                two_orders(conv, settings, digits, exact), last=2, resync=resync, inspect={1, 2}
            )
        ]
        for exact in (True, False)
    )
    assert first[0] is None
    assert (first[1].step, first[1].passing) == (2, "first moment")
    assert f"r: {R_TORCHS}" in first[1].words
    assert second == [None, None]


@pytest.mark.slow
def test_resynchronised_ends_are_compared_exactly_too(conv, settings, digits):
    pair = two_orders(conv, settings, digits, exact=True)
    steps = compare_steps(pair, last=2, resync=True, inspect=())
    apart = [{a.quantity.passing for a in found.agreements if not a.agrees} for found in steps]
    assert apart[0] == set()
    assert "first moment" in apart[1]


@pytest.mark.slow
@pytest.mark.parametrize("order", ["torch", "r-torch"])
def test_the_same_order_of_operations_gives_the_same_bits(conv, settings, digits, order):
    run = Run(conv, settings(rng="torch", dtype="float32"), digits)
    pair = Pair(run, named("python", order), named("r", order), exact=True)
    steps = compare_steps(pair, last=3, resync=False, inspect={1, 2, 3})
    agreements = [agreement for found in steps for agreement in found.agreements]
    assert len(agreements) == 3 * 137
    assert all(a.agrees and a.max_abs == a.raw_max_abs == 0 and not a.explained for a in agreements)
