"""Two engines side by side."""

from __future__ import annotations

import re

import numpy as np
import pytest

from comparisons.runs.lockstep import StepFailure, locate, lockstep, look
from pyvae.engines.pytorch import PyTorchEngine
from pyvae.model.run import Run
from pyvae.training.loop import train


class Late(PyTorchEngine):
    """PyTorch with a mistake from one step on: a learning rate that is off by 1 %."""

    name = "late"

    def __init__(self, step: int) -> None:
        super().__init__("cpu")
        self.wrong_from = step

    def start(self, *arguments) -> None:
        super().start(*arguments)
        self.steps = 0

    def step(self, *arguments, **options):
        self.steps += 1
        if self.steps == self.wrong_from:
            self.optimizer.param_groups[0]["lr"] *= 1.01
        return super().step(*arguments, **options)


class Failing(PyTorchEngine):
    """PyTorch with a layer of the wrong size."""

    name = "failing"

    def start(self, *arguments) -> None:
        super().start(*arguments)
        self.network.encoder.conv2.stride = (2, 2)


def engine(name="other"):
    made = PyTorchEngine("cpu")
    made.name = name
    return made


@pytest.mark.slow
@pytest.mark.parametrize("resync", [True, False])
def test_both_go_through_the_run_that_each_would_go_through_alone(conv, settings, digits, resync):
    run = settings(steps=4)
    alone = train(Run(conv, run, digits), engine())
    pairs = list(lockstep(engine("a"), engine("b"), conv, run, digits, resync=resync))
    assert [pair.step for pair in pairs] == [1, 2, 3, 4]
    for side in (0, 1):
        losses = np.array([pair.progress[side].losses.numpy() for pair in pairs])
        assert np.array_equal(losses, alone.losses)
        trace = pairs[-1].progress[side].trace
        assert np.array_equal(trace.samples, alone.samples)
        assert np.array_equal(trace.latent_means["training"], alone.latent_means["training"])


def test_only_the_steps_asked_for_are_probed(conv, settings, digits):
    pairs = lockstep(
        engine("a"), engine("b"), conv, settings(steps=4), digits, resync=False, probed={2, 4}
    )
    assert [pair.probes is not None for pair in pairs] == [False, True, False, True]


def test_resynchronised_a_mistake_does_not_smear_over_later_steps(conv, settings, digits):
    """The first step's mistake in the parameters is gone in the second step's start."""
    run = settings(steps=3)
    for resync in (True, False):
        last = None
        for pair in lockstep(engine(), Late(1), conv, run, digits, resync=resync, probed={1, 2, 3}):
            last = pair.probes
        assert last is not None
        a, b = last
        same = np.array_equal(a["start/encoder.fc1.weight"], b["start/encoder.fc1.weight"])
        assert same == resync
        assert not np.array_equal(
            a["parameter/encoder.fc1.weight"], b["parameter/encoder.fc1.weight"]
        )


@pytest.mark.slow
@pytest.mark.parametrize("step", [1, 2, 4])
def test_the_first_step_that_parts_is_named(conv, settings, digits, step):
    stages, found = locate(engine(), Late(step), conv, settings(steps=5), digits)
    assert found is not None
    assert (found.step, found.passing, found.stage) == (step, "parameter", "adam.update")
    assert found.wrong == "late"
    assert found.words == ("late: learning rate 0.00101 where it is 0.001",)
    assert {agreement.step for agreement in stages} == {step}


def test_where_every_step_agrees_nothing_is_named(conv, settings, digits):
    assert locate(engine("a"), engine("b"), conv, settings(steps=3), digits) == ([], None)


def test_an_engine_that_fails_is_placed_by_what_it_saw_until_then(conv, settings, digits):
    _, found = locate(engine(), Failing("cpu"), conv, settings(), digits)
    assert found is not None
    assert (found.step, found.stage, found.wrong) == (1, "encoder.conv2", "failing")
    assert "failing: stride 2 where it is 1" in found.words


def test_looking_raises_the_failure_of_an_engine(conv, settings, digits):
    with pytest.raises(StepFailure) as failed:
        list(look(engine(), Failing("cpu"), conv, settings(), digits, last=1, resync=False,
                  probed={1}))  # fmt: skip
    assert failed.value.steps == {Failing.name: 1}
    ((name, error),) = failed.value.failures.items()
    assert name == Failing.name
    assert "must match the size of tensor" in str(error)


def test_looking_stops_at_the_last_step_asked_for(conv, settings, digits):
    looks = list(
        look(engine("a"), engine("b"), conv, settings(steps=4), digits, last=2, resync=False,
             probed={1, 2})
    )  # fmt: skip
    assert [seen.progress.step for seen in looks] == [1, 2]
    assert all(agreement.agrees for seen in looks for agreement in seen.agreements)


def test_resynchronised_a_step_that_is_not_probed_is_compared_by_its_ends(conv, settings, digits):
    looks = list(
        look(engine(), Late(2), conv, settings(steps=2), digits, last=2, resync=True, probed=())
    )
    apart = [[a.quantity.key for a in seen.agreements if not a.agrees] for seen in looks]
    assert apart[0] == []
    assert apart[1]
    assert all(key.startswith("parameter/") for key in apart[1])


# Every bit


def adam(order: str, name: str) -> PyTorchEngine:
    made = PyTorchEngine("cpu", order)
    made.name = name
    return made


# Which elements differ depends on the sums behind the gradients; that some do, does not.
ROUNDING = r"rounding: [\d,]+ of [\d,]+ elements differ, by at most \d+ ULP"
R_TORCHS = "exp_avg.mul_(beta1).add_(grad, alpha=1 - beta1), R torch's order of operations in Adam"
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
    run = settings(rng=rng, dtype=dtype)
    engines = adam("torch", "python"), adam("r-torch", "r")
    stages, found = locate(*engines, conv, run, digits, exact=True)
    assert found is not None
    assert (found.step, found.passing, found.stage) == (2, "first moment", "adam.moment1")
    assert re.fullmatch(ROUNDING, found.words[0])
    assert found.words[1:] == (f"python: {PYTORCHS}", f"r: {R_TORCHS}")
    assert found.wrong == ""
    before = [a for a in stages if a.quantity.passing in ("start", "forward", "backward")]
    assert all(agreement.max_abs == 0 for agreement in before)
    assert locate(*engines, conv, run, digits) == ([], None)  # within rounding they agree


@pytest.mark.slow
@pytest.mark.parametrize("order", ["torch", "r-torch"])
def test_the_same_order_of_operations_gives_the_same_bits(conv, settings, digits, order):
    run = settings(rng="torch", dtype="float32")
    engines = adam(order, "python"), adam(order, "r")
    assert locate(*engines, conv, run, digits, exact=True) == ([], None)
    looks = list(
        look(*engines, conv, run, digits, last=3, resync=False, probed={1, 2, 3}, exact=True)
    )
    agreements = [agreement for seen in looks for agreement in seen.agreements]
    assert len(agreements) == 3 * 137
    assert all(a.agrees and a.max_abs == a.raw_max_abs == 0 and not a.explained for a in agreements)


@pytest.mark.parametrize("resync", [pytest.param(True, marks=pytest.mark.slow), False])
def test_looking_exactly_sees_the_last_bit(conv, settings, digits, resync):
    run = settings(steps=2, rng="torch")
    engines = adam("torch", "python"), adam("r-torch", "r")
    arguments = {"last": 2, "resync": resync, "probed": {1, 2}}
    exact = [seen.divergence for seen in look(*engines, conv, run, digits, exact=True, **arguments)]
    assert exact[0] is None
    assert (exact[1].step, exact[1].passing) == (2, "first moment")
    assert f"r: {R_TORCHS}" in exact[1].words
    loose = look(*engines, conv, run, digits, **arguments)
    assert [seen.divergence for seen in loose] == [None, None]


@pytest.mark.slow
def test_resynchronised_ends_are_compared_exactly_too(conv, settings, digits):
    run = settings(steps=2, rng="torch")
    engines = adam("torch", "python"), adam("r-torch", "r")
    looks = look(*engines, conv, run, digits, last=2, resync=True, probed=(), exact=True)
    apart = [{a.quantity.passing for a in seen.agreements if not a.agrees} for seen in looks]
    assert apart[0] == set()
    assert "first moment" in apart[1]


def test_engines_that_draw_for_themselves_are_told_apart_by_their_draws(conv, settings, digits):
    """Where one engine draws its noise before its masks, it is that stage that is named."""

    class Early(PyTorchEngine):
        name = "early"

        def start(self, *arguments):
            super().start(*arguments)
            self.spec = dict(reversed(self.spec.items()))

    run = settings(rng="torch")
    _, found = locate(adam("r-torch", "python"), Early("cpu", "r-torch"), conv, run, digits)
    assert found is not None
    assert (found.step, found.passing, found.stage) == (1, "forward", "encoder.dropout1")
