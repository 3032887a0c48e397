"""Two free runs that part where rounding decides a kink: told from what a mistake does."""

from __future__ import annotations

import pytest
import torch
from stand_ins.verdicts import (
    AMSGrad,
    Averaged,
    Drifting,
    Late,
    OnAKink,
    OnASchedule,
    compare_engines,
)  # fmt: skip

from comparisons.beyond_steps.across_kinks import run_across_kinks
from comparisons.beyond_steps.free_run import run_freely
from comparisons.runs.one_objective import OneObjective
from comparisons.steps.locate import locate
from comparisons.steps.pair import Pair
from pyvae.model.run import Run

pytestmark = pytest.mark.slow

STEPS = 4  # of which three are free beside a kink in the first or the last: enough to tell
MORE = 8  # of which five are free after two kinks
SMALL = {"steps": STEPS, "batch_size": 4}


class DrawsApart(OnAKink, AMSGrad):
    """A kink, and an optimiser that keeps something to itself."""


class Drifts(OnAKink, Drifting):
    """A kink, and parameters that are off by a little after each step."""


class Scheduled(OnAKink, OnASchedule):
    """A kink, and a schedule that a state makes the engine forget."""


class OnceWrong(OnAKink):
    """A kink, and a learning rate that is off in the first run of the engine alone."""

    runs = 0

    def start(self, *arguments) -> None:
        super().start(*arguments)
        self.runs += 1

    def step(self, *arguments, **options):
        if self.runs == 1 and self.next_step == 3:
            self.optimizer.param_groups[0]["lr"] *= 1.01
        return super().step(*arguments, **options)


class Stale(OnAKink):
    """What is returned after a run is of the weights before the last update."""

    def step(self, *arguments, **options):
        self.before = {k: v.clone() for k, v in self.network.state_dict().items()}
        return super().step(*arguments, **options)

    def decode(self, z):
        kept = {k: v.clone() for k, v in self.network.state_dict().items()}
        self.network.load_state_dict(self.before)
        found = super().decode(z)
        self.network.load_state_dict(kept)
        return found


class AveragedToo(OnAKink, Averaged):
    """A kink, and averaged weights in what is computed after training."""


class Unseen(OnAKink):
    """A kink, and a learning rate that is off in the steps that have one, unless it is recorded."""

    def step(self, x, draws, probe=None):
        rate = self.settings.learning_rate
        off = self.next_step in self.on_kink and probe is None
        self.optimizer.param_groups[0]["lr"] = rate * (1.01 if off else 1)
        return super().step(x, draws, probe)


class AfterTheLast(OnAKink):
    """A kink, and one thing that is changed after the last step's update."""

    change = ""

    def step(self, *arguments, **options):
        losses = super().step(*arguments, **options)
        if self.next_step > STEPS:
            self._spoil()
        return losses

    def _spoil(self) -> None:
        parameter = self.network.encoder.fc2.weight
        if self.change == "parameter":
            with torch.no_grad():
                parameter[0, 0] += 1e-6
        elif self.change == "moment":
            self.optimizer.state[parameter]["exp_avg"] *= 1 + 1e-6
        elif self.change == "second moment":
            self.optimizer.state[parameter]["exp_avg_sq"][0] *= 1.001

    def latent_means(self, x, draws, training):
        found = super().latent_means(x, draws, training)
        return found * 1.5 if self.change == "means" and not training else found

    def decode(self, z):
        found = super().decode(z)
        return {"inverted": 1 - found, "a pixel": found + 1e-6 * (found == found.max())}.get(
            self.change, found
        )


def after_the_last(what):
    return type("AfterTheLast", (AfterTheLast,), {"change": what})


class LateToo(OnAKink):
    """A kink, and a learning rate that is off by 1 % from one step on."""

    def __init__(self, name, above, wrong_from, steps=(1,)) -> None:
        super().__init__(name, above, steps)
        self.wrong_from = wrong_from

    def step(self, *arguments, **options):
        if self.next_step == self.wrong_from:
            self.optimizer.param_groups[0]["lr"] *= 1.01
        return super().step(*arguments, **options)


@pytest.fixture
def pair(conv, settings, digits):
    """A run of both engines."""

    def make(under_test, reference, **changes):
        return Pair(Run(conv, settings(**SMALL | changes), digits), under_test, reference)

    return make


@pytest.mark.parametrize("kinks", [(1,), (2, 3)])
def test_all_steps_but_those_after_a_kink_are_free(pair, kinks):
    below, above = OnAKink("below", False, kinks), OnAKink("above", True, kinks)
    across = run_across_kinks(pair(below, above, steps=MORE))
    assert across.steps == kinks
    assert across.is_telling
    found = [one for one in across.stages if one.kinks_at == "encoder.relu1"]
    assert [(one.step, one.kinks) for one in found] == [(step, 1) for step in kinks]
    assert {one.step for one in across.ends} == set(range(1, MORE + 1)) - set(kinks)
    assert max(one.required_rtol for one in across.ends) < 1e-11
    told = "step 1" if len(kinks) == 1 else "steps 2 and 3"
    assert f"encoder.relu1 ({len(kinks)} in {told})" in across.words()
    assert f"After {told} both went on from the state of below" in across.words()


@pytest.mark.parametrize(
    ("kinks", "steps", "telling"),
    [
        ((STEPS,), STEPS, True),
        (range(1, STEPS + 1), STEPS, False),
        (range(1, STEPS), STEPS, False),
        ((2,), MORE, True),
        ((4,), MORE, False),
        ((1,), 1, False),
        ((1,), 2, True),
        ((2,), 2, True),
    ],
)
def test_kinks_in_the_only_step_or_in_most_of_them_leave_nothing_to_tell(
    pair, kinks, steps, telling
):
    across = run_across_kinks(
        pair(OnAKink("below", False, kinks), OnAKink("above", True, kinks), steps=steps)
    )
    assert across.is_telling == telling


@pytest.mark.parametrize(
    "mistaken",
    [
        Late(1),
        Late(3),
        AMSGrad(),
        Drifting(),
        LateToo("above", True, 3),
        LateToo("above", True, 1),
    ],
    ids=lambda engine: f"{type(engine).__name__}-{vars(engine).get('wrong_from', '')}",
)
def test_what_else_drives_two_runs_apart_is_not_taken_for_a_kink(pair, mistaken):
    assert run_across_kinks(pair(OnAKink("below", False), mistaken)) is None


@pytest.mark.parametrize("changes", [{"dtype": "float32"}, {"rng": "torch", "dtype": "float32"}])
def test_in_float32_nothing_is_run_once_more(pair, changes):
    assert (
        run_across_kinks(pair(OnAKink("below", False), OnAKink("above", True), **changes)) is None
    )


@pytest.fixture
def compared(conv, settings, digits, tmp_path):
    """The comparison of two engines."""

    def run(under_test, reference, steps=STEPS, **options):
        changed = settings(**SMALL | {"steps": steps})
        return compare_engines(under_test, reference, conv, changed, digits, tmp_path, **options)

    return run


def test_a_comparison_that_rounding_drives_apart_agrees_and_says_so(compared):
    found = compared(OnAKink("below", False), OnAKink("above", True))
    assert found.agrees
    assert found.divergence is None
    assert found.joined_after == (1,)
    assert found.note.startswith("rounding decides whether a gradient passes in encoder.")
    assert "neither engine is wrong" in found.note
    assert "left to themselves they part: loss " in found.note


def test_so_does_one_with_a_kink_in_its_last_step(compared):
    found = compared(OnAKink("below", False, (STEPS,)), OnAKink("above", True, (STEPS,)))
    assert found.agrees
    assert found.joined_after == (STEPS,)
    assert f"encoder.relu1 (1 in step {STEPS})" in found.note


@pytest.mark.parametrize("kinks", [(1,), (3,)])
def test_so_does_one_whose_steps_begin_from_one_state(compared, kinks):
    found = compared(OnAKink("below", False, kinks), OnAKink("above", True, kinks), mode="resync")
    assert found.agrees
    assert found.note.startswith("where each goes its own way, rounding decides whether")
    assert found.inspected_steps == list(range(1, STEPS + 1))


@pytest.mark.parametrize(
    ("under_test", "reference", "kinks", "steps", "mode"),
    [
        (OnAKink, DrawsApart, (1,), STEPS, "free"),
        # the engine under test is the wrong one with Unseen, Stale and two of AfterTheLast, too
        pytest.param(DrawsApart, OnAKink, (1,), STEPS, "free", marks=pytest.mark.long),
        (OnAKink, DrawsApart, (1,), STEPS, "resync"),
        (OnAKink, Scheduled, (2,), STEPS, "free"),
        (OnAKink, OnceWrong, (1,), STEPS, "free"),
        pytest.param(OnceWrong, OnAKink, (1,), STEPS, "free", marks=pytest.mark.long),
        (OnAKink, Drifts, (STEPS,), STEPS, "free"),
        (Stale, OnAKink, (STEPS,), STEPS, "free"),
        (OnAKink, AveragedToo, (STEPS,), STEPS, "free"),
        (Unseen, OnAKink, (STEPS,), STEPS, "free"),
        (OnAKink, Unseen, (2,), STEPS, "free"),
        (OnAKink, after_the_last("parameter"), (STEPS,), STEPS, "free"),
        (after_the_last("moment"), OnAKink, (STEPS,), STEPS, "free"),
        (OnAKink, after_the_last("second moment"), (STEPS,), STEPS, "free"),
        (OnAKink, after_the_last("means"), (STEPS,), STEPS, "free"),
        (after_the_last("inverted"), OnAKink, (STEPS,), STEPS, "free"),
        (OnAKink, after_the_last("a pixel"), (STEPS,), STEPS, "free"),
    ],
)
def test_a_mistake_beside_a_kink_still_disagrees(
    compared, under_test, reference, kinks, steps, mode, monkeypatch
):
    """Looked for, which takes longer, only where it is in what is trained: test_after_training.py
    places what is computed after it."""
    engines = under_test, reference
    if {"means", "inverted", "a pixel"} & {getattr(one, "change", "") for one in engines}:
        monkeypatch.setattr(OneObjective, "_placed", lambda objective, comparison: comparison)
    one, other = under_test("below", False, kinks), reference("above", True, kinks)
    found = compared(one, other, steps=steps, mode=mode)
    assert not found.agrees
    assert "neither engine is wrong" not in found.note


@pytest.mark.parametrize("mode", ["free", "resync"])
def test_too_few_steps_are_no_ground_to_blame_an_engine(compared, mode):
    found = compared(OnAKink("below", False), OnAKink("above", True), steps=1, mode=mode)
    assert not found.agrees
    assert "too few steps are left to tell a mistake from what follows" in found.note
    assert "keeps something" not in found.note


def test_a_mistake_after_a_kink_is_placed(pair):
    _, found = locate(pair(OnAKink("below", False), LateToo("late", True, 3)))
    assert (found.step, found.stage, found.wrong) == (3, "adam.update", "late")


def test_a_few_free_steps_go_past_a_kink(pair):
    assert run_freely(pair(OnAKink("below", False), OnAKink("above", True))).agreement.agrees
    parted = run_freely(pair(OnAKink("below", False), DrawsApart("above", True)))
    assert not parted.agreement.agrees
