r"""How many floating-point operations a training step needs, from the shapes of the layers.

A layer whose output has M numbers, each a sum of K products, takes 2 M K operations forward (a
multiplication and an addition each). Backward it takes the same twice: the gradient with respect
to its input and that with respect to its weights are sums of as many products. So a step is three
times what the layers take forward:

.. math:: 3 \sum_{layers} 2 \, B \cdot positions \cdot in \cdot out \cdot kernel

where positions are the output's pixels for a convolution, the input's for a transposed one, and
1 for a fully connected layer. Element-wise operations, pooling, dropout and Adam (some 20
operations for each of 1.5 million parameters, 0.03 GFLOP) are left out: they are walks through
memory. The gradient with respect to what is given (the images themselves, and labels), which nobody
asks for, is counted as the other layers' is (0.1 of 18.4 GFLOP).
"""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import Any

import torch
from torch import Tensor, nn

from pyvae.model.recipe import Recipe

__all__ = ["PASSES", "forward_flop", "step_flop"]

PASSES = 3  # forward, gradient of the input, gradient of the weights


def step_flop(recipe: Recipe, batch_size: int, latent_dim: int, **hyper: float) -> int:
    """Floating-point operations of one training step in matrix products."""
    return PASSES * sum(forward_flop(recipe, batch_size, latent_dim, **hyper).values())


def forward_flop(
    recipe: Recipe, batch_size: int, latent_dim: int, **hyper: float
) -> dict[str, int]:
    """What each layer takes forward, by its name; the shapes come from a pass without numbers."""
    settings = recipe.settings(latent_dim=latent_dim, hyper=hyper)
    with torch.device("meta"):
        network = recipe.network(latent_dim, **settings.hyper)
        x = torch.empty(batch_size, recipe.features)
        given = _given(recipe, settings.hyper)
        found: dict[str, int] = {}

        def count(name: str) -> Any:
            def hook(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
                found[name] = found.get(name, 0) + _flop(layer, inputs[0], output)

            return hook

        for name, layer in network.named_modules():
            if isinstance(layer, nn.Linear | nn.Conv2d | nn.ConvTranspose2d):
                layer.register_forward_hook(count(name))
        network(x, given)
    return found


def _given(recipe: Recipe, hyper: Mapping[str, float]) -> dict[str, Tensor]:
    """What a step is given besides its batch: as many rows as images have labels."""
    shapes = {} if recipe.given is None else recipe.given.shapes(**hyper)
    return {name: torch.empty(int(hyper["labels"]), *shape) for name, shape in shapes.items()}


def _flop(layer: nn.Module, x: Tensor, y: Tensor) -> int:
    if isinstance(layer, nn.Linear):
        return 2 * y.numel() * layer.in_features
    if isinstance(layer, nn.Conv2d):
        return 2 * y.numel() * layer.in_channels * prod(layer.kernel_size)
    assert isinstance(layer, nn.ConvTranspose2d)  # noqa: S101 (the only other kind)
    return 2 * x.numel() * layer.out_channels * prod(layer.kernel_size)
