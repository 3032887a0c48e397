"""Mistaken batch normalisation: its result in training, and its running statistics."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from comparisons.diagnosis.mistakes.suspects import Suspects, two_numbers
from comparisons.expected.functions import batch_statistics, per_channel
from comparisons.expected.layers import Layers, float64
from pyvae.model.stages import Probe, Stage

__all__ = ["fitted", "forward", "running"]


def forward(layers: Layers, stage: Stage, probe: Probe) -> Suspects:
    (x,) = layers.inputs(stage, probe)
    w, b = layers.weights(stage, probe)
    eps = stage.options["eps"]
    mean, variance, count = batch_statistics(x)

    def scaled(mean: Tensor, root: Tensor) -> Tensor:
        return (x - mean) / root * per_channel(w, x) + per_channel(b, x)

    def of_channels(mean: Tensor, root: Tensor) -> Tensor:
        return scaled(per_channel(mean, x), per_channel(root, x))

    root = (variance + eps).sqrt()
    start = [float64(probe[f"start/{stage.path}.running_{kind}"]) for kind in ("mean", "var")]
    yield (
        "the running statistics in place of the batch's (evaluation mode in training)",
        of_channels(start[0], (start[1] + eps).sqrt()),
    )
    if count > 1:
        unbiased = variance * (count / (count - 1))
        words = "the unbiased variance, divided by n - 1, where it is divided by n"
        yield words, of_channels(mean, (unbiased + eps).sqrt())
    yield "epsilon outside the square root", of_channels(mean, variance.sqrt() + eps)
    yield "divided by the variance, not by its square root", of_channels(mean, variance + eps)
    yield "the mean not subtracted", of_channels(torch.zeros_like(mean), root)
    yield "not divided by the standard deviation", of_channels(mean, torch.ones_like(root))
    yield "no batch norm", x
    plain = (x - per_channel(mean, x)) / per_channel(root, x)
    if (b != 0).any():
        yield "its bias missing", plain * per_channel(w, x)
    if (w != 1).any():
        yield "its weight missing", plain + per_channel(b, x)
        yield "its weight and bias missing", plain
    for groups in range(2, x.shape[1]):
        if x.shape[1] % groups == 0:
            parts = x.reshape(len(x), groups, -1)
            root = (parts.var(2, correction=0, keepdim=True) + eps).sqrt()
            plain = ((parts - parts.mean(2, keepdim=True)) / root).reshape(x.shape)
            value = plain * per_channel(w, x) + per_channel(b, x)
            yield (
                f"statistics of each image and group of channels (group norm, {groups} groups)",
                value,
            )
    square = (x**2).mean(tuple(range(1, x.dim())), keepdim=True)
    words = "each image divided by its root mean square (RMS norm)"
    yield words, x / (square + eps).sqrt() * per_channel(w, x) + per_channel(b, x)
    axes = {"statistics of each image (layer norm)": tuple(range(1, x.dim()))}
    if x.dim() == 4:
        axes["statistics of each image and channel (instance norm)"] = (2, 3)
        axes["statistics of each pixel, over images alone"] = (0,)
    for words, over in axes.items():
        own = x.mean(over, keepdim=True), x.var(over, correction=0, keepdim=True)
        yield words, scaled(own[0], (own[1] + eps).sqrt())


def fitted(found: Tensor, x: Tensor, w: Tensor, b: Tensor, eps: float, momentum: float) -> Suspects:
    """Another epsilon, from the channel whose variance hides it least."""
    mean, variance, _ = batch_statistics(x)
    weighted = (x - per_channel(mean, x)) * per_channel(w, x)
    axes = (0, *range(2, x.dim()))
    square = (weighted**2).sum(axes)
    inverse = ((found - per_channel(b, x)) * weighted).sum(axes) / square
    usable = (square > 0) & (inverse > 0)
    if not usable.any():
        return
    channel = torch.where(usable, variance, math.inf).argmin()
    other = float(1 / inverse[channel] ** 2 - variance[channel])
    precision = 1e-12 * float(variance[channel])
    if abs(other) <= precision:
        words, other = "no epsilon", 0.0
    else:
        words = f"epsilon = {two_numbers(other, eps, 4)}"
    if other >= 0 and abs(other - eps) > precision:
        root = (variance + other).sqrt()
        yield words, weighted / per_channel(root, x) + per_channel(b, x)


def running(layers: Layers, name: str, probe: Probe, found: Tensor) -> Suspects:
    """Of a running statistic after the step."""
    start = float64(probe[f"start/{name}"])
    users = layers.users(name.rpartition(".")[0])
    momentum = users[0].options["momentum"]
    yield "", layers.running(name, probe)
    yield "not updated", start
    yield (
        f"momentum {two_numbers(1 - momentum, momentum)} (Keras's convention: what is kept)",
        layers.running(name, probe, 1 - momentum),
    )
    yield "the batch's own, without what came before", layers.statistic(name, users[-1], probe)
    if name.endswith("running_var"):
        value = start
        for stage in users:
            biased = layers.statistic(name, stage, probe, unbiased=False)
            value = (1 - momentum) * value + momentum * biased
        yield "moved towards the biased variance, where it is the unbiased one", value
        value = start
        for stage in users:
            deviation = layers.statistic(name, stage, probe).sqrt()
            value = (1 - momentum) * value + momentum * deviation
        yield "moved towards the standard deviation", value
    for stage in users if len(users) > 1 else ():
        value = (1 - momentum) * start + momentum * layers.statistic(name, stage, probe)
        yield f"moved by {stage.name} alone", value
    other = _fitted_momentum(start, [layers.statistic(name, s, probe) for s in users], found)
    known = (momentum, 1 - momentum, 0.0)  # which have names of their own
    if other is not None and all(abs(other - one) > 1e-6 for one in known):
        words = f"momentum {two_numbers(other, momentum)}"
        yield words, layers.running(name, probe, other)


def _fitted_momentum(start: Tensor, statistics: list[Tensor], found: Tensor) -> float | None:
    """m of found = start + m a - m^2 c, where one use or two of the module have moved it."""
    if found.shape != start.shape or not torch.isfinite(found).all():
        return None
    ahead = [one - start for one in statistics]
    a, c = torch.stack(ahead).sum(0), ahead[0] if len(ahead) == 2 else torch.zeros_like(start)
    square, mixed, moved = (float((a * other).sum()) for other in (a, c, found - start))
    if not square:
        return None
    if not mixed:
        return moved / square
    inside = square**2 - 4 * mixed * moved
    return (square - math.sqrt(inside)) / (2 * mixed) if inside >= 0 else None
