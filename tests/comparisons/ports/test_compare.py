"""Two recorded programs: where they part, what it looks like, and that rounding is no mistake."""

from __future__ import annotations

import re

import pytest
import torch
import torch.nn.functional as F
from ported import Classifier, Program, adam, sgd
from torch import nn

from comparisons.ports import compare_programs

FLOAT64 = {"dtype": torch.float64}


def swap_rows(step, x, y):
    order = torch.arange(len(x))
    order[3], order[7] = 7, 3
    return (x[order], y[order]) if step == 2 else (x, y)


def transpose(network):
    with torch.no_grad():
        network.hidden.weight.copy_(network.hidden.weight.T.clone())


def with_layer(layer):
    def make():
        network = Classifier()
        network.act = layer
        return network

    return make


# what the second program does differently: the place, and what it looks like
MISTAKES = {
    "batch norm's epsilon": (
        Program(network=lambda: Classifier(eps=1e-3)),
        r"step 1, norm \(batch_norm2d\), forward",
        "r: eps = 0.001 where it is 1e-05",
    ),
    "an epsilon within rounding": (
        Program(network=lambda: Classifier(eps=1.01e-5)),
        r"step 1, norm \(batch_norm2d\), forward",
        "r: eps = 1.01e-05 where it is 1e-05",
    ),
    "batch norm's momentum": (
        Program(network=lambda: Classifier(momentum=0.9)),
        r"step 1, norm \(batch_norm2d\), buffer \(norm.running_mean\)",
        "r: momentum = 0.9 where it is 0.1",
    ),
    "dropout's rate": (
        Program(network=lambda: Classifier(p=0.3)),
        r"step 1, drop \(dropout\), random draw",
        "r: p = 0.3 where it is 0.2",
    ),
    "no relu": (
        Program(network=lambda: Classifier(relu=False)),
        r"step 1, second \(conv2d\), forward",
        r"only python has act \(relu\) between norm and second",
    ),
    "no skip connection": (
        Program(network=lambda: Classifier(skip=False)),
        r"step 1, relu \(relu\), forward",
        r"only python has add \(add\) between second and relu",
    ),
    "another activation": (
        Program(network=with_layer(nn.GELU())),
        r"step 1, act \(relu; in r act, gelu\), forward",
        "r: gelu where it is relu",
    ),
    "initial weights": (
        Program(start=lambda network: nn.init.normal_(network.out.weight, std=0.02)),
        r"step 1, out.weight, what the step starts from",
        r"other numbers: standard deviation 0\.07\d+ in python, 0\.0\d+ in r",
    ),
    "a transposed kernel": (
        Program(start=transpose),
        r"step 1, hidden.weight, what the step starts from",
        "r has it transposed",
    ),
    "learning rate": (
        Program(optimiser=lambda parameters: sgd(parameters, lr=0.1001)),
        r"step 1, optimizer \(sgd\), update of out.weight \(parameter\)",
        "r: lr = 0.1001 where it is 0.1",
    ),
    "weight decay": (
        Program(optimiser=lambda parameters: sgd(parameters, weight_decay=1e-4)),
        r"step 1, optimizer \(sgd\), update of out.weight \(momentum_buffer\)",
        "r: weight_decay = 0.0001 where it is 0",
    ),
    "another optimiser": (
        Program(optimiser=adam),
        r"step 1, optimizer \(sgd\), update of out.weight \(parameter\)",
        "r: .*adam where it is sgd",
    ),
    "rows of a batch": (
        Program(batch=swap_rows),
        r"step 2, input \(input\), input",
        "the same rows in another order: row 3 of python is row 7 of r",
    ),
    "pixels": (
        Program(batch=lambda step, x, y: (x * (255 / 256), y)),
        r"step 1, input \(input\), input",
        r"r is python times 255/256 \(divided by 256 where it is 255\)",
    ),
    "seed": (
        Program(seed=6),
        r"step 1, drop \(dropout\), random draw",
        "other random numbers",
    ),
    "clipping": (
        Program(clip=0.5),
        r"step 1, out.weight, gradient that the optimiser gets",
        r"r multiplies it by 0\.\d+ before the update, python does not change it \(clipping\?\)",
    ),
    "zero_grad": (
        Program(zero_grad=False),
        r"step 2, out \(linear\), backward \(gradient of out.weight\)",
        "r adds the gradient of the step before",
    ),
    "an index": (
        Program(about={"index_base": 1}),
        r"step 1, input#2 \(input\), input",
        "indices are off by 1: r's are 1 less",
    ),
    "the loss's reduction": (
        Program(loss=lambda x, y: F.cross_entropy(x, y, reduction="sum")),
        r"step 1, cross_entropy_loss \(cross_entropy_loss\), forward",
        "r: reduction = sum where it is mean",
    ),
    "half the loss": (
        Program(loss=lambda x, y: F.cross_entropy(x, y) * 0.5),
        "step 1, loss",
        r"only r has mul \(mul\) before the loss",
    ),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_placed_and_named(pair, name):
    program, place, words = MISTAKES[name]
    found = compare_programs(*pair(Program(), program))
    assert not found.agrees
    assert re.fullmatch(place, found.first.place)
    assert re.match(words, found.first.words[0])
    assert found.verdict == f"part at {found.first.place}"


@pytest.mark.parametrize("name", ["batch norm's epsilon", "learning rate", "zero_grad"])
def test_the_place_is_the_same_whichever_side_comes_first(pair, name):
    program, place, _ = MISTAKES[name]
    found = compare_programs(*reversed(pair(program, Program())))
    other = compare_programs("python", "r")
    assert re.fullmatch(place, found.first.place)
    assert found.first.judged.quantity.key == other.first.judged.quantity.key


def test_the_wrong_side_is_told_by_computing_again(pair):
    found = compare_programs(*pair(Program(), Program(zero_grad=False)))
    assert found.first.wrong == "r"
    found = compare_programs("r", "python")
    assert found.first.wrong == "r"
