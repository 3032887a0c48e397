"""The biases that are left out are those that change nothing, and no others."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from stand_ins.narrow import NARROW

from comparisons.stages.no_effect import NoEffect
from pyvae.data.images import load_toy
from pyvae.model.draws import Draws
from pyvae.model.objectives import OBJECTIVES
from pyvae.recipes import RECIPES

SLOW = ("clustering", "clustering-semi-supervised")


def recipes():
    return [
        pytest.param(recipe, id=name, marks=[pytest.mark.slow] if name in SLOW else [])
        for name, recipe in NARROW.items()
    ]


@pytest.mark.parametrize("recipe", recipes())
def test_a_shifted_bias_changes_the_loss_unless_it_is_left_out(recipe, digits):
    """In training mode, in float64, by more than rounding."""
    hyper = {"labels": 10} if recipe.name.endswith("supervised") else {}
    settings = recipe.settings(batch_size=6, latent_dim=3, dtype="float64", hyper=hyper)
    data = load_toy() if recipe.features == 2 else digits
    x = data.batch(np.arange(6), torch.float64)
    drawn = Draws(2).step(0, 6, recipe.draws(3, **settings.hyper))
    if recipe.given is not None:
        drawn |= recipe.given(data, settings)
    draws = {name: torch.from_numpy(value) for name, value in drawn.items()}
    network = recipe.network(3, **settings.hyper).double()
    network.load_state_dict(recipe.initial_parameters(2, 3, **settings.hyper))
    objective = OBJECTIVES[settings.objective]

    @torch.no_grad()
    def loss():
        return float(objective(x, network.train()(x, draws), settings.hyper)["total"])

    before = loss()
    shift = torch.Generator().manual_seed(1)
    unchanged = set()
    for name, parameter in network.named_parameters():
        if name.endswith(".bias"):
            kept = parameter.detach().clone()
            with torch.no_grad():
                parameter += torch.rand(parameter.shape, generator=shift) + 0.5
            if abs(loss() - before) <= 1e-11 * abs(before):
                unchanged.add(name)
            with torch.no_grad():
                parameter.copy_(kept)
    assert unchanged == set(NoEffect.of_stages(recipe.stages).biases)


def test_the_running_means_behind_them_are_named():
    found = NoEffect.of_stages(RECIPES["clustering-toy"].stages)
    norms = ("qy_x.bn1", "qz_xy.bn3", "px_z.bn1", "pz_y.bn1")
    assert found.means == {f"{norm}.running_mean" for norm in norms}
    assert {"qz_xy.fc1", "qz_xy.concat", "qz_xy.fc3"} <= found.stages
    assert "qz_xy.fc2" not in found.stages


def test_without_batch_norm_there_are_none():
    assert NoEffect.of_stages(RECIPES["conv"].stages) == NoEffect({}, frozenset(), frozenset())
