"""The plain loop trains the recipe's network."""

from __future__ import annotations

import math

import pytest
import torch

from benchmarks.given.images import write_idx_files
from benchmarks.plain_loops import plain_loop
from pyvae.recipes import get_recipe


@pytest.fixture
def networks():
    """The plain one and the recipe's, with the same parameters, in evaluation mode."""
    plain, recipe = plain_loop.VAE(7), get_recipe("conv").network(7)
    plain.load_state_dict(recipe.state_dict())
    return plain.eval(), recipe.eval()


def test_it_has_the_recipes_parameters():
    plain, recipe = (one.state_dict() for one in (plain_loop.VAE(7), get_recipe("conv").network(7)))
    assert {k: v.shape for k, v in plain.items()} == {k: v.shape for k, v in recipe.items()}


@torch.no_grad()
def test_it_computes_what_the_recipe_computes(networks):
    plain, recipe = networks
    x, z = torch.rand(3, 784), torch.randn(3, 7)
    for mine, theirs in zip(plain.encoder(x.reshape(-1, 1, 28, 28)), recipe.encoder(x),
                            strict=True):  # fmt: skip
        torch.testing.assert_close(mine, theirs)
    torch.testing.assert_close(plain.decoder(z).reshape(-1, 784), recipe.decoder(z))


@torch.no_grad()
def test_dropout_is_on_while_it_trains(networks):
    plain, _ = networks
    x = torch.rand(3, 1, 28, 28)
    assert torch.equal(plain.encoder(x)[0], plain.encoder(x)[0])
    plain.train()
    assert not torch.equal(plain.encoder(x)[0], plain.encoder(x)[0])


@pytest.mark.slow
def test_it_trains(tmp_path, digits):
    write_idx_files(digits, tmp_path / "digits")
    steps = plain_loop.train(plain_loop.load(str(tmp_path / "digits")), 50, 5)
    losses = [next(steps) / 50 for _ in range(6)]
    assert losses[0] == pytest.approx(784 * math.log(2), rel=0.05)  # every pixel near 1/2
    assert losses[-1] < losses[0]
