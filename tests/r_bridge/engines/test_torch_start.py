"""What R torch's own generator is asked to draw. No R is needed for these tests."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from pyvae.errors import UserError
from pyvae.recipes import RECIPES
from r_bridge.engines.torch_start import draws_as_modules_do, torch_start


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_can_be_drawn_in_the_order_of_its_state(name):
    recipe = RECIPES[name]
    settings = recipe.settings(latent_dim=3, seed=11)
    asked = torch_start(recipe, settings)
    assert asked["seed"] == 11.0
    state = recipe.initial_parameters(11, 3, **settings.hyper)
    named = {
        f"{layer}.{kind}": shape
        for layer, shapes in asked["layers"].items()
        for kind, shape in shapes.items()
    }
    assert list(named) == list(state)
    assert all(named[key] == list(value.shape) for key, value in state.items())
    drawn = recipe.draws(3, **settings.hyper)
    assert list(asked["draws"]) == list(drawn)
    for key, draw in asked["draws"].items():
        assert draw["kind"] == type(drawn[key]).__name__.lower()
        assert draw.get("rows") == drawn[key].rows
        assert draw["columns"] == torch.Size(drawn[key].shape).numel()


def made(change=None):
    torch.manual_seed(4)
    network = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Linear(3, 2))
    if change is not None:
        with torch.no_grad():
            change(network)
    return network


@pytest.mark.parametrize(
    ("change", "as_modules"),
    [
        (None, True),
        (lambda network: nn.init.xavier_uniform_(network[2].weight), False),
        (lambda network: network[2].bias.zero_(), False),
        (lambda network: network[1].weight.fill_(0.5), False),
        (lambda network: network[1].running_var.fill_(2), False),
    ],
)
def test_own_initialisers_are_seen(change, as_modules):
    before = torch.get_rng_state()
    network = made(change)
    torch.set_rng_state(before)
    assert draws_as_modules_do(network, 4) is as_modules
    assert torch.equal(torch.get_rng_state(), before)


def test_modules_that_are_made_in_another_order_are_seen():
    torch.manual_seed(4)
    last, first = nn.Linear(3, 2), nn.Linear(2, 3)
    assert not draws_as_modules_do(nn.Sequential(first, last), 4)


def test_parameters_that_r_torch_would_not_draw_are_refused_in_a_line():
    recipe = RECIPES["beta"]

    def network(latent_dim, **hyper):
        made = recipe.network(latent_dim, **hyper)
        nn.init.zeros_(made.decoder.fc2.bias)
        return made

    with pytest.raises(UserError) as caught:
        torch_start(replace(recipe, network=network), recipe.settings())
    assert str(caught.value) == (
        "R torch's generator cannot draw the initial parameters of recipe beta: they are not those "
        "that its modules draw by themselves, in order. Use --rng injected."
    )
