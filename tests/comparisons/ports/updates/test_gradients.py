"""Gradients that are changed between backward and the update: what was done, in one sentence."""

from __future__ import annotations

import pytest
import torch
from recorded.trained import Training
from torch import nn
from torch.nn.utils import clip_grad_norm_, clip_grad_value_

from comparisons.ports import compare_programs
from pyvae.files.arrays import write_arrays
from pyvae.trace.program import ProgramTrace

pytestmark = pytest.mark.slow


def clipped(norm):
    return lambda network, optimiser, step: clip_grad_norm_(network.parameters(), norm)


def clamped(network, optimiser, step):
    clip_grad_value_(network.parameters(), 0.01)


def each(network, optimiser, step):
    """As Keras's `clipnorm` does."""
    for one in network.parameters():
        clip_grad_norm_([one], 1e-3)


def of_each(change):
    def between(network, optimiser, step):
        with torch.no_grad():
            for one in network.parameters():
                change(one, one.grad)

    return between


def noisy(one, gradient):
    gradient.add_(torch.randn(gradient.shape) * 0.01)


def half(p, gradient):
    gradient.copy_(gradient.half().float())


def encoder(network, optimiser, step):
    for one in network.encoder.parameters():
        one.grad.mul_(0.3)


ALL = "the gradients of all 10 parameters"
NONE = "; python does not change them"
# what r does, what python does, and what is said
CHANGES = {
    "clipping": (clipped(0.2), None, f"it clips {ALL}, all together, to norm 0.2{NONE}"),
    "two norms": (
        clipped(0.2), clipped(0.3),
        f"it clips {ALL}, all together, to norm 0.2; python clips them, all together, to norm 0.3",
    ),
    "by value": (clamped, None, f"it clips {ALL} by value, to 0.01{NONE}"),
    "by value or norm": (
        clamped, clipped(0.2),
        f"it clips {ALL} by value, to 0.01; python clips them, all together, to norm 0.2",
    ),
    "each": (each, None, f"it clips each parameter's gradient by itself, to norm 0.001{NONE}"),
    "a factor": (of_each(lambda p, g: g.mul_(0.3)), None, f"it multiplies {ALL} by 0.3{NONE}"),
    "batch": (
        of_each(lambda p, g: g.div_(8)), None, f"it multiplies {ALL} by 1/8 (the batch size){NONE}",
    ),
    "a sign": (of_each(lambda p, g: g.neg_()), None, f"it multiplies {ALL} by -1{NONE}"),
    "decay": (
        of_each(lambda p, g: g.add_(0.01 * p)), None,
        f"it adds weight decay 0.01 to {ALL} (L2){NONE}",
    ),
    "lasso": (
        of_each(lambda p, g: g.add_(0.01 * p.sign())), None,
        f"it adds 0.01 times the signs of the parameters to {ALL} (L1){NONE}",
    ),
    "noise": (
        of_each(noisy), None,
        f"it changes {ALL}, in no known pattern (standard deviation 0.011){NONE}",
    ),
    "half": (of_each(half), None, f"it rounds {ALL} to float16{NONE}"),
    "signs": (
        of_each(lambda p, g: g.sign_()), None, f"it replaces {ALL} by their signs{NONE}",
    ),
    "zero": (of_each(lambda p, g: g.zero_()), None, f"it sets {ALL} to zero{NONE}"),
    "the encoder's": (
        encoder, None, f"it multiplies the gradients of encoder.* by 0.3{NONE}",
    ),
}  # fmt: skip
PLACE = "step 1, decoder.2.weight, gradient that the optimiser gets"


@pytest.mark.parametrize("name", CHANGES)
def test_all_gradients_are_changed(pair, name):
    wrong, right, words = CHANGES[name]
    right = Training() if right is None else Training(between=right)
    found = compare_programs(*pair(right, Training(between=wrong)))
    assert found.first.words == (f"r: between backward and the update {words}",)
    if name != "the encoder's":
        assert found.first.place == PLACE


@pytest.mark.parametrize("name", ["clipping", "by value", "a factor", "batch", "decay", "each"])
def test_where_the_recorder_sees_one_gradient_alone(pair, name):
    """As in a trace that a program writes by itself: it has what the optimiser got."""
    wrong, _, words = CHANGES[name]
    pair(Training(dtype=torch.float64), Training(between=wrong, dtype=torch.float64))
    trace = ProgramTrace.load("r")
    for step in trace.steps:
        arrays = trace.arrays(step.step)
        given = {key: value for key, value in arrays.items() if key.startswith("given/")}
        arrays = {key: value for key, value in arrays.items() if key not in given}
        arrays |= {key.replace("given/", "gradient/"): value for key, value in given.items()}
        write_arrays(trace.folder / "steps" / f"step-{step.step:06d}.safetensors", arrays)
    found = compare_programs("python", "r")
    assert found.first.words == (f"r: between backward and the update {words}",)
    assert found.first.place == "step 1, between backward and the update (decoder.2.weight)"
    assert found.first.wrong == "r"


def test_a_norm_or_a_factor_is_told_by_a_further_step(pair):
    """Of one step alone both are said, unless the norm is a round number."""
    half = Training(between=of_each(lambda p, g: g.mul_(0.5)), steps=1)
    (said,) = compare_programs(*pair(Training(steps=1), half)).first.words
    assert f"multiplies {ALL} by 0.5" in said
    assert "to norm" in said
    assert "a further recorded step would tell the two apart" in said


def test_clipping_that_one_step_does_not_need(pair):
    """The norm is under the bound there."""

    def small(x, step):
        return x * (1.0 if step % 2 else 0.01)

    wrong = Training(between=clipped(0.2), batch=small)
    (said,) = compare_programs(*pair(Training(batch=small), wrong)).first.words
    assert said.endswith(f"clips {ALL}, all together, to norm 0.2{NONE}")


def test_gradients_averaged_over_backward_passes(pair):
    right = Training(parts=3, between=of_each(lambda p, g: g.div_(3)))
    (said,) = compare_programs(*pair(right, Training(parts=3))).first.words
    assert said == (
        f"python: between backward and the update it multiplies {ALL} by 1/3 (the number of "
        "backward passes); r does not change them"
    )


def test_gradients_that_are_not_zeroed(pair):
    class Kept(Training):
        def _step(self, network, optimiser, step):
            optimiser.zero_grad = lambda: None
            super()._step(network, optimiser, step)

    for change in ({}, {"between": clipped(0.2)}):
        found = compare_programs(*pair(Training(**change), Kept(**change)))
        assert found.first.words[0] == (
            "r adds the gradient of the step before (is zero_grad missing?)"
        )


def test_no_name_for_what_is_none(pair):
    """Gradients that are all changed, in no way that has a name."""
    for size in (1e-6, 1e-3, 1e-1):
        wrong = Training(between=of_each(lambda p, g, size=size: g.mul_(1 + size * p.cos())))
        found = compare_programs(*pair(Training(), wrong))
        assert not found.agrees
        assert not any(word.startswith("r: ") for word in found.first.words), found.first.words


def test_two_that_clip_the_same_agree(pair):
    one = Training(between=clipped(0.2))
    found = compare_programs(*pair(one, Training(between=clipped(0.2), dtype=torch.float64)))
    assert found.agrees, found.lines


def test_parameters_of_one_layer_are_its_own_backward_pass(pair):
    """Where it is not known what backward left."""

    def make():
        network = nn.Sequential(nn.Linear(9, 6), nn.Tanh(), nn.Linear(6, 9))
        network[0].weight.register_hook(lambda gradient: gradient * 0.5)
        return network

    def plain():
        return nn.Sequential(nn.Linear(9, 6), nn.Tanh(), nn.Linear(6, 9))

    found = compare_programs(*pair(Training(network=plain), Training(network=make)))
    assert found.first.place == "step 1, 0 (linear), backward (gradient of 0.weight)"
    assert not any("between backward" in word for word in found.first.words)
