"""Mistaken random layers: dropout, the reparameterised sample, the Gumbel-softmax."""

from __future__ import annotations

import torch
from torch import Tensor

from comparisons.diagnosis.mistakes.suspects import Suspects, slope, two_numbers
from comparisons.diagnosis.relations.noise import not_normal
from comparisons.expected.functions import FUNCTIONS, gumbel_logits
from comparisons.expected.layers import Layers
from pyvae.model.stages import Stage

__all__ = [
    "dropout",
    "fitted_dropout",
    "fitted_noise",
    "fitted_temperature",
    "gumbel_softmax",
    "reparameterise",
]


def _before(layers: Layers, stage: Stage) -> Tensor | None:
    """The stage's draw of the step before."""
    return layers.draws_of(layers.step - 1)[stage.draw or ""] if layers.step > 1 else None


def dropout(layers: Layers, stage: Stage, x: Tensor) -> Suspects:
    p = stage.options["p"]
    keep = layers.draws[stage.draw or ""].to(x.dtype)
    yield "1/(1 - p) missing", x * keep
    yield "the mask inverted", x * (1 - keep) / (1 - p)
    if p != 0.5:
        yield "the mask inverted, with 1/p", x * (1 - keep) / p
        yield "1/p where 1/(1 - p) belongs", x * keep / p
    yield "the mask inverted, 1/(1 - p) missing", x * (1 - keep)
    yield "no dropout", x
    before = _before(layers, stage)
    if before is not None:
        yield "the mask of the step before", x * before.to(x.dtype) / (1 - p)


def fitted_dropout(found: Tensor, x: Tensor, keep: Tensor, p: float) -> Suspects:
    """Another scale, or another mask."""
    kept = ((found != 0) & (x != 0)).to(x.dtype)
    scale = slope(found * kept, x * kept)
    if scale is None or scale <= 0:
        return
    value = x * kept * scale
    if torch.equal(kept, ((keep != 0) & (x != 0)).to(x.dtype)):
        if scale >= 1:
            yield f"scaled with 1/(1 - {1 - 1 / scale:.4g}) where p is {p:g}", value
        return
    scaled = "" if abs(scale * (1 - p) - 1) < 1e-6 else f", scaled by {scale:.6g}"
    if x.dim() == 4 and _whole_channels(kept > 0, x != 0):
        yield f"whole channels dropped (dropout2d), where single elements are{scaled}", value
    share = float(1 - kept.sum() / (x != 0).sum())
    if share < 1:
        yield f"another mask, which drops {share:.0%}{scaled}", value


def _whole_channels(kept: Tensor, there: Tensor) -> bool:
    """Whether each channel of an image is kept whole or dropped whole, and some are of both."""
    several = there.sum((2, 3)) > 1
    whole, none = (kept == there).all(3).all(2), ~kept.any(3).any(2)
    return bool((whole | none).all() and (whole & several).any() and (none & several).any())


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
    for words, other in _other_noise(noise):
        yield words, mu + half * other
    before = _before(layers, stage)
    if before is not None:
        yield "the noise of the step before", mu + half * before.to(mu.dtype)


def _other_noise(noise: Tensor) -> Suspects:
    images, dimensions = noise.shape
    if min(noise.shape) > 1:
        words = "the same noise, filled column by column (column-major)"
        yield words, noise.flatten().reshape(dimensions, images).T
        words = "the same noise, read column by column (column-major)"
        yield words, noise.T.flatten().reshape(images, dimensions)
        yield "one image's noise for all images", noise[:1].expand_as(noise)
        yield "one dimension's noise for all dimensions", noise[:, :1].expand_as(noise)
    yield "the noise of the images in reverse order", noise.flip(0)
    yield "the square of the noise", noise**2


UNIFORM = {"[0, 1)": (0.0, 1.0), "[-1, 1)": (-1.0, 1.0)}
ENOUGH = 40  # numbers: so many normal ones are not all in [-1, 1)


def fitted_noise(found: Tensor, mu: Tensor, log_var: Tensor, noise: Tensor) -> Suspects:
    """Other noise, told from what it has made of mu and log_var."""
    half = torch.exp(0.5 * log_var)
    used = (found - mu) / half
    if not torch.isfinite(used).all():
        return
    scale = slope(used, noise)
    if scale is not None and scale > 0 and abs(scale - 1) > 1e-6:
        yield f"the noise times {scale:.6g}", mu + half * scale * noise
    for words, (low, high) in UNIFORM.items():
        inside = bool(((used >= low) & (used < high)).all())
        spread = float(used.max() - used.min()) > 0.8 * (high - low)
        if inside and spread and used.numel() >= ENOUGH:
            yield f"noise in {words}: uniform, not normal", found
            return
    name = not_normal(used)
    if name:
        yield f"noise of another distribution: {name}", found


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
