"""The count of operations, against PyTorch's own and against one by hand."""

from __future__ import annotations

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.limits.flops import forward_flop, step_flop
from benchmarks.measured.recipes import OTHERS
from pyvae.model.objectives import OBJECTIVES
from pyvae.recipes import get_recipe

NAMES = ["conv", *OTHERS]


def step_of(recipe):
    """A network, four images, what is given besides, and the hyperparameters."""
    hyper = recipe.settings().hyper
    shapes = {} if recipe.given is None else recipe.given.shapes(**hyper)
    given = {name: torch.rand(int(hyper["labels"]), *shape) for name, shape in shapes.items()}
    return recipe.network(5, **hyper), torch.rand(4, 784), given, hyper


@pytest.mark.parametrize("name", NAMES)
def test_forward_is_what_pytorch_counts(name):
    recipe = get_recipe(name)
    network, x, given, _ = step_of(recipe)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(x, given)
    assert sum(forward_flop(recipe, 4, 5).values()) == counter.get_total_flops()


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_a_step_is_what_pytorch_counts_and_the_gradient_of_the_images(name):
    recipe = get_recipe(name)
    network, x, given, hyper = step_of(recipe)
    for tensor in (x, *given.values()):
        tensor.requires_grad_()
    with FlopCounterMode(display=False) as counter:
        OBJECTIVES[recipe.objectives[0]](x, network(x, given), hyper)["total"].backward()
    assert step_flop(recipe, 4, 5) == counter.get_total_flops()


def test_the_convolution_by_hand():
    """24 x 24 pixels of 64 channels, each a sum over 3 x 3 pixels of 32 channels."""
    by_layer = forward_flop(get_recipe("conv"), 250, 30)
    assert by_layer["encoder.conv2"] == 2 * 250 * 24 * 24 * 64 * 3 * 3 * 32
    assert step_flop(get_recipe("conv"), 250, 30) / 1e9 == pytest.approx(18.4, abs=0.05)


def test_images_with_labels_are_counted_with_every_batch():
    """q(y|x), q(z|x,y) and p(x|z) of 100 of them, and not p(z|y), beside those of the batch."""
    plain, both = (
        forward_flop(get_recipe(name), 100, 2)
        for name in ("clustering", "clustering-semi-supervised")
    )
    assert set(both) == set(plain)
    for name, flop in plain.items():
        assert both[name] == (flop if name.startswith("pz_y") else 2 * flop)
    more = forward_flop(get_recipe("clustering-semi-supervised"), 100, 2, labels=300)
    assert more["px_z.fc1"] == 4 * plain["px_z.fc1"]


def test_twice_the_images_are_twice_the_operations():
    recipe = get_recipe("conv")
    assert step_flop(recipe, 20, 30) == 2 * step_flop(recipe, 10, 30)
