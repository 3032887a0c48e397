"""The first place where two engines part."""

from __future__ import annotations

import re

import pytest
from stand_ins.verdicts import R_TORCHS, Failing, Late, Mistaken, named

from comparisons.steps.locate import locate
from comparisons.steps.pair import Pair
from pyvae.model.run import Run

pytestmark = pytest.mark.slow


@pytest.mark.slow
@pytest.mark.parametrize("step", [1, 2, 4])
def test_the_first_step_that_parts_is_named(conv, settings, digits, step):
    pair = Pair(Run(conv, settings(steps=5), digits), named("other"), Late(step))
    stages, found = locate(pair)
    assert found is not None
    assert (found.step, found.passing, found.stage) == (step, "parameter", "adam.update")
    assert found.wrong == "late"
    assert found.words == ("late: learning rate 0.00101 where it is 0.001",)
    assert {agreement.step for agreement in stages} == {step}


def test_where_every_step_agrees_nothing_is_named(conv, settings, digits):
    pair = Pair(Run(conv, settings(steps=3), digits), named("a"), named("b"))
    seen = []
    assert locate(pair, seen.append) == ([], None)
    assert [now.step for now in seen] == [1, 2, 3]


def test_an_engine_that_fails_is_placed_by_what_its_stages_returned_until_then(
    conv, settings, digits
):
    _, found = locate(Pair(Run(conv, settings(), digits), named("other"), Failing()))
    assert found is not None
    assert (found.step, found.stage, found.wrong) == (1, "encoder.conv2", "failing")
    assert "failing: stride 2 where it is 1" in found.words


# Which elements differ depends on the sums behind the gradients; that some do, does not.
ROUNDING = r"rounding: [\d,]+ of [\d,]+ elements differ, by at most \d+ ULP"
PYTORCHS = (
    "exp_avg.lerp_(grad, 1 - beta1), PyTorch's order of operations in Adam (--adam r-torch has R "
    "torch's)"
)


@pytest.mark.parametrize(
    ("dtype", "rng"),
    [
        ("float32", "torch"),
        pytest.param("float32", "injected", marks=pytest.mark.slow),
        pytest.param("float64", "torch", marks=pytest.mark.slow),
    ],
)
def test_two_orders_of_operations_part_in_the_second_steps_first_moment(
    conv, settings, digits, rng, dtype
):
    """Both are Adam: in the first step the moments are zero, and all bits are the same."""
    run = Run(conv, settings(rng=rng, dtype=dtype), digits)
    engines = named("python", "torch"), named("r", "r-torch")
    stages, found = locate(Pair(run, *engines, exact=True))
    assert found is not None
    assert (found.step, found.passing, found.stage) == (2, "first moment", "adam.moment1")
    assert re.fullmatch(ROUNDING, found.words[0])
    assert found.words[1:] == (f"python: {PYTORCHS}", f"r: {R_TORCHS}")
    assert found.wrong == ""
    before = [a for a in stages if a.quantity.passing in ("start", "forward", "backward")]
    assert all(agreement.max_abs == 0 for agreement in before)
    assert locate(Pair(run, *engines)) == ([], None)  # within rounding they agree


@pytest.mark.slow
@pytest.mark.parametrize("order", ["torch", "r-torch"])
def test_the_same_order_of_operations_parts_nowhere(conv, settings, digits, order):
    run = Run(conv, settings(rng="torch", dtype="float32"), digits)
    assert locate(Pair(run, named("python", order), named("r", order), exact=True)) == ([], None)


def test_engines_that_draw_for_themselves_are_told_apart_by_their_draws(conv, settings, digits):
    """Where one engine draws its noise before its masks, it is that stage that is named."""

    class Early(Mistaken):
        def start(self, *arguments):
            super().start(*arguments)
            self.spec = dict(reversed(self.spec.items()))

    run = Run(conv, settings(rng="torch"), digits)
    _, found = locate(Pair(run, named("python"), Early()))
    assert found is not None
    assert (found.step, found.passing, found.stage) == (1, "forward", "encoder.dropout1")
