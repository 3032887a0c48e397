"""Mistaken moments and updates of Adam."""

from __future__ import annotations

import math
from collections.abc import Iterator

from torch import Tensor

from comparisons.diagnosis.mistakes.suspects import FEWEST, Suspects, slope, two_numbers
from comparisons.expected.layers import BETA1, BETA2, EPSILON, Layers, float64
from pyvae.model.stages import Probe

__all__ = ["first_moment_orders", "moment", "update"]


def first_moment_orders(before: Tensor, gradient: Tensor) -> Iterator[tuple[str, Tensor]]:
    """Adam's first moment in the two orders of operations that are in use."""
    yield (
        "exp_avg.mul_(beta1).add_(grad, alpha=1 - beta1), R torch's order of operations in Adam",
        before.clone().mul_(BETA1).add_(gradient, alpha=1 - BETA1),
    )
    yield (
        "exp_avg.lerp_(grad, 1 - beta1), PyTorch's order of operations in Adam "
        "(--adam r-torch has R torch's)",
        before.clone().lerp_(gradient, 1 - BETA1),
    )


def moment(
    layers: Layers, order: int, name: str, probe: Probe, before: Tensor
) -> Iterator[tuple[str, Tensor]]:
    """Of Adam's first (order 1) or second moment, given the one before. The right one first."""
    g, theta = float64(probe[f"gradient/{name}"]), float64(probe[f"start/{name}"])
    beta = (BETA1, BETA2)[order - 1]
    power = g**order
    yield "", beta * before + (1 - beta) * power
    if before.any():
        words = "the moments start anew at this step: nothing of the steps before is in them"
        yield words, (1 - beta) * power
    yield f"(1 - beta{order}) missing", beta * before + power
    yield f"beta{order} and 1 - beta{order} exchanged", (1 - beta) * before + beta * power
    if order == 2:
        yield "the gradient not squared", beta * before + (1 - beta) * g.abs()
    found = float64(probe[f"moment{order}/{name}"])
    fitted = slope(found - power, before - power)
    if fitted is not None and 0 <= fitted < 1:
        yield (
            f"beta{order} = {two_numbers(fitted, beta)}",
            (fitted * before + (1 - fitted) * power),
        )
    if order == 1:
        decay = slope((found - beta * before) / (1 - beta) - g, theta)
        if decay is not None:
            yield (
                f"weight decay {decay:.4g} added to the gradient",
                (beta * before + (1 - beta) * (g + decay * theta)),
            )


def update(layers: Layers, name: str, probe: Probe) -> Suspects:
    """Of what Adam subtracts from a parameter, given the moments. The right one comes first."""
    m, v = (float64(probe[f"{kind}/{name}"]) for kind in ("moment1", "moment2"))
    theta, after = (float64(probe[f"{kind}/{name}"]) for kind in ("start", "parameter"))
    rate, t = layers.settings.learning_rate, layers.adam_step
    c1, c2 = 1 - BETA1**t, 1 - BETA2**t
    right = layers.adam_update(m, v)
    yield "", right
    yield "epsilon inside the square root", rate * (m / c1) / (v / c2 + EPSILON).sqrt()
    yield "no bias correction", rate * m / (v.sqrt() + EPSILON)
    yield "no bias correction of the first moment", rate * m / ((v / c2).sqrt() + EPSILON)
    yield "no bias correction of the second moment", rate * (m / c1) / (v.sqrt() + EPSILON)
    yield (
        "epsilon added before the bias correction (Keras's and TensorFlow's way)",
        (rate * (c2**0.5 / c1) * m / (v.sqrt() + EPSILON)),
    )
    if t > 1:
        less1, less2 = 1 - BETA1 ** (t - 1), 1 - BETA2 ** (t - 1)
        yield (
            "the step counted from 0 in the bias correction",
            (rate * (m / less1) / ((v / less2).sqrt() + EPSILON)),
        )
    g = float64(probe[f"gradient/{name}"])
    yield "plain gradient descent", rate * g
    yield "added where it is subtracted", -right
    yield from _relatives(rate, t, g, m, v)
    found = theta - after
    factor = slope(found, right)
    if factor is not None:
        yield f"learning rate {two_numbers(factor * rate, rate)}", factor * right
    decay = slope(found - right, rate * theta)
    if decay is not None:
        yield f"decoupled weight decay {decay:.4g} (AdamW)", right + decay * rate * theta
    small = found.abs() > 0
    if int(small.sum()) >= FEWEST:
        epsilon = float((rate * (m / c1)[small] / found[small] - (v / c2)[small].sqrt()).median())
        if 0 < epsilon < 1:
            yield (
                f"epsilon = {two_numbers(epsilon, EPSILON, 3)}",
                (rate * (m / c1) / ((v / c2).sqrt() + epsilon)),
            )


DECAY = 0.96  # of NAdam's momentum, to the power of the step times a rate


def _relatives(rate: float, t: int, g: Tensor, m: Tensor, v: Tensor) -> Suspects:
    """Updates of optimisers that have Adam's moments."""
    c1, c2 = 1 - BETA1**t, 1 - BETA2**t
    size = (v / c2).sqrt() + EPSILON
    ways = {"": 4e-3, ", its momentum scheduled as in Keras": 1.0, ", without a schedule": None}
    for words, by in ways.items():
        momenta = [_momentum(step, by) for step in range(1, t + 2)]
        now, ahead = 1 - math.prod(momenta[:-1]), 1 - math.prod(momenta)
        own, next_one = (1 - momenta[-2]) / now, momenta[-1] / ahead
        yield (
            f"NAdam: the next step's momentum in the update{words}",
            rate * (own * g + next_one * m) / size,
        )
    longest = 2 / (1 - BETA2) - 1
    length = longest - 2 * t * BETA2**t / c2
    if length > 5:
        rectified = (length - 4) * (length - 2) * longest
        rectified /= (longest - 4) * (longest - 2) * length
        scale = rate * math.sqrt(rectified * c2) / c1
        yield "RAdam: the step rectified", scale * m / (v.sqrt() + EPSILON)
    else:
        words = "RAdam: in the first steps the first moment alone, not divided by the second"
        yield words, rate * m / c1


def _momentum(step: int, by: float | None) -> float:
    """NAdam's momentum at a step (Dozat 2016, "Incorporating Nesterov momentum into Adam")."""
    return BETA1 if by is None else BETA1 * (1 - 0.5 * DECAY ** (step * by))
