"""What a mistaken layer, or term of the loss, returns."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from comparisons.diagnosis.mistakes import (
    activations,
    batch_norm,
    convolutions,
    dense,
    loss_terms,
    sampling,
    shapes,
)
from comparisons.diagnosis.mistakes.suspects import Suspects
from comparisons.expected.layers import Layers
from pyvae.model.stages import Probe, Stage

__all__ = ["fitted", "forward", "running"]


def forward(layers: Layers, stage: Stage, probe: Probe) -> Suspects:
    """Of a layer or a term of the loss, given the inputs in a probe. The right one comes first,
    without words."""
    if stage.layer == "input":
        return
    inputs = layers.inputs(stage, probe)
    if stage.is_term:
        yield from loss_terms.forward(layers, stage, inputs)
        return
    weights = layers.weights(stage, probe)
    right = layers.apply(stage, inputs, weights)
    yield "", right
    for words, value in _mistaken(layers, stage, probe, inputs, weights):
        if not torch.equal(value, right):  # where nothing is below zero, a ReLU changes nothing
            yield words, value


def _mistaken(
    layers: Layers, stage: Stage, probe: Probe, inputs: list[Tensor], weights: list[Tensor]
) -> Suspects:
    if stage.layer in SIMPLE:
        yield from SIMPLE[stage.layer](*inputs, *weights, **stage.options)
    elif stage.layer == "batch_norm":
        yield from batch_norm.forward(layers, stage, probe)
    elif stage.draw is not None:
        yield from DRAWN[stage.layer](layers, stage, *inputs)
    if stage.layer in WITHOUT_ACTIVATION:
        yield from activations.after(layers.apply(stage, inputs, weights))


def fitted(layers: Layers, stage: Stage, probe: Probe, found: Tensor) -> Suspects:
    """The same for mistakes with a constant, which is fitted to what one side returned."""
    if not torch.isfinite(found).all():
        return
    if stage.is_term:
        yield from loss_terms.fitted(layers, stage, layers.inputs(stage, probe), found)
    if stage.layer not in FITTED:
        return
    inputs, weights = layers.inputs(stage, probe), layers.weights(stage, probe)
    drawn = [] if stage.draw is None else [layers.draws[stage.draw].to(inputs[0].dtype)]
    if found.shape == layers.apply(stage, inputs, weights).shape:
        yield from FITTED[stage.layer](found, *inputs, *weights, *drawn, **stage.options)


def running(layers: Layers, name: str, probe: Probe, found: Tensor) -> Suspects:
    """Of a running statistic of batch norm after the step. The right one comes first."""
    yield from batch_norm.running(layers, name, probe, found)


SIMPLE: dict[str, Callable[..., Suspects]] = {
    "concat": shapes.concat,
    "conv2d": convolutions.conv2d,
    "conv_transpose2d": convolutions.conv_transpose2d,
    "first_half": shapes.first_half,
    "flatten": shapes.flatten,
    "leaky_relu": activations.leaky_relu,
    "linear": dense.linear,
    "log": activations.log,
    "max_pool2d": convolutions.max_pool2d,
    "multiply": dense.multiply,
    "relu": activations.relu,
    "second_half": shapes.second_half,
    "sigmoid": activations.sigmoid,
    "softmax": activations.softmax,
    "softplus": activations.softplus,
    "unflatten": shapes.unflatten,
}
DRAWN: dict[str, Callable[..., Suspects]] = {
    "dropout": sampling.dropout,
    "gumbel_softmax": sampling.gumbel_softmax,
    "reparameterise": sampling.reparameterise,
}
FITTED: dict[str, Callable[..., Suspects]] = {
    "batch_norm": batch_norm.fitted,
    "dropout": sampling.fitted_dropout,
    "gumbel_softmax": sampling.fitted_temperature,
    "leaky_relu": activations.fitted_slope,
    "relu": activations.fitted_slope,
    "reparameterise": sampling.fitted_noise,
}
WITHOUT_ACTIVATION = ("batch_norm", "conv2d", "conv_transpose2d", "linear")
