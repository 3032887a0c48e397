"""What R torch's own generator draws of a run: initial parameters, masks and noise."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from pyvae.errors import UserError
from pyvae.model.recipe import Recipe
from pyvae.model.settings import Settings
from r_bridge.engines.stage_network import as_drawn

__all__ = ["draws_as_modules_do", "torch_start"]


def torch_start(recipe: Recipe, settings: Settings) -> dict[str, Any]:
    """What R torch's `session_start` takes to draw a run from its seed.

    Raises:
        UserError: If the network's initial parameters are not those that its modules draw by
            themselves, one after the other: R torch draws these.
    """
    network = _network(recipe, settings)
    if not draws_as_modules_do(network, settings.seed):
        raise UserError(
            f"R torch's generator cannot draw the initial parameters of recipe {recipe.name}: they "
            "are not those that its modules draw by themselves, in order",
            "use --rng injected",
        )
    return as_drawn(recipe, settings) | {"seed": float(settings.seed)}


def _network(recipe: Recipe, settings: Settings) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        return recipe.network(settings.latent_dim, **settings.hyper)


def draws_as_modules_do(network: nn.Module, seed: int) -> bool:
    """Whether a network that was made after `torch.manual_seed(seed)` has the parameters and
    running statistics that its modules' own initialisers draw after it, in the modules' order.

    The network's parameters are drawn again.
    """
    state = network.state_dict()
    made = {name: value.clone() for name, value in state.items()}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for module in network.modules():
            reset: Any = getattr(module, "reset_parameters", None)
            if reset is not None:
                reset()
            elif hasattr(module, "running_mean"):
                _reset(module)
    return all(torch.equal(value, made[name]) for name, value in state.items())


@torch.no_grad()
def _reset(norm: Any) -> None:
    """As `torch.nn.BatchNorm1d.reset_parameters`."""
    norm.running_mean.zero_()
    norm.running_var.fill_(1)
    norm.weight.fill_(1)
    norm.bias.zero_()
