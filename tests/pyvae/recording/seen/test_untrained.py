"""Networks that a program uses and does not train: which of their parameters are recorded when."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from recorded.programs import Program, simple
from torch import nn

from pyvae.recording.seen import untrained, values


class Teacher(nn.Module):
    """Has layers of every kind, and one that is not used."""

    def __init__(self):
        super().__init__()
        self.fc, self.norm, self.unused = nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(9, 9)
        self.rnn = nn.LSTM(4, 4, batch_first=True)
        self.attend = nn.MultiheadAttention(4, 2, batch_first=True)
        self.encode = nn.TransformerEncoderLayer(4, 2, 8, batch_first=True)
        self.scale = nn.Parameter(torch.ones(4))

    def forward(self, x):
        h = self.norm(self.fc(x))[:, None]
        h = self.encode(self.rnn(h)[0])
        return (self.attend(h, h, h)[0][:, 0] * self.scale)[:, :2]


def learning(teacher, use, follow=lambda step: None):
    """A model that learns what `use` returns of the teacher."""
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))
    optimiser = torch.optim.SGD(model.parameters(), 0.1)
    number = 0

    def step():
        nonlocal number
        number += 1
        x = torch.randn(5, 3)
        y = use(teacher, x)
        optimiser.zero_grad()
        loss = F.mse_loss(model(x), y)
        loss.backward()
        optimiser.step()
        follow(number)
        return loss.detach()

    return Program(model, [optimiser], step)


def quietly(teacher, x):
    with torch.no_grad():
        return teacher(x)


def keys(trace, step):
    found = (key for key in trace.arrays(step) if key.startswith("untrained/"))
    return {key.removeprefix("untrained/") for key in found}


def test_what_a_frozen_network_computes_with_is_written_once(recorded):
    teacher = Teacher().eval()
    trace = recorded(learning(teacher, quietly), 3)
    used = {name for name, _ in teacher.named_parameters() if not name.startswith("unused")}
    used |= {"norm.running_mean", "norm.running_var"}
    assert keys(trace, 1) == {f"teacher/{name}" for name in used}
    assert not keys(trace, 2) | keys(trace, 3)
    assert (
        trace.arrays(1)["untrained/teacher/fc.weight"] == teacher.fc.weight.detach().numpy()
    ).all()


def test_statistics_that_are_only_updated_are_left_out(recorded):
    trace = recorded(learning(Teacher(), quietly), 2)
    assert "teacher/norm.weight" in keys(trace, 1)
    every = keys(trace, 1) | keys(trace, 2)
    assert not any("running" in key or "num_batches" in key for key in every)


@pytest.mark.parametrize("in_data", [False, True])
def test_what_has_changed_is_written_as_it_is_when_it_is_used(recorded, in_data):
    teacher = nn.Linear(3, 2)
    used = []

    def use(teacher, x):
        used.append(teacher.weight.detach().clone().numpy())
        return quietly(teacher, x)

    def follow(step):
        with torch.no_grad():
            quietly(teacher, torch.ones(1, 3))  # a look at it before it is moved
            (teacher.weight.data if in_data else teacher.weight).add_(1)

    trace = recorded(learning(teacher, use, follow), 3)
    for step, weight in enumerate(used, 1):
        assert (trace.arrays(step)["untrained/teacher/weight"] == weight).all()
    assert keys(trace, 2) == {"teacher/weight"}


def test_what_has_not_changed_is_not_copied_again(recorded, monkeypatch):
    copied = []

    def to_array(tensor):
        copied.append(tuple(tensor.shape))
        return values.to_array(tensor)

    monkeypatch.setattr(untrained, "to_array", to_array)
    teacher = nn.Linear(3, 2)

    def follow(step):
        if step == 3:
            teacher.weight.data[0, 1] += 1  # which PyTorch does not count
        if step == 5:
            with torch.no_grad():
                teacher.bias.copy_(teacher.bias.clone())  # to what it was

    trace = recorded(learning(teacher, quietly, follow), 7)
    assert copied == [(2, 3), (2,), (2, 3), (2,)]
    assert [len(keys(trace, step)) for step in range(1, 8)] == [2, 0, 0, 1, 0, 0, 0]


def test_every_second_step_and_none_between(recorded):
    teacher = nn.Linear(3, 2)

    def follow(step):
        with torch.no_grad():
            teacher.weight.add_(1)

    trace = recorded(learning(teacher, quietly, follow), 3, every=2, train=6)
    assert [len(keys(trace, step)) for step in (1, 3, 5)] == [2, 1, 1]


def cut_off(teacher, x):
    return teacher(x).detach()


def plainly(teacher, x):
    for one in teacher.parameters():
        one.requires_grad_(False)
    return teacher(x).flatten(1)


def softened(teacher, x):
    return (quietly(teacher, x) / 2).softmax(1)


def with_reward(teacher, x):
    return x[:, :2] + 0.9 * cut_off(teacher, x)


@pytest.mark.parametrize("use", [quietly, cut_off, plainly, softened, with_reward])
def test_with_and_without_gradients(recorded, use):
    trace = recorded(learning(nn.Linear(3, 2), use), 2)
    assert keys(trace, 1) == {"teacher/weight", "teacher/bias"}
    computed = [bool(one.options) for one in trace.network_of(1) if one.layer == "input"]
    assert computed.count(True) == 1


def judged(teacher, x):
    """An accuracy, of which nothing is trained."""
    quietly(teacher, x)
    return torch.zeros(5, 2)


def test_a_network_on_which_nothing_depends_is_not_written(recorded):
    trace = recorded(learning(nn.Linear(3, 2), judged), 2)
    assert not keys(trace, 1)


class Scaled(nn.Module):
    """A module that brings images into another form."""

    def __init__(self):
        super().__init__()
        self.register_buffer("mean", torch.ones(3))

    def forward(self, x):
        return x - self.mean


def test_what_brings_the_input_into_another_form_is_no_network(recorded):
    scaled, model = Scaled(), nn.Linear(3, 1)
    program = simple(
        model, torch.optim.SGD(model.parameters(), 0.1),
        lambda: model(scaled(torch.ones(2, 3))).sum(),
    )  # fmt: skip
    trace = recorded(program, 1)
    assert not keys(trace, 1)
    assert all(not one.options for one in trace.network_of(1) if one.layer == "input")


def test_a_copy_that_is_made_anew_takes_the_place_of_the_one_before(recorded):
    held = {"target": nn.Linear(3, 2)}

    def use(teacher, x):
        target = held["target"]
        return quietly(target, x)

    def follow(step):
        held["target"] = copy.deepcopy(held["target"])

    trace = recorded(learning(None, use, follow), 3)
    assert {key.partition("/")[0] for key in keys(trace, 1)} == {"target"}
    assert not keys(trace, 2) | keys(trace, 3)


def test_networks_have_names_of_their_own(recorded):
    twins = [nn.Linear(3, 2), nn.Linear(3, 2)]

    def use(teacher, x):
        with torch.no_grad():
            return sum(one(x) for one in twins)

    trace = recorded(learning(None, use), 1)
    assert len({key.partition("/")[0] for key in keys(trace, 1)}) == 2


def test_what_is_the_models_is_not_written_again(recorded):
    """A teacher that shares a layer, and one that is the model itself."""
    torch.manual_seed(1)
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))
    teacher = nn.Sequential(model[0], nn.Tanh(), nn.Linear(4, 2))
    wrapper = nn.Sequential(model)

    def loss():
        x = torch.randn(5, 3)
        with torch.no_grad():
            y = teacher(x) + wrapper(x) + model(x)
        return F.mse_loss(model(x), y)

    trace = recorded(simple(model, torch.optim.SGD(model.parameters(), 0.1), loss), 1)
    assert keys(trace, 1) == {"teacher/2.weight", "teacher/2.bias"}


def test_no_bit_of_the_training_changes(tmp_path, recorded):
    def program():
        torch.manual_seed(1)
        return learning(Teacher(), quietly)

    alone, seen = program(), program()
    torch.manual_seed(2)
    losses = alone.train(3)
    torch.manual_seed(2)
    recorded(seen, 3)
    assert seen.losses == losses
    assert seen.bits() == alone.bits()
