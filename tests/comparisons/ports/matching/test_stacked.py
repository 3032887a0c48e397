"""Recurrent layers that follow each other, and one of several layers."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from recorded.by_hand import record_steps
from torch import nn

from comparisons.ports import compare_programs

pytestmark = pytest.mark.slow


class One(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.rnn = nn.GRU(3, 4, 2, batch_first=True, bidirectional=True)
        self.out = nn.Linear(8, 3)

    def forward(self, x):
        return self.out(self.rnn(x)[0][:, -1])


class Two(nn.Module):
    """The same with a layer for each, which may be exchanged or used once more."""

    def __init__(self, exchanged=False, twice=False) -> None:
        super().__init__()
        one = One()
        way = {"batch_first": True, "bidirectional": True}
        self.first, self.second = nn.GRU(3, 4, **way), nn.GRU(8, 4, **way)
        self.out, self.twice = one.out, twice
        for at, layer in enumerate((self.first, self.second)):
            for name, value in layer.named_parameters():
                there = name.replace("_l0", f"_l{at}")
                there = there.replace("bias_ih", "bias_hh") if exchanged else there
                value.data.copy_(getattr(one.rnn, there))

    def forward(self, x):
        x = self.first(x)[0]
        y = self.second(x)[0]
        return self.out((y + x if self.twice else y)[:, -1])


@pytest.fixture
def both(tmp_path):
    def record(second):
        drawn = torch.Generator().manual_seed(2)
        batches = [
            (torch.randn(5, 6, 3, generator=drawn).double(), torch.tensor([0, 1, 2, 1, 0]))
            for _ in range(2)
        ]
        for name, network in (("a", second), ("b", One())):
            record_steps(tmp_path / name, network.double(), batches, F.cross_entropy)
        return tmp_path / "a", tmp_path / "b"

    return record


@pytest.mark.parametrize("turned", [False, True])
def test_two_layers_are_one_of_two(both, turned):
    folders = both(Two())
    found = compare_programs(*(folders[::-1] if turned else folders))
    assert found.agrees
    pairs = {(one.a[0], one.b[0])[:: -1 if turned else 1] for one in found.parameters}
    assert ("second.weight_hh_l0_reverse", "rnn.weight_hh_l1_reverse") in pairs
    assert len(pairs) == 2 * 8 + 2


def test_what_differs_in_one_of_them_is_told(both):
    first = compare_programs(*both(Two(exchanged=True))).first
    assert first is not None
    assert first.judged.quantity.passing == "start"


def test_layers_of_which_one_is_used_by_itself_stay_apart(both):
    found = compare_programs(*both(Two(twice=True)))
    assert not found.agrees
    network = found.networks[0]
    assert "first" in {one.name for one in (*network.only[0], *(p.a for p in network.pairs))}
