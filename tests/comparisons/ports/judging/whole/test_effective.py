"""A factor, or weight decay, in the loss of one program and in the update of the other."""

from __future__ import annotations

from functools import partial

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from comparisons.ports import compare_programs
from pyvae.recording.record import record

STEPS, ROWS = 2, 6
PLAIN = {
    "sgd": partial(torch.optim.SGD, lr=0.1, momentum=0.9),
    "adam": partial(torch.optim.Adam, lr=0.01),
    "adamw": partial(torch.optim.AdamW, lr=0.01, weight_decay=0),
}


def recorded(folder, optimiser, backward, change=lambda parameters: None):
    torch.manual_seed(1)
    network = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3))
    optimiser = optimiser(network.parameters())
    drawn = torch.Generator().manual_seed(2)
    batches = [torch.randn(ROWS, 4, generator=drawn) for _ in range(STEPS)]
    with record(network, optimiser, folder, steps=STEPS):
        for x in batches:
            optimiser.zero_grad()
            backward(network, x, torch.arange(ROWS) % 3)
            change(list(network.parameters()))
            optimiser.step()
    return folder


def whole(net, x, y, factor=1.0, more=lambda net: 0.0):
    (factor * F.cross_entropy(net(x), y) + more(net)).backward()


def parts(net, x, y, factor=0.5):
    for rows in (slice(3), slice(3, None)):
        (factor * F.cross_entropy(net(x[rows]), y[rows])).backward()


def squares(net, decay, power=2, of=lambda one: True):
    return decay / 2 * sum((one.abs() ** power).sum() for one in net.parameters() if of(one))


def divided(parameters, by):
    for one in parameters:
        one.grad /= by


def added(parameters, decay):
    for one in parameters:
        one.grad.add_(one.detach(), alpha=decay)


def clipped(parameters, then):
    nn.utils.clip_grad_norm_(parameters, 0.1)
    divided(parameters, then)


FACTORS = {  # how a program comes to its gradients: two that are right, and mistakes
    "parts": (
        [(parts,), (partial(parts, factor=1), partial(divided, by=2))],
        [
            (partial(parts, factor=1),),
            (partial(parts, factor=1), partial(divided, by=3)),
            (parts, partial(divided, by=2)),
            (partial(parts, factor=1), lambda found: divided(found[:2], 2)),
        ],
    ),
    "parts and the whole": (
        [(whole,), (partial(parts, factor=1), partial(divided, by=2))],
        [(partial(parts, factor=1), partial(divided, by=2.001))],
    ),
    "a scaled loss": (
        [(whole,), (partial(whole, factor=1024), partial(divided, by=1024))],
        [
            (partial(whole, factor=1024), partial(divided, by=1000)),
            (partial(whole, factor=1024), partial(clipped, then=1024)),
        ],
    ),
}


@pytest.mark.parametrize("name", FACTORS)
def test_a_factor_may_stand_in_the_loss_or_behind_it(name, tmp_path):
    right, wrong = FACTORS[name]
    paper, port = (
        recorded(tmp_path / str(at), PLAIN["adam"], *way) for at, way in enumerate(right)
    )
    found = compare_programs(paper, port)
    assert found.agrees, found
    assert any("between backward and the update" in note for note in found.notes)
    for at, way in enumerate(wrong):
        port = recorded(tmp_path / f"wrong-{at}", PLAIN["adam"], *way)
        assert not compare_programs(paper, port).agrees, at


def is_weight(one):
    return one.ndim > 1


DECAYS = {  # where 0.01 times a parameter is added to its gradient, but by the optimiser
    "in the loss": (partial(whole, more=lambda net: squares(net, 0.01)),),
    "of norms": (partial(whole, more=lambda net: sum(
        0.005 * one.norm() ** 2 for one in net.parameters())),),
    "by hand": (whole, partial(added, decay=0.01)),
}  # fmt: skip
NO_DECAYS = {
    "not halved": (partial(whole, more=lambda net: squares(net, 0.02)),),
    "of weights alone": (partial(whole, more=lambda net: squares(net, 0.01, of=is_weight)),),
    "of another power": (partial(whole, more=lambda net: squares(net, 0.01, power=1)),),
    "none": (whole,),
    "by hand, another": (whole, partial(added, decay=0.0101)),
}


@pytest.mark.parametrize("kind", PLAIN)
def test_weight_decay_may_stand_in_the_loss(kind, tmp_path):
    """But AdamW's, which adds it to no gradient."""
    paper = recorded(tmp_path / "paper", partial(PLAIN[kind], weight_decay=0.01), whole)
    for name, way in DECAYS.items():
        port = recorded(tmp_path / name, PLAIN[kind], *way)
        for both in ((paper, port), (port, paper)):
            found = compare_programs(*both)
            assert found.agrees == (kind != "adamw"), (name, found)
            assert not found.agrees or any("weight decay" in note for note in found.notes)
    for name, way in NO_DECAYS.items():
        port = recorded(tmp_path / name, PLAIN[kind], *way)
        assert not compare_programs(paper, port).agrees, name


def test_another_setting_beside_it_is_told(tmp_path):
    """As what it is: the update, and not what was before."""
    paper = recorded(tmp_path / "paper", partial(PLAIN["sgd"], weight_decay=0.01), whole)
    slower = partial(torch.optim.SGD, lr=0.09, momentum=0.9)
    port = recorded(tmp_path / "port", slower, *DECAYS["in the loss"])
    first = compare_programs(paper, port).first
    assert first.judged.quantity.passing == "parameter"
    assert any("lr = 0.09 where it is 0.1" in words for words in first.words)
    twice = partial(PLAIN["sgd"], weight_decay=0.01)
    port = recorded(tmp_path / "twice", twice, *DECAYS["in the loss"])
    assert not compare_programs(paper, port).agrees
