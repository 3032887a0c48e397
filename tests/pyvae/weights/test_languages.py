"""Names and shapes of PyTorch and of R's torch."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from pyvae.weights.languages import in_language

PYTHON = nn.ModuleDict(
    {
        "rnn": nn.LSTM(3, 4, num_layers=2, bidirectional=True, proj_size=2),
        "bn": nn.BatchNorm1d(2),
        "fc": nn.Linear(2, 1),
    }
).state_dict()


def said(tensors, language):
    found, done = in_language(tensors, language)
    return dict(found.values()), done


def test_layers_of_recurrent_networks_count_from_one_in_r():
    there, done = said(PYTHON, "r")
    assert {name for name in there if "weight_ih" in name} == {
        "rnn.weight_ih_l1", "rnn.weight_ih_l1_reverse", "rnn.weight_ih_l2",
        "rnn.weight_ih_l2_reverse",
    }  # fmt: skip
    assert "rnn.weight_hr_l2_reverse" in there
    assert torch.equal(there["rnn.bias_hh_l2"], PYTHON["rnn.bias_hh_l1"])
    assert done["rnn.bias_hh_l1"] == "R counts layers from 1"
    assert there["bn.num_batches_tracked"].shape == (1,)
    assert "fc.weight" not in done


def test_there_and_back_is_the_same_and_said_twice_changes_nothing():
    there, _ = said(PYTHON, "r")
    assert said(there, "r") == (there, {})
    back, _ = said(there, "python")
    assert list(back) == list(PYTHON)
    assert all(torch.equal(back[name], PYTHON[name]) for name in back)
    assert all(back[name].shape == PYTHON[name].shape for name in back)
    assert said(back, "python")[1] == {}


@pytest.mark.parametrize(
    "name", ["rnn.weight_ih_l7", "weight_ih_l01", "myweight_ih_l1", "rnn.weight_ih_l1x", "tracked"]
)
def test_other_names_stay(name):
    """A module whose layers begin at 7 is in neither language."""
    for language in ("python", "r"):
        assert said({name: torch.ones(2)}, language)[1] == {}
