"""What one side does to its parameters between two steps."""

from __future__ import annotations

import copy

import pytest
import torch
from recorded.trained import Training

from comparisons.ports import compare_programs

pytestmark = pytest.mark.slow
ALL = "all 10 parameters"
END = "; python does not"


class Average:
    """Averaged weights that are put in the weights' place after some step."""

    def __init__(self, at, share):
        self.at, self.share, self.kept = at, share, None

    def start(self, network, optimiser, step):
        self.kept = [p.detach().clone() for p in network.parameters()]

    @torch.no_grad()
    def after(self, network, optimiser, step):
        for average, p in zip(self.kept, network.parameters(), strict=True):
            share = self.share if self.share is not None else (step - 1) / step
            average.mul_(share).add_(p, alpha=1 - share)
            if step == self.at:
                p.copy_(average)


def every(share):
    """An average in the place of the weights after each step."""
    known = {}

    @torch.no_grad()
    def keep(network, optimiser, step):
        known["start"] = [p.detach().clone() for p in network.parameters()]

    @torch.no_grad()
    def after(network, optimiser, step):
        for old, p in zip(known["start"], network.parameters(), strict=True):
            p.copy_(share * old + (1 - share) * p)

    return {"between": keep, "after": after}


def at(step, change):
    def after(network, optimiser, number):
        if number == step:
            with torch.no_grad():
                for one in network.parameters():
                    change(one)

    return {"after": after}


def first_weights(step):
    known = {}

    def start(network, optimiser, number):
        known["state"] = copy.deepcopy(network.state_dict())

    def after(network, optimiser, number):
        if number == step:
            for name, p in network.named_parameters():
                p.data.copy_(known["state"][name])

    return {"start": start, "after": after}


def averaged(step, share):
    one = Average(step, share)
    return {"start": one.start, "after": one.after}


def ahead(share):
    """After the third step, a share of the way from the first weights (Lookahead)."""
    one = first_weights(3)

    @torch.no_grad()
    def after(network, optimiser, step):
        left = [p.clone() for p in network.parameters()]
        one["after"](network, optimiser, step)
        for p, new in zip(network.parameters(), left, strict=True):
            if step == 3:
                p.lerp_(new, share)

    return {"start": one["start"], "after": after}


def put_back():
    """One parameter, each time."""
    known = {}

    def keep(network, optimiser, step):
        known[0] = network.decoder[0].weight.detach().clone()

    def after(network, optimiser, step):
        network.decoder[0].weight.data.copy_(known[0])

    return {"between": keep, "after": after}


CASES = {
    "EMA": (
        every(0.9), 2,
        f"puts an average in the place of {ALL}: 0.9 times what they were before the step and 0.1 "
        "times what it left (EMA)",
    ),
    "EMA once": (
        averaged(3, 0.99), 4,
        f"puts the moving average of steps 1 to 3, decay 0.99, in the place of {ALL} (EMA)",
    ),
    "SWA": (
        averaged(3, None), 4, f"puts the mean over steps 1 to 3 in the place of {ALL} (SWA)",
    ),
    "the first weights": (
        first_weights(3), 4, f"goes back to what {ALL} were before step 1",
    ),
    "taken back": (put_back(), 2, "takes back what step 1 did to decoder.0.weight"),
    "held": (
        at(2, lambda p: p.clamp_(-0.05, 0.05)), 3, f"holds {ALL} between -0.05 and 0.05",
    ),
    "looking ahead": (
        ahead(0.25), 4, f"moves {ALL} 0.75 of the way back to what they were before step 1",
    ),
    "scaled": (
        at(2, lambda p: p.mul_(0.99)), 3, f"changes {ALL}: they are what the step left times 0.99",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
def test_parameters_change_between_two_steps(pair, name, dtype):
    wrong, step, words = CASES[name]
    about = {"dtype": dtype, "steps": max(3, step)}
    found = compare_programs(*pair(Training(**about), Training(**about, **wrong)))
    assert found.first.place.startswith(f"step {step}, ")
    assert found.first.place.endswith("what the step starts from")
    (said,) = found.first.words
    assert said == f"r: {words}, between step {step - 1} and step {step}{END}"


def test_what_is_no_known_change_is_said_without_a_name(pair):
    wrong = at(2, lambda p: p.add_(torch.randn(p.shape) * 1e-3))
    found = compare_programs(*pair(Training(), Training(**wrong)))
    assert found.first.words == (
        "r changes encoder.0.weight between step 2 and step 3, python does not",
    )


def test_both_sides_change_them_each_otherwise(pair):
    about = [Training(**ahead(share), steps=4) for share in (0.5, 0.4)]
    assert compare_programs(*pair(*about)).first.words == (
        f"between step 3 and step 4, python: moves {ALL} 0.5 of the way back to what they were "
        f"before step 1; r: moves {ALL} 0.6 of the way back to what they were before step 1",
    )
    noise = [
        at(2, lambda p, by=by: p.add_(torch.ones_like(p).cumsum(0).sin() * by))
        for by in (1e-3, 2e-3)
    ]
    assert compare_programs(*pair(*(Training(**one) for one in noise))).first.words == (
        "both sides change encoder.0.weight between step 2 and step 3, each in another way",
    )
