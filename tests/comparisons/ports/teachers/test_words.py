"""Teachers and target networks that do not follow the model as the other side's, in words."""

from __future__ import annotations

import copy
import re

import pytest
import torch
import torch.nn.functional as F
from recorded.teachers import Average, Learning, copied, without_gradients
from torch import nn

from comparisons.ports import compare_programs
from pyvae.recording.record import record

ALL = "all 7 parameters of teacher follow the model otherwise: "
PAPER = "paper moves them after step 1 by 0.01 of the way to the model's (a decay of 0.99)"


def scaled(net):
    teacher = copy.deepcopy(net)
    teacher.out.weight.data.mul_(1.001)
    return teacher


def ramp(step):
    """As in mean teachers."""
    return min(1 - 1 / (step + 1), 0.99)


WRONG = {
    "decay": (
        {"follow": Average(decay=0.999)},
        f"{ALL}{PAPER}; port moves them after step 1 by 0.001 of the way to the model's (a decay "
        "of 0.999)",
    ),
    "order": (
        {"when": "before"},
        f"{ALL}{PAPER}; port moves them before the optimiser's step 2 by 0.01 of the way to the "
        "model's (a decay of 0.99)",
    ),
    "not at all": (
        {"follow": lambda teacher, net, step: None},
        "port does not move them at all (steps 1 to 4)",
    ),
    "a layer": (
        {"follow": Average(left_out=("fc.weight", "fc.bias"))},
        "fc.* of teacher follow the model otherwise: paper moves them after step 1 by 0.01 of the "
        "way to the model's (a decay of 0.99); port does not move them at all (steps 1 to 4)",
    ),
    "buffers": (
        {"follow": Average(buffers="leave")},
        "norm.running_mean, norm.running_var of teacher follow the model otherwise: paper copies "
        "them from the model's after step 1; port does not move them at all (steps 1 to 4)",
    ),
    "averaged buffers": (
        {"follow": Average(buffers="average")},
        "paper copies them from the model's after step 1; port moves them after step 1 by 0.01",
    ),
    "a ramp": (
        {"follow": Average(decay=ramp)},
        "port moves them after step 1 by 0.5 of the way to the model's (a decay of 0.5)",
    ),
    "copied": (
        {"follow": copied(2)},
        "port does not move them after step 1, but after step 2",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_how_it_follows_is_named_after_the_first_step(compared, name):
    port, words = WRONG[name]
    found = compared(Learning(**port))
    assert re.match(r"step 2, \S+ of teacher, network that is not trained$", found.first.place)
    assert words in found.first.words[0]


def test_the_other_way_round(compared):
    found = compared(Learning(follow=Average(decay=0.999)), reverse=True)
    assert found.first.words[0] == (
        f"{ALL}port moves them after step 1 by 0.001 of the way to the model's (a decay of 0.999); "
        f"{PAPER}"
    )


def test_where_every_bit_has_to_be_equal(paper, tmp_path):
    port = Learning(follow=Average(decay=0.9)).record(str(tmp_path / "port"))
    found = compare_programs(paper(), port, exact=True)
    assert "(a decay of 0.9)" in found.first.words[0]
    written = Learning(follow=Average(form="written")).record(str(tmp_path / "written"))
    found = compare_programs(paper(), written, exact=True)
    assert "ULP" in found.first.words[0]


def test_another_start(compared):
    found = compared(Learning(make=scaled))
    assert found.first.place == "step 1, out.weight of teacher, network that is not trained"
    assert found.first.words == (
        "port: out.weight of teacher does not start from the model's numbers; in paper it does",
    )


def test_small_decays_that_some_parameters_are_too_large_to_tell(compared):
    found = compared(Learning(follow=Average(decay=0.9999)), follow=Average(decay=0.999))
    assert found.first.words[0].startswith("all 7 parameters of teacher follow")
    assert "(a decay of 0.9999)" in found.first.words[0]


def test_a_part_of_the_model(compared):
    found = compared(Learning(inside=True, follow=Average(decay=0.9)), inside=True)
    assert found.first.place == "step 2, teacher.embed.weight, what the step starts from"
    assert found.first.words[0].startswith("all 7 parameters of teacher follow the model otherwise")


def test_a_part_of_the_model_whose_buffers_are_copied_before_the_step(compared):
    found = compared(Learning(inside=True, when="before"), inside=True)
    assert found.first.words == (
        "port copies teacher.norm.running_mean from the model's before the optimiser's step 1; "
        "paper does not",
    )


def test_what_the_network_computes_with_its_parameters(compared):
    """They agree: it is another mode."""
    found = compared(Learning(training=True))
    assert found.first.judged.quantity.passing == "input"
    assert any("whose own parameters agree" in words for words in found.first.words)


@pytest.mark.parametrize("rounding", [0, 2.4e-7])
def test_a_little_of_what_it_returns_that_its_parameters_do_not_explain(compared, rounding):
    def scaled(teacher, x, k):
        return without_gradients(teacher, x, k) * 1.00005

    found = compared(Learning(call=scaled, rounding=rounding))
    assert found.first.place.startswith("step 1, input")
    assert any("whose own parameters agree" in words for words in found.first.words)


def twins(folder, pairs=((0, 0), (1, 1)), starts=(0, 1), written=False):
    """Two networks that learn in turns from the smaller one of what two targets return."""
    torch.manual_seed(1)
    nets = [nn.Sequential(nn.Linear(6, 9), nn.ReLU(), nn.Linear(9, 3)) for _ in range(2)]
    first, second = targets = [copy.deepcopy(nets[one]) for one in starts]
    optimisers = [torch.optim.Adam(net.parameters(), lr=1e-3) for net in nets]
    with record({"one": nets[0], "two": nets[1]}, optimisers, folder, steps=8, quiet=True):
        for _ in range(4):
            x = torch.randn(20, 6)
            with torch.no_grad():
                y = torch.minimum(first(x), second(x))
            for net, optimiser in zip(nets, optimisers, strict=True):
                optimiser.zero_grad()
                F.mse_loss(net(x), y).backward()
                optimiser.step()
            for target, net in pairs:
                follow(targets[target], nets[net], written)
    return folder


@torch.no_grad()
def follow(target, net, written):
    for own, theirs in zip(target.parameters(), net.parameters(), strict=True):
        if written:
            own.copy_(0.99 * own + 0.01 * theirs)
        else:
            own.lerp_(theirs, 0.01)


@pytest.mark.slow
def test_two_targets_that_follow_each_others_models(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    twins("a")
    assert compare_programs("a", twins("b", written=True)).agrees
    found = compare_programs("a", twins("c", pairs=((0, 1), (1, 0))))
    assert found.first.place == "step 3, 0.bias of first, network that is not trained"
    assert found.first.words[0] == (
        "all 4 parameters of first follow the model otherwise: a moves them after step 2 by 0.01 "
        "of the way to the model's one.* (a decay of 0.99); c moves them after step 2 by 0.01 of "
        "the way to the model's two.* (a decay of 0.99)"
    )
    found = compare_programs("a", twins("d", starts=(0, 0)))
    assert found.first.place == "step 1, 0.bias of second, network that is not trained"
    assert not any("does not start from the model's numbers" in one for one in found.first.words)
