"""Two Gumbel softmaxes of the same noise, which one of them subtracts: R torch's own mistake."""

from __future__ import annotations

import numpy as np

from comparisons.ports.judging.inspected import Inspected
from comparisons.ports.matching.matched import StageMatch

__all__ = ["opposite_noise"]

LAYER = "gumbel_softmax"
SEEN = 1e-6  # a probability of which a logarithm can be taken
NEAR = 1e-3  # relative: of such logarithms, in float32
FEWEST = 4  # numbers
R_TORCH = (
    "R torch's nnf_gumbel_softmax is at fault: up to version 0.17.0 its noise is log E where it is "
    "to be -log E (E from an exponential distribution). Draw it yourself, in both programs: "
    "g <- -torch_log(torch_empty_like(x)$exponential_()), then nnf_softmax((x + g) / tau, dim = -1)"
)


def opposite_noise(step: Inspected, pair: StageMatch) -> str:
    """Says that the noise of one side has the opposite sign of the other's; empty if it has not.

    The logarithms of both results add up to twice the input over tau then, but for a number for
    each row.

    Arguments:
        step: The step.
        pair: Two stages that part.
    """
    if pair.a.layer != LAYER or pair.b.layer != LAYER or not pair.a.inputs or not pair.b.inputs:
        return ""
    tau = float(pair.a.options.get("tau", 1))
    values = [step.a.value(pair.a.inputs[0]), *(
        own.arrays.get(f"forward/{stage.outputs[0]}")
        for own, stage in ((step.a, pair.a), (step.b, pair.b))
    )]  # fmt: skip
    if any(value is None or value.dtype.kind != "f" for value in values):
        return ""
    x, a, b = (np.asarray(value, np.float64) for value in values)
    if x.shape != a.shape or a.shape != b.shape or not x.ndim:
        return ""
    seen = (a > SEEN) & (b > SEEN)
    axis = int(pair.a.options.get("dim", -1))
    both = tau / 2 * (np.log(np.maximum(a, SEEN)) + np.log(np.maximum(b, SEEN))) - x
    both = np.where(seen, both, np.nan)
    several = seen.sum(axis=axis, keepdims=True) > 1
    if (seen & several).sum() < FEWEST:
        return ""
    middle = np.nansum(both, axis=axis, keepdims=True) / np.maximum(
        1, seen.sum(axis, keepdims=True)
    )
    rest = np.abs(np.where(seen & several, both - middle, 0)).max()
    noise = np.abs(np.where(seen, tau / 2 * (np.log(a + SEEN) - np.log(b + SEEN)), 0)).max()
    if rest > NEAR * noise:
        return ""
    engines = [own.side.trace.engine for own in (step.a, step.b)]
    if "r-torch" in engines and engines[0] != engines[1]:
        return f"{step.names[engines.index('r-torch')]}: {R_TORCH}"
    return f"the noise of {step.names[1]} has the opposite sign of that of {step.names[0]}"
