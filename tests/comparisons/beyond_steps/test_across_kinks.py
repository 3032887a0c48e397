"""Two free runs that part where rounding decides a kink: told from what a mistake does."""

from __future__ import annotations

import pytest
from stand_ins.verdicts import AMSGrad, Drifting, Late, OnAKink, compare_engines

from comparisons.beyond_steps.across_kinks import run_across_kinks
from comparisons.beyond_steps.free_run import run_freely
from comparisons.steps.locate import locate
from comparisons.steps.pair import Pair
from pyvae.model.run import Run

STEPS = 8


class DrawsApart(OnAKink, AMSGrad):
    """A kink, and an optimiser that keeps something to itself."""


class Drifts(OnAKink, Drifting):
    """A kink, and parameters that are off by a little after each step."""


class LateToo(OnAKink):
    """A kink, and a learning rate that is off by 1 % from one step on."""

    def __init__(self, name, above, wrong_from) -> None:
        super().__init__(name, above)
        self.wrong_from = wrong_from

    def step(self, *arguments, **options):
        if self.next_step == self.wrong_from:
            self.optimizer.param_groups[0]["lr"] *= 1.01
        return super().step(*arguments, **options)


@pytest.fixture
def pair(conv, settings, digits):
    """A run of both engines."""

    def make(under_test, reference, **changes):
        return Pair(
            Run(conv, settings(**{"steps": STEPS} | changes), digits), under_test, reference
        )

    return make


@pytest.mark.parametrize("kinks", [(1,), (2, 3)])
def test_all_steps_but_those_after_a_kink_are_free(pair, kinks):
    across = run_across_kinks(pair(OnAKink("below", False, kinks), OnAKink("above", True, kinks)))
    assert across.steps == kinks
    assert across.free == max(kinks[0], STEPS - kinks[-1])
    found = [one for one in across.stages if one.kinks_at == "encoder.relu1"]
    assert [(one.step, one.kinks) for one in found] == [(step, 1) for step in kinks]
    assert {one.step for one in across.ends} == set(range(1, STEPS + 1)) - set(kinks)
    assert max(one.required_rtol for one in across.ends) < 1e-11
    told = "step 1" if len(kinks) == 1 else "steps 2 and 3"
    assert f"encoder.relu1 ({len(kinks)} in {told})" in across.words()
    assert f"After {told} both went on from the state of below" in across.words()


def test_after_the_last_step_the_latent_means_are_of_one_state(pair):
    kinks = (STEPS,)
    across = run_across_kinks(pair(OnAKink("below", False, kinks), OnAKink("above", True, kinks)))
    a, b = across.traces
    assert (a.parameters["encoder.conv1.bias"] == b.parameters["encoder.conv1.bias"]).all()
    assert abs(a.samples - b.samples).max() < 1e-12


@pytest.mark.parametrize(
    "mistaken",
    [
        Late(1),
        Late(4),
        AMSGrad(),
        Drifting(),
        LateToo("above", True, 4),
        LateToo("above", True, 1),
        OnAKink("above", True, range(1, STEPS + 1)),  # no step would be free
    ],
    ids=lambda engine: f"{type(engine).__name__}-{vars(engine).get('wrong_from', '')}",
)
def test_what_else_drives_two_runs_apart_is_not_taken_for_a_kink(pair, mistaken):
    kinks = getattr(mistaken, "on_kink", (1,))
    assert run_across_kinks(pair(OnAKink("below", False, kinks), mistaken)) is None


@pytest.mark.parametrize("changes", [{"dtype": "float32"}, {"rng": "torch", "dtype": "float32"}])
def test_in_float32_nothing_is_run_once_more(pair, changes):
    assert (
        run_across_kinks(pair(OnAKink("below", False), OnAKink("above", True), **changes)) is None
    )


@pytest.mark.parametrize("mode", ["free", "resync"])
def test_a_comparison_that_rounding_drives_apart_agrees_and_says_so(
    conv, settings, digits, tmp_path, mode
):
    below, above = OnAKink("below", False), OnAKink("above", True)
    found = compare_engines(
        below, above, conv, settings(steps=STEPS), digits, tmp_path, mode=mode
    )  # fmt: skip
    assert found.agrees
    assert found.divergence is None
    if mode == "free":
        assert found.joined_after == (1,)
        assert found.note.startswith("rounding decides whether a gradient passes in encoder.")
        assert "neither engine is wrong" in found.note
        assert "left to themselves they part: loss " in found.note


@pytest.mark.parametrize(
    ("kind", "mode"), [(DrawsApart, "free"), (DrawsApart, "resync"), (Drifts, "free")]
)
def test_a_mistake_beside_a_kink_still_disagrees(conv, settings, digits, tmp_path, kind, mode):
    found = compare_engines(
        OnAKink("below", False), kind("above", True), conv, settings(steps=STEPS), digits, tmp_path,
        mode=mode,
    )  # fmt: skip
    assert not found.agrees
    assert "neither engine is wrong" not in found.note


def test_a_mistake_after_a_kink_is_placed(pair):
    _, found = locate(pair(OnAKink("below", False), LateToo("late", True, 4)))
    assert (found.step, found.stage, found.wrong) == (4, "adam.update", "late")


def test_a_few_free_steps_go_past_a_kink(pair):
    assert run_freely(pair(OnAKink("below", False), OnAKink("above", True))).agreement.agrees
    parted = run_freely(pair(OnAKink("below", False), DrawsApart("above", True)))
    assert not parted.agreement.agrees
