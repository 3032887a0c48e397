"""Gradients with respect to probabilities, which one rounding of a probability moves apart.

The cross entropy's gradient with respect to a probability q is (q - x) / (q (1 - q)). Where q is
near 1, rounding it once changes 1 - q by a large part of it, and the gradient as much; the sigmoid
that q comes from then multiplies with the same q (1 - q) again, and nothing is left of it.
"""

from __future__ import annotations

import torch
from torch import Tensor

from comparisons.expected.layers import Layers, float64
from pyvae.model.stages import Probe, Stage

__all__ = ["parted_by_rounding"]

# In units of the precision (1.2e-7 in float32). Measured in the first step of `clustering` and
# `clustering-semi-supervised`: gradients are off by at most 1.9, probabilities near 1 by 0.26.
GRADIENT = 4  # relative to it: what the few roundings on the way to it make
PROBABILITY = 0.75  # near 1: 1 + exp(-x) is rounded by 1/2 at most, its reciprocal by 1/4


def parted_by_rounding(
    layers: Layers, name: str, probes: tuple[Probe, Probe], difference: Tensor, rtol: float
) -> Tensor:
    """Where rounding alone moves two gradients with respect to a sigmoid's result apart.

    All of these are asked of an element that differs by more than the rule allows:

    - Each side's gradient is what its own probability and target give, up to the roundings of the
      few operations between them.
    - Each side's probability is its own pre-activation's sigmoid, up to the roundings of that.
    - With probabilities that are not rounded, the two gradients would agree by the rule.
    - They do agree once they are multiplied with q (1 - q), as the sigmoid's backward pass does.

    Arguments:
        layers: Of the step.
        name: The stage.
        probes: Both sides'.
        difference: Of the gradients.
        rtol: The rule's, relative to the largest element.

    Returns:
        Which elements, bool; none where anything but terms of the loss takes the result.
    """
    stage = layers.stages[name]
    terms = [one for one in layers.stages.values() if one.is_term and name in one.inputs]
    nowhere = torch.zeros(difference.shape, dtype=torch.bool)
    keys = {f"forward/{one}" for taker in (stage, *terms) for one in (*taker.inputs, name)}
    if stage.layer != "sigmoid" or layers.takers(name) or not terms:
        return nowhere
    if not all(key in probe for key in keys for probe in probes):
        return nowhere
    if any(probe[f"forward/{name}"].shape != difference.shape for probe in probes):
        return nowhere
    eps = torch.finfo(layers.settings.torch_dtype).eps
    faithful, pairs = ~nowhere, []
    for probe in probes:
        found, q = (float64(probe[f"{kind}/{name}"]) for kind in ("gradient", "forward"))
        unrounded = layers.apply(stage, layers.inputs(stage, probe)).reshape(q.shape)
        own, size = _own(layers, terms, name, probe)
        ideal, _ = _own(layers, terms, name, {**probe, f"forward/{name}": unrounded.numpy()})
        faithful &= (found - own).abs() <= GRADIENT * eps * size
        faithful &= (q - unrounded).abs() <= PROBABILITY * eps * unrounded
        pairs.append((found, ideal, found * q * (1 - q)))
    a, b = pairs
    largest = [max(float(x.abs().max()) for x in pair) for pair in zip(a, b, strict=True)]
    _, ideals, passed = ((x - y).abs() for x, y in zip(a, b, strict=True))
    faithful &= (ideals <= rtol * largest[0]) & (passed <= rtol * largest[2])
    return faithful & (difference.abs() > rtol * largest[0])


def _own(layers: Layers, terms: list[Stage], name: str, probe: Probe) -> tuple[Tensor, Tensor]:
    """The gradient that a side's own values give, and the size of what it is the sum of."""
    parts = [layers.term_gradient(term, name, probe) for term in terms]
    shape = probe[f"forward/{name}"].shape
    whole = torch.stack([part.reshape(shape) for part in parts])
    return whole.sum(0), whole.abs().sum(0)
