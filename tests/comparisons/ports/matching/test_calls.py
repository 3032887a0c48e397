"""Calls of one network in another order."""

from __future__ import annotations

import shutil
from importlib import import_module
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.func import functional_call, grad

from comparisons.ports import compare_programs
from pyvae.recording.record import record


class Net(nn.Module):
    """Two layers with functions between them."""

    def __init__(self, norm):
        super().__init__()
        self.hidden, self.out = nn.Linear(6, 8), nn.Linear(8, 3)
        self.norm = nn.BatchNorm1d(8) if norm else nn.Identity()

    def forward(self, x):
        return self.out(F.relu(self.norm(self.hidden(x))) * 1.5)


def in_turn(net, *inputs):
    return [net(one) for one in inputs]


def backwards(net, *inputs):
    return in_turn(net, *inputs[::-1])[::-1]


def exchanged(net, first, second, third):
    return in_turn(net, first, third, second)


def trained(folder, call, loss=F.triplet_margin_loss, norm=False, steps=2):
    shutil.rmtree(folder, ignore_errors=True)
    torch.manual_seed(1)
    net = Net(norm)
    optimiser = torch.optim.SGD(net.parameters(), 0.1)
    with record(net, optimiser, folder, steps=steps, quiet=True):
        for _ in range(steps):
            optimiser.zero_grad()
            loss(*call(net, *torch.randn(3, 10, 6).unbind())).backward()
            optimiser.step()
    return folder


@pytest.fixture(autouse=True)
def _in_a_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def compared(port, **options):
    return compare_programs(trained("paper", in_turn, **options), trained("port", port, **options))


def test_calls_that_are_made_of_the_same_inputs_belong_together():
    found = compared(backwards)
    assert found.agrees, found.lines
    assert found.other_ways == []
    stages = {name for one in found.judged for name in (one.quantity.key, one.quantity.key_b)}
    assert {"forward/relu", "forward/relu#2", "forward/relu#3"} <= stages


def test_what_is_made_of_them_may_still_be_exchanged():
    found = compared(exchanged)
    assert found.verdict == "part at step 1, triplet_margin_loss (triplet_margin_loss), forward"
    words = (
        "its arguments 2 and 3 are exchanged (paper: triplet_margin_loss(out, out#2, out#3); "
        "port: triplet_margin_loss(out, out#3, out#2), by paper's names)"
    )
    assert f"  looks like: {words}" in found.lines


def test_losses_that_go_backwards_in_another_order():
    """As of real and generated images: one `backward` for both, or one for each."""

    def apart(first, second, _):
        first, second = (-F.logsigmoid(one).mean() for one in (first, -second))
        second.backward(retain_graph=True)
        return first

    def at_once(first, second, _):
        return -F.logsigmoid(first).mean() - F.logsigmoid(-second).mean()

    one = trained("paper", in_turn, at_once)
    two = trained("port", backwards, apart)
    assert compare_programs(one, two).agrees


@pytest.mark.parametrize("call", [backwards, in_turn])
def test_a_norm_is_moved_by_its_calls_in_their_order(call):
    found = compared(call, norm=True)
    if call is in_turn:
        assert found.agrees, found.lines
        return
    assert found.verdict.startswith("part at step 1, norm (batch_norm1d; in port norm#3")
    assert "buffer (norm.running_mean)" in found.verdict
    words = "makes the calls that move norm.running_mean in another order: as paper counts them"
    assert any(f"port {words}, norm#3, norm#2, norm" in one for one in found.lines), found.lines


def at_once(net, *inputs):
    return net(torch.cat(inputs)).chunk(len(inputs))


def cut(net, *inputs):
    first, *others = at_once(net, *inputs)
    return first, *(one.detach() for one in others)


def mixed_up(net, *inputs):
    return at_once(net, *inputs)[::-1]


def test_calls_with_some_rows_are_one_call_with_all():
    for pair in ((in_turn, at_once), (at_once, in_turn)):
        found = compare_programs(trained("paper", pair[0]), trained("port", pair[1]))
        assert found.agrees, found.lines
        several = ("paper", "port")[pair.index(in_turn)]
        assert f"{several} makes 3 calls for the 30 rows: they are compared put together" in (
            found.notes
        )
        assert "forward/out" in {one.quantity.key for one in found.judged}


PARTED = {
    "detached": (cut, {}, "backward"),
    "the wrong one": (mixed_up, {}, "forward"),
    "a norm of fewer rows": (at_once, {"norm": True}, "norm (batch_norm1d), forward"),
}


@pytest.mark.parametrize("name", PARTED)
def test_one_call_with_all_rows_may_part_from_them(name):
    port, options, place = PARTED[name]
    found = compared(port, **options)
    assert found.verdict.startswith("part at step 1")
    assert place in found.verdict
    if name == "a norm of fewer rows":
        assert any(
            "paper makes 3 calls for the 30 rows, each by itself" in one for one in found.lines
        )


def recurrent(folder, turn, steps=1):
    """Two sequences through one cell, each from zeros."""
    shutil.rmtree(folder, ignore_errors=True)
    torch.manual_seed(1)
    cell = nn.GRUCell(6, 8)
    optimiser = torch.optim.SGD(cell.parameters(), 0.1)
    with record(nn.ModuleDict({"cell": cell}), optimiser, folder, steps=steps, quiet=True):
        for _ in range(steps):
            optimiser.zero_grad()
            sequences = torch.randn(2, 3, 10, 6)
            state = {one: torch.zeros(10, 8) for one in turn}
            for at in range(3):
                for one in turn:
                    state[one] = cell(sequences[one][at], state[one])
            (state[0] - 2 * state[1]).square().mean().backward()
            optimiser.step()
    return folder


def test_states_that_start_as_the_same_zeros_tell_no_call_from_another_one():
    found = compare_programs(recurrent("paper", (0, 1)), recurrent("port", (1, 0)))
    assert found.agrees, found.lines
    assert found.other_ways == []


def test_many_calls_are_not_each_held_against_all_inputs(monkeypatch):
    looked_for = import_module("comparisons.ports.matching.parts.find_calls")
    count = 0

    def counted(*given, **options):
        nonlocal count
        count += 1
        return np.allclose(*given, **options)

    def each(net, *inputs):
        return [sum(net(x) for x in torch.randn(40, 10, 6)), *in_turn(net, *inputs)]

    for names in (("paper", in_turn), ("port", at_once), ("more", each), ("again", each)):
        trained(*names, loss=lambda *given: F.triplet_margin_loss(*given[-3:]), steps=1)
    monkeypatch.setattr(looked_for, "np", SimpleNamespace(allclose=counted))
    assert compare_programs("more", "again").agrees
    assert count <= 2 * 43  # as many as there are inputs, and not as there are pairs of them
    assert compare_programs("paper", "port").agrees


def before_them(way):
    """A call by itself, and two that may be one."""
    return lambda net, *inputs: [net(inputs[0]), *way(net, *inputs[1:])]


def test_calls_that_are_put_together_stand_after_one_by_itself():
    ways = before_them(backwards), before_them(at_once)
    for one, two in (ways, ways[::-1]):
        found = compare_programs(trained("paper", one), trained("port", two))
        assert found.agrees, found.lines


def adapted(way, first=0):
    """Two layers with weights that one step of the gradient has moved, as in MAML."""

    def call(net, x, y, _):
        x, y = (x, y) if first == 0 else (y, x)
        weights = dict(net.named_parameters())
        slopes = way(lambda w: functional_call(net, w, (x,)).square().mean(), weights)
        moved = {name: one - 0.1 * slopes[name] for name, one in weights.items()}
        return (functional_call(net, moved, (y,)),)

    return call


def by_autograd(loss, weights):
    found = torch.autograd.grad(loss(weights), list(weights.values()), create_graph=True)
    return dict(zip(weights, found, strict=True))


def by_func(loss, weights):
    return grad(loss)(weights)


def square(z):
    return z.square().mean()


def test_a_call_that_one_side_alone_makes_is_not_taken_for_one_of_both():
    paper = trained("paper", adapted(by_autograd), square)
    assert compare_programs(paper, trained("port", adapted(by_func), square)).agrees
    assert compare_programs(trained("port", adapted(by_func), square), paper).agrees
    found = compare_programs(paper, trained("port", adapted(by_func, 1), square))
    assert found.verdict.startswith("part at step 1, ")
