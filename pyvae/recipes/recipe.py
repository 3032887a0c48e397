"""What a recipe is: one published write-up's network, draws and settings."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from pyvae.draws import Keep, Normal
from pyvae.stages import Stage

__all__ = ["VAE", "Recipe", "VAEOutput"]


class VAEOutput(NamedTuple):
    """What a network returns for a batch of B images and L latent dimensions."""

    pixels: Tensor  # (B, 784), probabilities in [0, 1]
    mu: Tensor  # (B, L), posterior means
    log_var: Tensor  # (B, L), logarithms of the posterior variances


class VAE(nn.Module):
    """What every recipe's network has.

    Attributes:
        encoder: Maps (x, draws) to mu and log_var.
        decoder: Maps latents z (B, L) to pixels (B, 784) in [0, 1].
    """

    encoder: nn.Module
    decoder: nn.Module


@dataclass(frozen=True)
class Recipe:
    """One published write-up.

    Attributes:
        name: The name on the command line.
        title: What it is, in a line.
        source: Where it was published.
        network: Builds the network for a number of latent dimensions; parameters are created
            in the article's order. `network(L)(x, draws)` gives a `VAEOutput`.
        draws: What chance brings to one image, for a number of latent dimensions.
        stages: The network's modules in the order of computation, then the terms of the loss.
        objectives: The objectives it was published with; the first is the default.
        epochs, batch_size, latent_dim, learning_rate: Its settings.
    """

    name: str
    title: str
    source: str
    network: Callable[[int], VAE]
    draws: Callable[[int], Mapping[str, Keep | Normal]]
    stages: tuple[Stage, ...]
    objectives: tuple[str, ...]
    epochs: int
    batch_size: int
    latent_dim: int
    learning_rate: float

    def initial_parameters(self, seed: int, latent_dim: int) -> dict[str, Tensor]:
        """The parameters that PyTorch's initialisers draw after `torch.manual_seed(seed)`.

        The global generator is left as it was. R's torch draws the same bits after
        `torch_manual_seed(seed)`. Always float32, so that runs in either precision start
        from the same point.
        """
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            network = self.network(latent_dim)
        return {name: value.detach().clone() for name, value in network.state_dict().items()}

    def parameter_names(self, latent_dim: int) -> list[str]:
        """The parameters' names, in the order in which the network creates them."""
        with torch.device("meta"):
            return [name for name, _ in self.network(latent_dim).named_parameters()]
