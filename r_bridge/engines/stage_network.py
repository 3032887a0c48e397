"""A recipe's network as R takes it: its stages, and what a generator in R draws."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from pyvae.errors import UserError
from pyvae.model.draws import Draw, Gumbel, Keep, Normal
from pyvae.model.objectives import OBJECTIVES
from pyvae.model.recipe import Recipe
from pyvae.model.settings import Settings
from pyvae.model.stages import Stage

__all__ = [
    "LAYERS",
    "SOURCES",
    "TORCH_SOURCES",
    "as_drawn",
    "network_arguments",
    "own_draws",
    "stage_arguments",
]

SOURCES = (
    "layers/maps",
    "layers/conv2d",
    "layers/max_pool2d",
    "layers/activations",
    "layers/batch_norm",
    "layers/softmax",
    "layers/reparameterise",
    "base_r/objectives",
    "layers/likelihoods",
    "layers/divergences",
    "layers/layers",
    "network/stages",
    "base_r/network",
    "base_r/random",
    "base_r/adam",
    "base_r/session",
)
TORCH_SOURCES = (
    "torch/about",
    "network/stages",
    "torch/layers",
    "torch/random",
    "torch/network",
    "torch/session",
)
LAYERS = (  # of R/layers/layers.R and R/torch/layers.R alike
    "batch_norm",
    "bce",
    "concat",
    "conv2d",
    "conv_transpose2d",
    "cross_entropy",
    "dropout",
    "expected_prior",
    "first_half",
    "flatten",
    "gaussian",
    "gumbel_softmax",
    "half_mu_squared",
    "input",
    "kl_categorical",
    "kl_gaussians",
    "kl_normal",
    "leaky_relu",
    "linear",
    "log",
    "max_pool2d",
    "mse",
    "multiply",
    "relu",
    "reparameterise",
    "second_half",
    "sigmoid",
    "softmax",
    "softplus",
    "sum",
    "unflatten",
)
DRAWN = ("dropout", "gumbel_softmax", "reparameterise")
LIKELIHOODS = ("bce", "mse", "gaussian")
CHUNK = 2**22  # numbers that the stages of one part of a batch take
WHOLE = 2**31  # images: a batch is not cut


def network_arguments(recipe: Recipe, settings: Settings) -> dict[str, Any]:
    """What base R's `session_start` takes of a network.

    Raises:
        UserError: As `stage_arguments`.
    """
    chunk = _chunk(recipe.stages_for(settings), settings.batch_size)
    return stage_arguments("base-r", recipe, settings) | {"chunk": float(chunk)}


def stage_arguments(engine: str, recipe: Recipe, settings: Settings) -> dict[str, Any]:
    """What `session_start` takes of a network in either R.

    Raises:
        UserError: If it samples no latents, its loss has no likelihood of pixels, a mask is not
            among its draws, or a parameter is frozen or shared by two layers.
    """
    _check_trained_one_by_one(engine, recipe, settings)
    stages = recipe.stages_for(settings)
    for stage in stages:
        if stage.layer in DRAWN and not stage.draw:
            raise UserError(
                f"engine {engine} cannot run recipe '{recipe.name}': '{stage.name}' is given no "
                "mask or noise of the recipe's draws",
                "name it in the recipe's draws, and hand it to the module",
            )
    sample = next((s for s in stages if s.layer == "reparameterise"), None)
    likelihood = next((s for s in stages if s.layer in LIKELIHOODS), None)
    if sample is None or likelihood is None:
        wanted = "Reparameterise" if sample is None else f"term among {', '.join(LIKELIHOODS)}"
        raise UserError(
            f"engine {engine} cannot run recipe '{recipe.name}': it has no {wanted}",
            "train it with --engine pytorch",
        )
    return {
        "stages": [_as_data(stage) for stage in stages],
        "terms": list(OBJECTIVES[settings.objective].terms),
        "sample": sample.name,
        "pixels": likelihood.inputs[0],
    }


def _check_trained_one_by_one(engine: str, recipe: Recipe, settings: Settings) -> None:
    """R trains every parameter of every layer, each by itself."""
    with torch.device("meta"):
        network = recipe.network(settings.latent_dim, **settings.hyper)
    first: dict[nn.Parameter, str] = {}
    for name, parameter in network.named_parameters(remove_duplicate=False):
        other = first.setdefault(parameter, name)
        if other != name:
            why = f"'{other}' and '{name}' are one parameter, and R has one for each layer"
        elif not parameter.requires_grad:
            why = f"'{name}' is frozen, and R trains all parameters"
        else:
            continue
        raise UserError(
            f"engine {engine} cannot run recipe '{recipe.name}': {why}",
            "train it with --engine pytorch",
        )


def own_draws(recipe: Recipe, settings: Settings) -> dict[str, Any]:
    """The shapes of a network's parameters and its draws, for R's own generator.

    Raises:
        UserError: If R's generator does not draw them all.
    """
    size, hyper = settings.latent_dim, settings.hyper
    draws = recipe.draws(size, **hyper)
    drawn = all(isinstance(draw, Keep | Normal) and draw.rows is None for draw in draws.values())
    if not drawn or recipe.given is not None or recipe.buffer_names(size, **hyper):
        raise UserError(
            f"R's generator cannot draw recipe {recipe.name}",
            "use --rng injected",
        )
    return as_drawn(recipe, settings)


def as_drawn(recipe: Recipe, settings: Settings) -> dict[str, Any]:
    """The shapes of a network's parameters and buffers, by their module, and its draws, each in
    the order in which PyTorch draws them."""
    size, hyper = settings.latent_dim, settings.hyper
    with torch.device("meta"):
        state = recipe.network(size, **hyper).state_dict()
    layers: dict[str, dict[str, list[float]]] = {}
    for name, value in state.items():
        layer, _, kind = name.rpartition(".")
        layers.setdefault(layer, {})[kind] = [float(n) for n in value.shape]
    draws = recipe.draws(size, **hyper)
    return {"layers": layers, "draws": {name: _as_draw(draw) for name, draw in draws.items()}}


def _chunk(stages: tuple[Stage, ...], images: int) -> int:
    """How many images base R works on at a time: all where they depend on each other."""
    several = sum(stage.layer == "input" for stage in stages) > 1
    if several or any(stage.layer == "batch_norm" for stage in stages):
        return WHOLE
    numbers = sum(_product(shape) for stage in stages for shape in stage.shapes)
    parts = -(-images * numbers // CHUNK)
    return -(-images // parts)


def _product(shape: tuple[int, ...]) -> int:
    return torch.Size(shape).numel()


def _as_data(stage: Stage) -> dict[str, Any]:
    """A stage as R takes it."""
    options = {
        name: [float(one) for one in value] if isinstance(value, tuple) else value
        for name, value in stage.options.items()
    }
    return {
        "name": stage.name,
        "layer": stage.layer,
        "inputs": list(stage.inputs),
        "draw": stage.draw or "",
        "options": options,
        "module": stage.path,
        "shapes": [[float(n) for n in shape] for shape in stage.shapes],
    }


def _as_draw(draw: Draw) -> dict[str, Any]:
    data: dict[str, Any] = {"columns": float(_product(draw.shape))}
    if draw.rows is not None:
        data["rows"] = float(draw.rows)
    if isinstance(draw, Keep):
        return {"kind": "keep", "p": draw.p, **data}
    return {"kind": "gumbel" if isinstance(draw, Gumbel) else "normal", **data}
