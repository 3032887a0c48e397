"""Mistaken random layers: dropout, the reparameterised sample, the Gumbel-softmax."""

from __future__ import annotations

import torch
from torch import Tensor

from comparisons.diagnosis.mistakes.suspects import Suspects, slope, two_numbers
from comparisons.expected.functions import FUNCTIONS, gumbel_logits
from comparisons.expected.layers import Layers
from pyvae.model.stages import Stage

__all__ = ["dropout", "fitted_temperature", "gumbel_softmax", "reparameterise"]


def _before(layers: Layers, stage: Stage) -> Tensor | None:
    """The stage's draw of the step before."""
    return layers.draws_of(layers.step - 1)[stage.draw or ""] if layers.step > 1 else None


def dropout(layers: Layers, stage: Stage, x: Tensor) -> Suspects:
    p = stage.options["p"]
    keep = layers.draws[stage.draw or ""].to(x.dtype)
    yield "1/(1 - p) missing", x * keep
    yield "the mask inverted", x * (1 - keep) / (1 - p)
    yield "the mask inverted, with 1/p", x * (1 - keep) / p
    yield "1/p where 1/(1 - p) belongs", x * keep / p
    yield "the mask inverted, 1/(1 - p) missing", x * (1 - keep)
    yield "no dropout", x
    before = _before(layers, stage)
    if before is not None:
        yield "the mask of the step before", x * before.to(x.dtype) / (1 - p)


def reparameterise(layers: Layers, stage: Stage, mu: Tensor, log_var: Tensor) -> Suspects:
    noise = layers.draws[stage.draw or ""].to(mu.dtype)
    half = torch.exp(0.5 * log_var)
    words = "log_var read as a log-standard-deviation: exp(log_var) without the 1/2"
    yield words, mu + torch.exp(log_var) * noise
    yield "log_var itself taken for the standard deviation", mu + log_var * noise
    if (log_var >= 0).all():
        yield "log_var itself taken for the variance", mu + log_var.sqrt() * noise
    yield "exp(-log_var / 2)", mu + noise / half
    yield "no noise: z = mu", mu
    yield "the noise with its sign changed", mu - half * noise
    yield "the noise alone: its standard deviation 1", mu + noise
    yield "mu and log_var exchanged", log_var + torch.exp(0.5 * mu) * noise
    before = _before(layers, stage)
    if before is not None:
        yield "the noise of the step before", mu + half * before.to(mu.dtype)


def gumbel_softmax(layers: Layers, stage: Stage, pi: Tensor) -> Suspects:
    temperature = stage.options["temperature"]
    noise = layers.draws[stage.draw or ""].to(pi.dtype)
    logits = gumbel_logits(pi, noise)
    softened = FUNCTIONS["gumbel_softmax"]
    if temperature != 1:
        yield "the temperature missing", torch.softmax(logits, 1)
        words = "multiplied by the temperature where it is divided by it"
        yield words, torch.softmax(logits * temperature, 1)
        halfway = torch.log(pi + 1e-20) + noise / temperature
        yield "the noise alone divided by the temperature", torch.softmax(halfway, 1)
    yield "no noise", torch.softmax(torch.log(pi + 1e-20) / temperature, 1)
    yield "the noise with its sign changed", softened(pi, -noise, temperature)
    words = "the probabilities where their logarithms belong"
    yield words, torch.softmax((pi + noise) / temperature, 1)
    yield "hard: one-hot", torch.eye(pi.shape[1], dtype=pi.dtype)[logits.argmax(1)]
    yield "no sample: the probabilities themselves", pi
    over_images = torch.softmax(logits / temperature, 0)
    yield "softmax over the images, the wrong axis", over_images
    yield "no softmax", logits / temperature
    before = _before(layers, stage)
    if before is not None:
        words = "the noise of the step before"
        yield words, softened(pi, before.to(pi.dtype), temperature)


def fitted_temperature(found: Tensor, pi: Tensor, noise: Tensor, temperature: float) -> Suspects:
    """Differences of log y between classes are those of the logits, divided by the temperature."""
    logits = gumbel_logits(pi, noise)
    there = found > 1e-100  # not rounded to zero
    if (found < 0).any() or not there.any():
        return

    def centred(x: Tensor) -> Tensor:
        kept = torch.where(there, x, 0.0)
        mean = kept.sum(1, keepdim=True) / there.sum(1, keepdim=True).clamp(min=1)
        return torch.where(there, x - mean, 0.0)

    inverse = slope(centred(found.clamp(min=1e-300).log()), centred(logits))
    if inverse is not None and inverse > 0:
        other = 1 / inverse
        if abs(other - temperature) <= 1e-6:
            return
        words = f"temperature {two_numbers(other, temperature)}"
        yield words, torch.softmax(logits / other, 1)
