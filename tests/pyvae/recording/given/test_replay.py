"""Masks and draws of another trace, fed to a program."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from programs import cnn, mlp, simple, transformer, vae
from torch import nn

from pyvae.errors import UserError
from pyvae.recording.recording import running


@pytest.mark.parametrize("make", [vae, cnn, transformer])
def test_replayed_chance_gives_the_same_bits(make, recorded, tmp_path):
    """Of the transformer, what attention drops within its layer is out of reach."""
    first = make()
    if make is transformer:
        first.model.encoder.self_attn.dropout = 0.0
    one = recorded(first, 3, "first")
    second = make()
    if make is transformer:
        second.model.encoder.self_attn.dropout = 0.0
    for layer in second.model.modules():
        if isinstance(layer, nn.Dropout):
            layer.inplace = False
    torch.manual_seed(77)
    two = recorded(second, 3, "second", replay=tmp_path / "first")
    assert second.losses == first.losses
    for step in (1, 2, 3):
        theirs, ours = one.arrays(step), two.arrays(step)
        assert theirs.keys() == ours.keys()
        for key in theirs:
            assert np.array_equal(theirs[key], ours[key]), key
    assert one.steps[0].generator != two.steps[0].generator


def test_the_generator_goes_on_as_alone(recorded, tmp_path):
    first = vae()
    recorded(first, 2, "first")
    state = torch.get_rng_state()
    recorded(vae(), 2, "second", replay=tmp_path / "first")
    assert torch.equal(torch.get_rng_state(), state)


class Noisy(nn.Module):
    def __init__(self, size, kind, layer=None):
        super().__init__()
        self.fc, self.size, self.kind = nn.Linear(2, 2), size, kind
        self.drop = layer or nn.Identity()

    def forward(self, x):
        return self.drop(self.fc(x)) + self.kind(self.size, 2)


def noisy(size=3, kind=torch.randn, layer=None):
    torch.manual_seed(1)
    model = Noisy(size, kind, layer)
    optimiser = torch.optim.SGD(model.parameters(), 0.1)
    return simple(model, optimiser, lambda: model(torch.ones(3, 2)).pow(2).sum())


def test_what_does_not_fit_is_named(recorded, tmp_path):
    recorded(noisy(layer=nn.Dropout(0.5)), 1)
    cases = [
        (noisy(1), 1, r"the draw 'randn' has shape \(3, 2\) in step 1 of '.*', where the program "
                      r"draws \(1, 2\)"),
        (noisy(kind=torch.rand), 1, "has no more draws of rand in step 1, where 'rand' is drawn"),
        (noisy(layer=nn.Dropout(0.5)), 2, "step 2 of '.*' was not recorded"),
        (noisy(layer=nn.Sequential(nn.Dropout(0.5))), 1, "has no mask of 'drop.0' in step 1"),
        (noisy(layer=nn.Dropout(0.5, inplace=True)), 1, "cannot reach 'drop', which works in pl"),
    ]  # fmt: skip
    for program, steps, message in cases:
        with pytest.raises(UserError, match=message):
            recorded(program, steps, "other", replay=tmp_path / "trace", overwrite=True)
        assert running() is None


def test_draws_are_found_by_their_order_where_names_differ(recorded, tmp_path):
    class Inner(nn.Module):
        def __init__(self):
            super().__init__()
            self.within = Noisy(3, torch.randn)

        def forward(self, x):
            return self.within(x)

    first = noisy()
    one = recorded(first, 1, "first")
    model = Inner()
    second = simple(
        model, torch.optim.SGD(model.parameters(), 0.1), lambda: model(torch.ones(3, 2)).sum()
    )
    two = recorded(second, 1, "second", replay=tmp_path / "first")
    ours = two.arrays(1)["forward/within.randn"]
    assert np.array_equal(one.arrays(1)["forward/randn"], ours)


def test_the_order_of_the_data_stays_the_programs_own(recorded, tmp_path):
    """What a DataLoader draws is not the model's."""

    def shuffled():
        program = mlp()
        orders = []
        step = program.step

        def shuffle():
            orders.append(torch.randperm(5).tolist())
            return step()

        program.step = shuffle
        return program, orders

    first, theirs = shuffled()
    recorded(first, 2, "first")
    second, ours = shuffled()
    torch.manual_seed(8)
    recorded(second, 2, "second", replay=tmp_path / "first")
    assert theirs != ours
