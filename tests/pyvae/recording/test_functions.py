"""Calls of functions: what is seen of them, and what is not."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from recorded.programs import simple
from torch import Tensor, nn

from pyvae.recording.record import record
from pyvae.trace.program import ProgramTrace


class Net(nn.Module):
    """Calls a function of the test with a parameter."""

    def __init__(self, function):
        super().__init__()
        self.w = nn.Parameter(torch.arange(6.0).reshape(2, 3))
        self.function = function

    def forward(self):
        return self.function(self.w)


def run(function, recorded):
    model = Net(function)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    trace = recorded(simple(model, optimizer, lambda: model().sum()), 1)
    return {one.name: one for one in trace.networks[0]}, trace.arrays(1)


class Square(torch.autograd.Function):
    @staticmethod
    def forward(context, x):
        context.save_for_backward(x)
        return x * x

    @staticmethod
    def backward(context, gradient):
        return 2 * context.saved_tensors[0] * gradient


def test_what_is_not_seen_is_said_to_come_from_it(recorded):
    stages, arrays = run(lambda w: Square.apply(w).sin(), recorded)
    assert list(stages) == ["input", "sin", "sum"]
    assert stages["input"].options == {"grad_fn": "SquareBackward"}
    assert np.allclose(arrays["gradient/input"], np.cos(arrays["forward/input"]), atol=1e-6)


def test_weights_stand_by_their_roles(recorded):
    bias = torch.ones(2)
    stages, _ = run(lambda w: F.linear(torch.ones(4, 3), w * 2, bias), recorded)
    linear = stages["linear"]
    assert linear.inputs == ("input",)
    assert linear.parameters == {"weight": "mul", "bias": "input#2"}


def test_a_part_that_is_set_in_place(recorded):
    def part(w):
        x = w * 2
        x[0] += 1
        x[:, 1] = 7
        return x.relu_()

    stages, arrays = run(part, recorded)
    assert list(stages) == ["mul", "index", "add", "index_put", "index_put#2", "relu", "sum"]
    assert stages["index_put"].inputs == ("mul", "add")
    assert stages["index_put#2"].options == {"index": [":", 1], "value": 7}
    assert arrays["forward/mul"].tolist() == [[0, 2, 4], [6, 8, 10]]
    assert arrays["forward/relu"].tolist() == [[1, 7, 5], [6, 7, 10]]


@pytest.mark.parametrize(
    "put",
    [
        lambda z, rows, x: z.index_put_((rows,), x, accumulate=True),
        lambda z, rows, x: z.index_put((rows,), x, True),
        lambda z, rows, x: torch.index_put(input=z, indices=[rows], values=x, accumulate=True),
    ],
)
def test_a_part_that_is_put_or_added_by_a_function(put, recorded):
    """Of those that change nothing in place, nothing was recorded, and of none that it adds."""
    rows = torch.tensor([0, 0])
    stages, arrays = run(lambda w: put(torch.zeros(2, 3), rows, w * 2).sin(), recorded)
    assert stages["index_put"].inputs == ("input", "input#2", "mul")
    assert stages["index_put"].options == {"index": ["tensor"], "accumulate": True}
    assert stages["sin"].inputs == ("index_put",)
    assert arrays["forward/index_put"].tolist() == [[6, 10, 14], [0, 0, 0]]
    assert arrays["forward/input"].tolist() == [[0, 0, 0], [0, 0, 0]]


def test_what_changes_nothing_is_no_stage(recorded):
    stages, _ = run(lambda w: w.to("cpu").float().contiguous() + w.size(0), recorded)
    assert list(stages) == ["add", "sum"]


def test_outputs_of_tuples_have_places(recorded):
    stages, arrays = run(lambda w: w.chunk(3, dim=1)[1] + w.max(dim=1, keepdim=True)[0], recorded)
    assert stages["chunk"].outputs == ("chunk.0", "chunk.1", "chunk.2")
    assert stages["add"].inputs == ("chunk.1", "max.0")
    assert arrays["forward/max.1"].tolist() == [[2], [2]]


def test_dropout_that_is_called_as_a_function(recorded):
    stages, arrays = run(lambda w: F.dropout(w + 1, 0.5) + F.dropout(w, 0.5, False), recorded)
    kept = arrays["forward/add"] * arrays["draw/dropout"] * 2
    assert np.array_equal(arrays["forward/dropout"], kept)
    assert "draw/dropout#2" not in arrays
    assert stages["add#2"].inputs == ("dropout", "w")  # the other returns what it is given


def test_what_a_step_starts_from_is_copied_before_a_function_changes_it(recorded):
    model = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
    linear, norm = model

    def loss():
        y = F.linear(torch.arange(12.0).reshape(4, 3), linear.weight)
        return F.batch_norm(y, norm.running_mean, norm.running_var, training=True).sum()

    program = simple(model, torch.optim.SGD(model.parameters(), 0.1), loss)
    arrays = recorded(program, 1).arrays(1)
    assert not arrays["start/1.running_mean"].any()
    assert arrays["buffer/1.running_mean"].any()


def test_draws_in_place_are_draws(recorded):
    stages, arrays = run(lambda w: w * torch.empty(3).uniform_(1, 2), recorded)
    assert stages["uniform"].layer == "draw"
    assert stages["uniform"].options == {"distribution": "uniform", "from": 1, "to": 2}
    assert stages["mul"].inputs == ("w", "uniform")
    assert ((arrays["forward/uniform"] >= 1) & (arrays["forward/uniform"] < 2)).all()


def test_gradients_that_are_asked_for_are_not_the_losses(recorded):
    def penalty(w):
        y = (w**2).sum()
        (slope,) = torch.autograd.grad(y, w, create_graph=True)
        return y + slope.norm()

    stages, arrays = run(penalty, recorded)
    assert arrays["gradient/sum"] == 1
    assert stages["norm"].inputs == ("grad.0",)


def test_compiled_functions_run_as_they_are_written(recorded):
    """While they are recorded; the recorder is not compiled into them."""
    compiled = []

    def backend(graph, inputs):
        compiled.append(graph)
        return graph.forward

    double = torch.compile(lambda w: w.sin() * 2, backend=backend)
    stages, _ = run(double, recorded)
    assert list(stages) == ["sin", "mul", "sum"]
    assert compiled == []
    double(torch.ones(2))
    assert len(compiled) == 1


class Data(torch.utils.data.Dataset):
    def __len__(self):
        return 4

    def __getitem__(self, at):
        return (torch.arange(3.0) + at) * torch.ones(3)


def test_what_prepares_the_data_is_no_stage(tmp_path):
    """In this process and in workers, which inherit what is put into PyTorch."""
    model = nn.Linear(3, 1)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    for workers in (0, 1):
        loader = torch.utils.data.DataLoader(Data(), 2, shuffle=True, num_workers=workers)
        folder = tmp_path / str(workers)
        with record(model, optimizer, folder, steps=2):
            for x in loader:
                x = (x - x.mean()) / 2
                optimizer.zero_grad()
                model(x).sum().backward()
                optimizer.step()
        (network,) = ProgramTrace.load(folder).networks
        assert [one.name for one in network] == ["input", "linear", "sum"]


def test_memory_that_is_filled_part_by_part_is_zero_elsewhere(recorded):
    def loss(w):
        rows = torch.empty(4, 3)
        rows[1:3] = w
        rows[torch.tensor([False, False, False, True])] = 0.5
        pairs = torch.empty(2, 3)
        pairs.index_put_((torch.tensor([1]), torch.tensor([2])), w.sum())
        with torch.no_grad():
            pairs[0] = 2.0
        pairs[1, :2] = w[0, :2]
        return rows[1:].sum() + pairs.sum()

    torch.use_deterministic_algorithms(True)  # fills it with NaN
    try:
        stages, arrays = run(loss, recorded)
    finally:
        torch.use_deterministic_algorithms(False)
    w = arrays["start/w"]
    zeros, ones = np.zeros(3, np.float32), np.ones(3, np.float32)
    assert np.array_equal(arrays["forward/index_put"], [zeros, *w, zeros])
    assert np.array_equal(arrays["forward/index_put#2"], [zeros, *w, ones / 2])
    assert np.array_equal(arrays["forward/index_put#3"], [zeros, [0, 0, w.sum()]])
    assert np.array_equal(arrays["forward/index_put#4"], [2 * ones, [*w[0, :2], w.sum()]])
    assert not arrays[f"forward/{stages['index_put'].inputs[0]}"].any()


def test_what_a_function_of_the_program_s_own_returned_is_recorded_wherever_it_goes(recorded):
    class Twice(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return 2 * x

        @staticmethod
        def backward(ctx, gradient):
            return 2 * gradient

    def loss(w):
        x = Twice.apply(w)
        return x.exp().sum() + x.tanh().sum()

    stages, _ = run(loss, recorded)
    assert stages["exp"].inputs == stages["tanh"].inputs == ("input",)
    assert stages["input"].options == {"grad_fn": "TwiceBackward"}


def test_numbers_that_are_read_out_are_no_stage(recorded):
    def read(w: Tensor):
        assert w.sum().item() == 15
        return w / len(w)

    stages, _ = run(read, recorded)
    assert [one for one in stages if one not in ("sum", "sum#2")] == ["div"]


def test_a_function_of_several_tensors_may_return_one_of_them_as_it_is(recorded):
    """As `broadcast_tensors` does in each distribution: the other ones are new."""

    def loss(w):
        row = w.sum(0).exp()
        return -torch.distributions.Normal(w * 2, row).log_prob(torch.ones(w.shape)).mean()

    stages, _ = run(loss, recorded)
    assert not any(one.options.get("grad_fn") for one in stages.values())
    assert stages["broadcast_tensors"].inputs == ("mul", "exp")
    assert stages["pow"].inputs == ("broadcast_tensors.1",)


def test_what_is_made_of_places_at_which_a_derivative_is_taken(recorded):
    """They are no parameters, and nothing of the model has made them."""
    model = nn.Linear(2, 1)

    def loss():
        x, t = (torch.ones(4, 1).requires_grad_() for _ in range(2))
        u = model(torch.cat([x, 2 * t], 1))
        return torch.autograd.grad(u.sum(), [x, t], create_graph=True)[1].sum() + u.mean()

    trace = recorded(simple(model, torch.optim.SGD(model.parameters(), 0.1), loss), 1)
    stages = {one.name: one for one in trace.networks[0]}
    assert not any(one.options.get("grad_fn") for one in stages.values())
    (t,), x = stages["mul"].inputs, stages["cat"].inputs[0]
    assert stages["cat"].inputs == (x, "mul")
    assert stages["grad"].inputs == ("sum", x, t)
    assert {stages[one].layer for one in (x, t)} == {"input"}


def test_what_is_in_memory_by_chance_is_no_input(recorded):
    """As in `pack_padded_sequence`, of sequences that are not sorted."""

    def loss(w):
        kept = torch.empty(2, 3).index_copy_(0, torch.arange(2), w)
        return kept.sum() + torch.empty_like(w).index_copy_(0, torch.arange(2), w * 2).sum()

    torch.use_deterministic_algorithms(True)  # fills it with NaN
    try:
        stages, arrays = run(loss, recorded)
    finally:
        torch.use_deterministic_algorithms(False)
    inputs = [name for name, one in stages.items() if one.layer == "input"]
    found = [arrays[f"forward/{name}"] for name in inputs]
    assert [one.tolist() for one in found if one.dtype.kind == "f"] == [[[0.0] * 3] * 2] * 2
