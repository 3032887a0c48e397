"""Which parameter is which, and how it is stored on the other side."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from recorded.ported import Classifier, Program, adam, rewrite
from torch import nn

from comparisons.ports import compare_programs
from comparisons.ports.matching.layouts import SAME_LAYOUT, Layout
from pyvae.trace.program import ProgramTrace

pytestmark = pytest.mark.slow


class Recurrent(nn.Module):
    """Reads rows of an image one after the other."""

    def __init__(self, cell=nn.LSTM):
        super().__init__()
        self.rnn = cell(8, 6, batch_first=True)
        self.out = nn.Linear(6, 5)

    def forward(self, x):
        return self.out(self.rnn(x[:, 0])[0][:, -1])


def matches(found):
    return {one.name: one for one in found.parameters}


def test_by_name(pair):
    found = compare_programs(*pair(Program(), Program()))
    assert {one.how for one in found.parameters} == {"name"}
    assert {one.layout for one in found.parameters} == {SAME_LAYOUT}
    assert [one.name for one in found.parameters] == [
        one.name for one in ProgramTrace.load("python").parameters
    ]


OTHER = {
    "conv": "layer_1",
    "norm": "layer_2",
    "second": "layer_3",
    "hidden": "dense",
    "out": "last",
}


def other_names(name):
    module, _, rest = name.partition(".")
    return ".".join(filter(None, (OTHER.get(module, module), rest)))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_by_role(pair, dtype):
    """Other names, found by the stages that take them."""
    pair(Program(optimiser=adam), Program(optimiser=adam, dtype=dtype))
    rewrite(Path("r"), other_names)
    found = compare_programs("python", "r")
    assert found.agrees, found.verdict
    assert matches(found)["hidden.weight"].b == ("dense.weight",)
    assert matches(found)["norm.running_mean"].b == ("layer_2.running_mean",)
    assert {one.how for one in found.parameters} == {"role"}
    assert found.lacking == (0, 0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("first", ["python", "r"])
def test_kernels_as_keras_has_them(pair, dtype, first):
    """Dense (in, out), convolutions (height, width, in, out); square ones as well."""
    pair(Program(optimiser=adam), Program(optimiser=adam, dtype=dtype))
    kernels = {
        "hidden.weight": (1, 0), "out.weight": (1, 0), "conv.weight": (2, 3, 1, 0),
        "second.weight": (2, 3, 1, 0),
    }  # fmt: skip
    rewrite(
        Path("r"),
        turn=lambda name, x: x.transpose(kernels[name]) if name in kernels and x.ndim else x,
    )
    trace = ProgramTrace.load("r")
    trace.engine = "keras"
    trace.save(Path("r"))
    found = compare_programs(first, "r" if first == "python" else "python")
    assert found.agrees, found.verdict
    layouts = {name: one.layout for name, one in matches(found).items()}
    assert layouts["hidden.weight"] == Layout((1, 0))
    assert layouts["second.weight"] == Layout((3, 2, 0, 1) if first == "python" else (2, 3, 1, 0))
    assert layouts["norm.weight"] == SAME_LAYOUT


def test_gates_in_another_order(pair):
    """Input, forget, output, cell, where PyTorch has the cell before the output."""
    pair(Program(network=Recurrent), Program(network=Recurrent))

    def turn(name, x):
        if not name.startswith("rnn."):
            return x
        i, f, g, o = np.split(x, 4)
        return np.concatenate([i, f, o, g])

    rewrite(Path("r"), turn=turn)
    found = compare_programs("python", "r")
    assert found.agrees, found.verdict
    assert matches(found)["rnn.weight_hh_l0"].layout == Layout(blocks=(0, 1, 3, 2))


def test_two_biases_that_are_one_array_on_the_other_side(pair):
    """Keras' GRU keeps both in one array of two rows."""
    programs = [Program(network=lambda: Recurrent(nn.GRU)) for _ in range(2)]
    pair(*programs)
    rewrite(Path("r"), join={"rnn.bias": ("rnn.bias_ih_l0", "rnn.bias_hh_l0")})
    found = compare_programs("python", "r")
    assert found.agrees, found.verdict
    one = next(one for one in found.parameters if one.b == ("rnn.bias",))
    assert one.a == ("rnn.bias_ih_l0", "rnn.bias_hh_l0")
    assert one.join == "concatenated"
    other = compare_programs("r", "python")
    assert other.agrees, other.verdict


def test_a_transposed_kernel_is_a_mistake_where_it_is_used_as_it_is(pair):
    """A square kernel that is transposed may be stored so, or wrong: what is computed tells."""

    def transpose(network):
        with torch.no_grad():
            network.hidden.weight.copy_(network.hidden.weight.T.clone())

    found = compare_programs(*pair(Program(), Program(start=transpose)))
    assert matches(found)["hidden.weight"].layout == SAME_LAYOUT
    assert found.first.place == "step 1, hidden.weight, what the step starts from"
    assert found.first.words == ("r has it transposed",)


def test_shared_parameters_are_compared_once(pair):
    class Tied(Classifier):
        def __init__(self):
            super().__init__()
            self.again = nn.Linear(64, 64)
            self.again.weight = self.hidden.weight

        def forward(self, x):
            return self.out(self.again(super_hidden(self, x)))

    def super_hidden(network, x):
        return network.hidden(
            network.pool(network.second(network.norm(network.conv(x)))).flatten(1)
        )

    found = compare_programs(
        *pair(Program(network=Tied), Program(network=Tied, dtype=torch.float64))
    )
    assert found.agrees, found.verdict
    assert "again.weight" not in matches(found)
    assert "hidden.weight" in matches(found)
