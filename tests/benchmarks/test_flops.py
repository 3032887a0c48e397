"""The count of operations, against PyTorch's own and against one by hand."""

from __future__ import annotations

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.flops import forward_flop, step_flop
from pyvae.model.objectives import OBJECTIVES
from pyvae.recipes import get_recipe

NAMES = ["conv", "mlp", "strided-conv", "beta"]


@pytest.mark.parametrize("name", NAMES)
def test_forward_is_what_pytorch_counts(name):
    recipe = get_recipe(name)
    network = recipe.network(5)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(torch.rand(4, 784))
    assert sum(forward_flop(recipe, 4, 5).values()) == counter.get_total_flops()


@pytest.mark.parametrize("name", NAMES)
def test_a_step_is_what_pytorch_counts_and_the_gradient_of_the_images(name):
    recipe = get_recipe(name)
    network = recipe.network(5)
    x = torch.rand(4, 784).requires_grad_()
    with FlopCounterMode(display=False) as counter:
        OBJECTIVES[recipe.objectives[0]](x, network(x), {"beta": 1.0})["total"].backward()
    assert step_flop(recipe, 4, 5) == counter.get_total_flops()


def test_the_convolution_by_hand():
    """24 x 24 pixels of 64 channels, each a sum over 3 x 3 pixels of 32 channels."""
    by_layer = forward_flop(get_recipe("conv"), 250, 30)
    assert by_layer["encoder.conv2"] == 2 * 250 * 24 * 24 * 64 * 3 * 3 * 32
    assert step_flop(get_recipe("conv"), 250, 30) / 1e9 == pytest.approx(18.4, abs=0.05)


def test_twice_the_images_are_twice_the_operations():
    recipe = get_recipe("conv")
    assert step_flop(recipe, 20, 30) == 2 * step_flop(recipe, 10, 30)
