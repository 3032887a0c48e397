"""Re-synchronised steps the other way round: what an engine forgets when it is given a state."""

from __future__ import annotations

import pytest
import torch
from stand_ins.verdicts import Mistaken, OnAKink, compare_engines, named

from comparisons.beyond_steps import free_run
from comparisons.beyond_steps.across_kinks import FREE_STEPS

pytestmark = pytest.mark.slow

FREE = 2  # steps beside; with so few a mistake that begins in the third begins late
LATE = FREE + 1
STEPS = LATE + 1


class Forgetful(Mistaken):
    """What it does from some step on, counted since it was last given a state.

    Arguments:
        begin: The first such step.
    """

    def __init__(self, begin: int = LATE) -> None:
        super().__init__()
        self.begin = begin

    def start(self, *arguments) -> None:
        super().start(*arguments)
        self.forget()

    def restore(self, state) -> None:
        super().restore(state)
        self.forget()

    def forget(self) -> None:
        self.age = 0

    @property
    def begun(self) -> bool:
        return self.age >= self.begin

    @property
    def group(self):
        return self.optimizer.param_groups[0]

    def step(self, *arguments, **options):
        self.age += 1
        if self.begun:
            self.before()
        losses = super().step(*arguments, **options)
        if self.begun:
            with torch.no_grad():
                self.after()
        self.group.update(lr=self.settings.learning_rate, weight_decay=0, betas=(0.9, 0.999))
        return losses

    def before(self) -> None:
        """What is done before such a step."""

    def after(self) -> None:
        """What is done after it."""


class Rate(Forgetful):
    def before(self) -> None:
        self.group["lr"] *= 0.1


class SlightlyOther(Forgetful):
    def before(self) -> None:
        self.group["lr"] *= 1 + 1e-6


class WeightDecay(Forgetful):
    def before(self) -> None:
        self.group["weight_decay"] = 0.01


class Momentum(Forgetful):
    def before(self) -> None:
        self.group["betas"] = (0.5, 0.999)


class Shrinks(Forgetful):
    def after(self) -> None:
        for parameter in self.network.parameters():
            parameter *= 0.999


class SecondMoment(Forgetful):
    def after(self) -> None:
        for kept in self.optimizer.state.values():
            kept["exp_avg_sq"] *= 1.5


class Maximum(Forgetful):
    """AMSGrad's, from some step on."""

    def start(self, *arguments) -> None:
        super().start(*arguments)
        self.optimizer = torch.optim.Adam(self.network.parameters())

    def before(self) -> None:
        if not self.group["amsgrad"]:
            self.group["amsgrad"] = True
            for kept in self.optimizer.state.values():
                kept["max_exp_avg_sq"] = 2 * kept["exp_avg_sq"]

    def forget(self) -> None:
        super().forget()
        self.group["amsgrad"] = False


class Velocity(Forgetful):
    """A second momentum: a hundredth of the step before is taken once more."""

    def forget(self) -> None:
        super().forget()
        self.last = None

    def after(self) -> None:
        found = [parameter.clone() for parameter in self.network.parameters()]
        for parameter, last in zip(self.network.parameters(), self.last or found, strict=True):
            parameter += 0.01 * (parameter - last)
        self.last = found


class EvaluatedAverage(Forgetful):
    """What is computed after training is of the weights' average since it was given a state."""

    def __init__(self) -> None:
        super().__init__(1)

    def forget(self) -> None:
        super().forget()
        self.average = {k: v.clone() for k, v in self.network.state_dict().items()}

    def after(self) -> None:
        for name, value in self.network.state_dict().items():
            self.average[name].lerp_(value, 0.1 if self.age > 1 else 1.0)

    def latent_means(self, x, draws, training):
        kept = {k: v.clone() for k, v in self.network.state_dict().items()}
        self.network.load_state_dict(self.average)
        found = super().latent_means(x, draws, training)
        self.network.load_state_dict(kept)
        return found


MISTAKES = [SlightlyOther, WeightDecay, Momentum, SecondMoment, Maximum, Velocity]


@pytest.fixture
def few_free_steps(monkeypatch):
    """Of a comparison, of which five are free otherwise."""
    monkeypatch.setattr(free_run, "FREE_STEPS", FREE)


@pytest.fixture
def compared(few_free_steps, compared_in_full):
    """The re-synchronised comparison of two engines, with few free steps."""
    return compared_in_full


@pytest.fixture
def compared_in_full(conv, settings, digits, tmp_path):
    """The re-synchronised comparison of two engines."""

    def run(under_test, reference, inspect=(1,), **changes):
        changed = settings(**{"steps": STEPS, "batch_size": 4} | changes)
        return compare_engines(
            under_test, reference, conv, changed, digits, tmp_path, mode="resync", inspect=inspect
        )

    return run


@pytest.mark.parametrize("mistake", MISTAKES)
def test_what_begins_late_and_is_forgotten_is_found_in_the_step_where_it_begins(compared, mistake):
    later = 1 if mistake is Velocity else 0  # it begins with the step after
    found = compared(named("pytorch"), mistake(), steps=LATE + later)
    assert not found.agrees
    assert found.quantities["free_run"].agrees
    assert found.divergence.step == LATE + later
    assert found.divergence.names == ("pytorch", "port")
    assert found.divergence.wrong == "port"
    assert f"step {LATE + later} does not: look for what port keeps from step to step" in found.note


@pytest.mark.parametrize("mistake", [Rate, Maximum])
def test_of_the_engine_under_test_it_shows_in_the_steps_themselves(compared, mistake):
    found = compared(mistake(), named("pytorch"))
    assert not found.agrees
    assert "other_way_round" not in found.quantities


def test_in_float32_too(compared):
    found = compared(named("pytorch"), Maximum(), dtype="float32")
    assert not found.agrees
    assert found.divergence.step == LATE


def test_in_the_last_step_too_after_all_free_steps(compared_in_full):
    steps = FREE_STEPS + 2
    found = compared_in_full(named("pytorch"), Rate(steps), steps=steps)
    assert found.quantities["free_run"].agrees
    assert (found.agrees, found.divergence.step, found.divergence.wrong) == (False, steps, "port")
    assert "port: learning rate 0.0001 where it is 0.001" in found.divergence.words


def test_both_values_are_told_of_their_own_sides(compared):
    divergence = compared(named("pytorch"), Shrinks()).divergence
    assert (divergence.step, divergence.wrong) == (LATE, "port")
    of_pytorch, of_port = divergence.agreement.values
    assert abs(of_port) < abs(of_pytorch)
    (one,) = (a for a in divergence.around if a.quantity == divergence.agreement.quantity)
    assert one is divergence.agreement


def test_what_is_computed_after_training_is_asked_for_as_well(compared):
    found = compared(named("pytorch"), EvaluatedAverage())
    assert not found.agrees
    assert found.divergence.wrong == "port"
    assert found.divergence.sentence().startswith(f"the end of the run, after step {STEPS}: latent")
    assert "what is computed after the last one does not" in found.note


def test_a_mistake_is_found_past_kinks(compared_in_full):
    class Both(OnAKink, Rate):
        def __init__(self) -> None:
            Rate.__init__(self, 8)
            self.name, self.above, self.on_kink = "above", True, (3, 6)

    found = compared_in_full(OnAKink("below", False, (3, 6)), Both(), steps=9)
    assert (found.agrees, found.divergence.step, found.divergence.wrong) == (False, 8, "above")


@pytest.mark.parametrize(
    ("kinks", "dtype"),
    [((), "float64"), ((), "float32"), ((1,), "float64"), (range(1, STEPS), "float64")],
)
def test_two_right_engines_agree(compared_in_full, kinks, dtype):
    found = compared_in_full(
        OnAKink("below", False, kinks), OnAKink("above", True, kinks), range(1, STEPS + 1),
        dtype=dtype,
    )  # fmt: skip
    assert found.agrees
    assert found.quantities["other_way_round"].agrees
    undecided = len(kinks) > 1  # five free steps tell nothing then
    assert ("free_run" in found.quantities) != undecided
    assert found.note.startswith("where each goes its own way, rounding decides") == bool(kinks)


class NotRecorded(Forgetful):
    """Goes wrong in one step, if nothing is recorded of it.

    Arguments:
        begin: That step.
    """

    def step(self, *arguments, probe=None, **options):
        self.recorded = probe is not None
        given = {} if probe is None else {"probe": probe}
        return super().step(*arguments, **given, **options)

    def after(self) -> None:
        if not self.recorded and self.age == self.begin:
            for kept in self.optimizer.state.values():
                kept["exp_avg_sq"] *= 1.5


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_what_is_done_only_where_nothing_is_recorded_is_no_agreement(compared, dtype):
    found = compared(named("pytorch"), NotRecorded(), dtype=dtype)
    assert not found.agrees
    assert f"when pytorch starts from that of port, step {LATE} does not" in found.note
    assert "taken again, with its stages recorded, it does: look for what an engine" in found.note


def test_nor_is_it_of_the_engine_under_test(compared):
    found = compared(NotRecorded(), named("pytorch"))
    assert not found.agrees
    assert f"step {LATE} does not agree; taken again, with its stages recorded" in found.note


def test_what_is_done_where_nothing_is_recorded_is_not_taken_for_a_kink(compared):
    class Both(OnAKink, NotRecorded):
        def __init__(self) -> None:
            NotRecorded.__init__(self)
            self.name, self.above, self.on_kink = "above", True, (LATE,)

    found = compared(OnAKink("below", False, (LATE,)), Both())
    assert (found.agrees, found.divergence) == (False, None)
    assert f"step {LATE} does not: taken again" in found.note


def test_an_engine_that_spoils_a_state_it_is_given_is_told_so(compared):
    class Spoils(Mistaken):
        def restore(self, state) -> None:
            key = "moment2/encoder.fc1.weight"
            super().restore({**state, key: 0 * state[key]})

    found = compared(Spoils(), named("pytorch"))
    assert (found.agrees, found.divergence.wrong) == (False, "port")
    assert "look for what port makes of a state that it is given" in found.note
