"""Keras' one bias of a recurrent layer, and the two that PyTorch's has."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from comparisons.ports import compare_programs
from pyvae.recording.record import record
from pyvae.trace.program import ProgramTrace

pytestmark = pytest.mark.slow


class Net(nn.Module):
    def __init__(self, second: float, trained: bool) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.rnn, self.out = nn.LSTM(3, 4, batch_first=True), nn.Linear(4, 2)
        with torch.no_grad():
            self.rnn.bias_hh_l0.fill_(second)
        self.rnn.bias_hh_l0.requires_grad_(trained)

    def forward(self, x):
        return self.out(self.rnn(x)[0][:, -1])


def recorded(folder, second=0.0, trained=False, keras=False, decay=0.0):
    """A trace of two steps; as of a program of Keras, which knows of one bias alone."""
    net = Net(second, trained)
    mine = [one for one in net.parameters() if one.requires_grad]
    optimizer = torch.optim.SGD(mine, lr=0.1, weight_decay=decay)
    drawn = torch.Generator().manual_seed(2)
    with record(net, optimizer, folder, steps=None, overwrite=True):
        for _ in range(2):
            optimizer.zero_grad()
            net(torch.randn(5, 6, 3, generator=drawn)).square().sum().backward()
            optimizer.step()
    if keras:
        trace = ProgramTrace.load(folder)
        trace.networks = [tuple(map(_with_one_bias, one)) for one in trace.networks]
        trace.parameters = [one for one in trace.parameters if one.name != "rnn.bias_hh_l0"]
        trace.save(folder)
    return folder


def _with_one_bias(stage):
    if stage.layer != "lstm":
        return stage
    roles = {role: name for role, name in stage.parameters.items() if role != "bias_hh_l0"}
    return replace(stage, parameters=roles, options={**stage.options, "one_bias": True})


def test_a_second_bias_that_stays_zero_agrees(tmp_path):
    found = compare_programs(recorded(tmp_path / "keras", keras=True), recorded(tmp_path / "port"))
    assert found.agrees
    (match,) = [one for one in found.parameters if "rnn.bias_ih_l0" in one.a]
    assert match.b == ("rnn.bias_ih_l0",)


@pytest.mark.parametrize("turned", [False, True])
def test_two_biases_that_are_trained_are_told_in_the_first_update(tmp_path, turned):
    both = recorded(tmp_path / "keras", keras=True), recorded(tmp_path / "port", trained=True)
    first = compare_programs(*(both[::-1] if turned else both)).first
    assert first.judged.step == 1
    assert first.judged.quantity.passing == "parameter"
    assert first.judged.quantity.parameter.join == "added"
    assert first.words[0].startswith(
        f"{both[1]}: trains rnn.bias_ih_l0 and rnn.bias_hh_l0, which are added, where {both[0]} "
        "has one bias (Keras's way): their sum takes twice the step"
    )


def test_another_update_is_not_said_to_be_of_two_biases(tmp_path):
    both = (
        recorded(tmp_path / "keras", keras=True, decay=0.3),
        recorded(tmp_path / "port", trained=True),
    )
    first = compare_programs(*both).first
    assert not any("twice the step" in one for one in first.words)


def test_a_second_bias_that_is_not_zero_is_told_where_it_is_added(tmp_path):
    both = recorded(tmp_path / "keras", keras=True), recorded(tmp_path / "port", second=0.5)
    first = compare_programs(*both).first
    assert first.judged.quantity.passing == "forward"
    assert first.words[0].endswith(
        "two biases, of which bias_hh is not zero, where it has one bias (Keras's way)"
    )
    turned = compare_programs(*both[::-1]).first
    assert "one bias (Keras's way), where it has two biases" in turned.words[0]
