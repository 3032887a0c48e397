"""Evaluates an objective on images that were held out of training."""

from __future__ import annotations

import torch

from pyvae.data.images import ImageData
from pyvae.model.draws import Draws
from pyvae.model.objectives import OBJECTIVES
from pyvae.model.recipe import VAE
from pyvae.model.settings import Settings
from pyvae.recipes import get_recipe

__all__ = ["evaluate"]


@torch.no_grad()
def evaluate(
    network: VAE, recipe: str, settings: Settings, data: ImageData, seed: int = 0
) -> dict[str, float]:
    """Returns the terms of the objective on all images of a set, in evaluation mode, z sampled.

    Arguments:
        network: A trained network; its mode is restored afterwards.
        recipe, settings: Those that it was trained with.
        data: The images.
        seed: The seed of the noise.

    Returns:
        Each term, without those that need labels. Sums over images are given per image, so that
        they compare with `Trace.epoch_table`.
    """
    objective = OBJECTIVES[settings.objective]
    spec = get_recipe(recipe).draws(settings.latent_dim, **settings.hyper)
    noise = {"noise": spec["noise"]}  # masks and y are not sampled in evaluation mode
    training = network.training
    device = next(network.parameters()).device
    draws = Draws(seed, settings.dtype)
    sums: dict[str, float] = {}
    network.eval()
    if objective.name == "semi-supervised":  # its terms for images without labels
        objective = OBJECTIVES["clustering"]
    for number, rows in enumerate(torch.arange(len(data)).split(500)):
        x = data.batch(rows.numpy(), settings.torch_dtype).to(device)
        drawn = draws.step(number, len(x), noise)
        given = {name: torch.from_numpy(value).to(device) for name, value in drawn.items()}
        for name, value in objective(x, network(x, given), settings.hyper).items():
            weight = len(x) if objective.mean else 1
            sums[name] = sums.get(name, 0.0) + float(value) * weight
    network.train(training)
    return {name: value / len(data) for name, value in sums.items()}
