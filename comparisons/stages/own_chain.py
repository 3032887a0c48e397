"""Whether what one side returned follows, stage by stage, from its own values.

Two sides may differ by rounding in what a sum is made of, and the sum then differs by more
(`comparisons.stages.compare`). A mistake in these values that is as small as the rule allows would
do the same. So each stage's result is computed in float64 from the same side's inputs, and each
gradient from the same side's gradients with respect to the results that follow it: what is left is
the rounding of one stage, whatever earlier stages have made of theirs.
"""

from __future__ import annotations

import torch
from torch import Tensor

from comparisons.expected.functions import batch_statistics, per_channel, reduced_axes
from comparisons.expected.layers import Layers, float64
from pyvae.model.stages import Probe, Stage

__all__ = ["OwnChain", "normalised"]

# Of one stage, relative to its largest element. Measured in float32, in steps 6 and 7 of
# `clustering` on MNIST: at most 7e-6, of batch norms; 1.4e-6 elsewhere. In float64 PyTorch's batch
# norm sums pixel by pixel: 4e-14 of 8,400 pixels.
ROUNDING = {"float32": 1.5e-5, "float64": 2e-12}
# Of a batch norm's input and its mean, which are subtracted, in units of the precision (1.2e-7 in
# float32); measured there: 6.6
MEAN = 8


def normalised(layers: Layers, stage: Stage, probe: Probe) -> Tensor | None:
    """What a batch norm has made of its input before weight and bias, of its own result: it is
    rounded where its input hardly varies. None where a weight of 0 has taken it."""
    result = float64(probe[f"forward/{stage.name}"])
    weight, bias = (per_channel(one, result) for one in layers.weights(stage, probe))
    return (result - bias) / weight if bool((weight != 0).all()) else None


class OwnChain:
    """One side's step, held against itself.

    Arguments:
        layers: Of the step.
        probe: What the side's stages returned.
    """

    def __init__(self, layers: Layers, probe: Probe) -> None:
        self.layers, self.probe = layers, probe
        self.rounding = ROUNDING[layers.settings.dtype]
        self.eps = torch.finfo(layers.settings.torch_dtype).eps
        self.known: dict[str, bool] = {}

    def result_follows(self, name: str) -> bool:
        """Whether a stage's result, and all that it is computed from, does."""
        key = f"forward/{name}"
        if key not in self.known:
            self.known[key] = key in self.probe and self._result(self.layers.stages[name])
        return self.known[key]

    def gradient_follows(self, name: str) -> bool:
        """Whether the gradient with respect to a stage's result, and all that it is computed from,
        does."""
        key = f"gradient/{name}"
        if key not in self.known:
            self.known[key] = key in self.probe and self._gradient(name)
        return self.known[key]

    def _result(self, stage: Stage) -> bool:
        if stage.layer == "input":
            return True
        if not all(self.result_follows(name) for name in stage.inputs):
            return False
        weights = self.layers.weights(stage, self.probe)
        inputs = self.layers.inputs(stage, self.probe)
        further: Tensor | float = 0.0
        if stage.layer == "batch_norm":  # its input is rounded against its spread
            (x,) = inputs
            scaled = weights[0].abs() * x.abs().amax(reduced_axes(x)) / _spread(stage, x)
            further = MEAN * self.eps * per_channel(scaled, x)
        expected = self.layers.apply(stage, inputs, weights)
        return self._is(f"forward/{stage.name}", expected, further)

    def _gradient(self, name: str) -> bool:
        takers = self.layers.takers(name)
        terms = [s for s in self.layers.stages.values() if s.is_term and name in s.inputs]
        given = [one for stage in (*takers, *terms) for one in stage.inputs]
        if not all(self.gradient_follows(taker.name) for taker in takers):
            return False
        if not all(self.result_follows(one) for one in given if one in self.layers.stages):
            return False
        parts = [self._backward(taker, name) for taker in takers]
        parts += [self.layers.term_gradient(term, name, self.probe) for term in terms]
        if not parts:
            return False
        whole = torch.stack([part.reshape(parts[0].shape) for part in parts]).sum(0)
        return self._is(f"gradient/{name}", whole)

    def _backward(self, stage: Stage, name: str) -> Tensor:
        """A layer's backward pass; of a sigmoid and a batch norm by way of its own result."""
        gradient = float64(self.probe[f"gradient/{stage.name}"])
        result = float64(self.probe[f"forward/{stage.name}"])
        if stage.layer == "sigmoid":
            return gradient * result * (1 - result)
        scaled = normalised(self.layers, stage, self.probe) if stage.layer == "batch_norm" else None
        if scaled is None:
            return self.layers.backward(stage, self.probe, gradient)[name]
        axes = reduced_axes(result)
        (x,) = self.layers.inputs(stage, self.probe)
        factor = self.layers.weights(stage, self.probe)[0] / _spread(stage, x)
        rest = gradient - per_channel(gradient.mean(axes), result)
        rest -= scaled * per_channel((gradient * scaled).mean(axes), result)
        return per_channel(factor, result) * rest

    def _is(self, key: str, expected: Tensor, further: Tensor | float = 0.0) -> bool:
        """Whether a quantity is what it should be, but for the rounding of one stage."""
        found = float64(self.probe[key])
        if found.numel() != expected.numel():
            return False
        off = (found - expected.reshape(found.shape)).abs()
        return bool((off <= self.rounding * found.abs().max() + further).all())


def _spread(stage: Stage, x: Tensor) -> Tensor:
    """What a batch norm divides by, (C,)."""
    return (batch_statistics(x)[1] + stage.options["eps"]).sqrt()
