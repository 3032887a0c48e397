"""The layers and terms of the loss that stages name, by the module or function that computes them.

To add one, put it into `LAYERS` or `TERMS`; what it computes stands in
`comparisons.expected.functions` and, in R, in `layers.R` of `r_bridge/R/layers` (base R) and of
`r_bridge/R/torch`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from pyvae.errors import UserError
from pyvae.model import loss_terms, modules
from pyvae.model.kernels import channels_last, to_one_channel, transposed_to_one

__all__ = ["LAYERS", "TERMS", "Layer", "layer_options", "term_options"]


@dataclass(frozen=True)
class Layer:
    """How a module or function is described in a stage.

    Attributes:
        name: The layer's name, such as `conv2d`.
        options: The attribute (or argument) that each option is read from, by the option's name.
        fixed: Attributes for which stages have no option, with the only value that they may have.
        draws: The argument that takes a dropout mask or noise, counted from 0, if there is one.
        per: What a term of the loss is divided by: `sum` for nothing, `element` for the number of
            elements; empty for layers.
    """

    name: str
    options: Mapping[str, str] = field(default_factory=dict)
    fixed: Mapping[str, Any] = field(default_factory=dict)
    draws: int | None = None
    per: str = ""


STRIDES = {"stride": "stride", "padding": "padding"}
PLAIN = {"groups": 1, "dilation": 1, "padding_mode": "zeros"}
NORM = {"momentum": "momentum", "eps": "eps"}
TORCH_NORM = {"affine": True, "track_running_stats": True}
CONV = Layer("conv2d", STRIDES, PLAIN)
CONV_TRANSPOSE = Layer("conv_transpose2d", STRIDES, PLAIN | {"output_padding": 0})
POOL = {"kernel_size": 2, "stride": 2, "padding": 0, "dilation": 1, "ceil_mode": False}

LAYERS: dict[type[nn.Module], Layer] = {
    channels_last.Conv2d: CONV,
    channels_last.ConvTranspose2d: CONV_TRANSPOSE,
    modules.BatchNorm: Layer("batch_norm", NORM),
    modules.Concat: Layer("concat"),
    modules.Dropout: Layer("dropout", {"p": "p"}, draws=1),
    modules.FirstHalf: Layer("first_half"),
    modules.GumbelSoftmax: Layer("gumbel_softmax", {"temperature": "temperature"}, draws=1),
    modules.Log: Layer("log"),
    modules.Multiply: Layer("multiply"),
    modules.Reparameterise: Layer("reparameterise", draws=2),
    modules.SecondHalf: Layer("second_half"),
    modules.Unflatten: Layer("unflatten", {"channels": "channels"}),
    to_one_channel.Conv2dToOne: CONV,
    transposed_to_one.ConvTranspose2dToOne: CONV_TRANSPOSE,
    nn.BatchNorm1d: Layer("batch_norm", NORM, TORCH_NORM),
    nn.BatchNorm2d: Layer("batch_norm", NORM, TORCH_NORM),
    nn.Conv2d: CONV,
    nn.ConvTranspose2d: CONV_TRANSPOSE,
    nn.Flatten: Layer("flatten", fixed={"start_dim": 1, "end_dim": -1}),
    nn.LeakyReLU: Layer("leaky_relu", {"slope": "negative_slope"}),
    nn.Linear: Layer("linear"),
    nn.MaxPool2d: Layer("max_pool2d", fixed=POOL | {"return_indices": False}),
    nn.ReLU: Layer("relu"),
    nn.Sigmoid: Layer("sigmoid"),
    nn.Softmax: Layer("softmax", fixed={"dim": 1}),
    nn.Softplus: Layer("softplus", fixed={"beta": 1, "threshold": 20}),
}

TERMS: dict[Callable[..., Any], Layer] = {
    loss_terms.bernoulli_reconstruction: Layer("bce", per="sum"),
    loss_terms.cross_entropy: Layer("cross_entropy", per="sum"),
    loss_terms.expected_prior: Layer("expected_prior", per="sum"),
    loss_terms.gaussian_reconstruction: Layer("gaussian", {"variance": "variance"}, per="sum"),
    loss_terms.half_mu_squared: Layer("half_mu_squared", per="sum"),
    loss_terms.kl: Layer("kl_normal", per="sum"),
    loss_terms.kl_categorical: Layer("kl_categorical", per="sum"),
    loss_terms.kl_gaussians: Layer("kl_gaussians", per="sum"),
    loss_terms.squared_error: Layer("mse", per="element"),
}


def layer_options(path: str, module: nn.Module) -> dict[str, Any]:
    """A layer's options, read from its module's attributes.

    Arguments:
        path: The module's path in its network, for messages.
        module: Of a class in `LAYERS`.

    Raises:
        UserError: If an attribute has a value that no stage can describe.
    """
    layer = LAYERS[type(module)]
    kind = type(module).__name__
    for attribute, only in layer.fixed.items():
        value = _single(getattr(module, attribute))
        if value != only:
            raise UserError(
                f"layer '{path}' is a {kind} with {attribute}={value}",
                expected=f"{attribute}={only}",
            )
    options = {name: _single(getattr(module, found)) for name, found in layer.options.items()}
    for name, value in options.items():
        if not isinstance(value, int | float):
            attribute = layer.options[name]
            raise UserError(
                f"layer '{path}' is a {kind} with {attribute}={value}", expected="one number"
            )
    return options


def term_options(term: Callable[..., Any], args: Any, kwargs: Any) -> dict[str, Any]:
    """The options of a term of the loss, read from the arguments of a call."""
    given = inspect.signature(term).bind(*args, **kwargs).arguments
    return {name: given[found] for name, found in TERMS[term].options.items()}


def _single(value: Any) -> Any:
    """A number that is given for rows and columns alike."""
    same = isinstance(value, tuple) and value and len(set(value)) == 1
    return value[0] if same else value
