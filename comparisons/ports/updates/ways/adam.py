"""Adam and its relatives, with the mistakes that people make of them.

Kingma & Ba (2015), "Adam: a method for stochastic optimization"; Loshchilov & Hutter (2019),
"Decoupled weight decay regularization"; Dozat (2016), "Incorporating Nesterov momentum into Adam".
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from comparisons.ports.expected.update import Update
from comparisons.ports.updates.parts import Part

__all__ = ["ADAM_WAYS", "Adam"]

Moment = Callable[[Tensor, Tensor, float], Tensor]  # of the one before, the gradient and beta


def average(before: Tensor, new: Tensor, beta: float) -> Tensor:
    return beta * before + (1 - beta) * new


def summed(before: Tensor, new: Tensor, beta: float) -> Tensor:
    return beta * before + new


def exchanged(before: Tensor, new: Tensor, beta: float) -> Tensor:
    return (1 - beta) * before + beta * new


@dataclass(frozen=True)
class Adam:
    """An update as Adam makes it, or as a mistaken one does.

    Attributes:
        decay: `l2` (added to the gradient), `decoupled`, `without rate` (decoupled, not times the
            learning rate), `none`; empty for what the optimiser's name stands for.
        correct: Whether the first and the second moment are corrected for their start at zero.
        later: What is added to the number of the step in the correction, of either moment.
        moments, corrections: The betas of these alone, if they are not those that are declared.
        stays: Whether this number is 1 in every step.
        eps: `outside` the root, `inside` it, or `before` the correction.
        first, second: How the moments follow from those before.
        power: Of the gradient in the second moment.
        late: Whether the step is made of the moments before this gradient is in them.
        root: Whether the square root of the second moment is taken.
        amsgrad: Whether the largest second moment is taken; None for what is declared.
        ahead: Nadam's momentum of the next step: its schedule's rate (None without a schedule).
        other: Settings in place of the declared ones.
    """

    decay: str = ""
    correct: tuple[bool, bool] = (True, True)
    later: tuple[int, int] = (0, 0)
    moments: tuple[float, float] | None = None
    corrections: tuple[float, float] | None = None
    stays: bool = False
    eps: str = "outside"
    first: Moment = average
    second: Moment = average
    power: int = 2
    late: bool = False
    root: bool = True
    amsgrad: bool | None = None
    ahead: tuple[float | None] | None = None
    other: tuple[tuple[str, Any], ...] = ()

    def __call__(self, part: Part) -> Update | None:
        given = {**part.settings, **dict(self.other)}
        rate, (beta1, beta2) = float(given["lr"]), given["betas"]
        decayed = "adamw" in part.kind or bool(given.get("decoupled_weight_decay"))
        decay = self.decay or ("decoupled" if decayed else "l2")
        weight, start, g = float(given["weight_decay"]), part.start, part.gradient
        g = -g if given.get("maximize") else g
        if decay == "l2":
            g = g + weight * start
        elif decay != "none":
            start = start * (1 - weight * (rate if decay == "decoupled" else 1))
        count = 1 if self.stays else part.count
        counts = [count + later for later in self.later]
        if min(counts) < 1:
            return None
        of_m, of_v = self.moments or (beta1, beta2)
        m = self.first(part.moment("exp_avg"), g, of_m)
        v = self.second(part.moment("exp_avg_sq"), g.abs() ** self.power, of_v)
        used, largest = (part.moment("exp_avg"), part.moment("exp_avg_sq")) if self.late else (m, v)
        if given.get("amsgrad") if self.amsgrad is None else self.amsgrad:
            largest = torch.maximum(part.largest_before("exp_avg_sq"), v)
        of_m, of_v = self.corrections or (beta1, beta2)
        c1 = 1 - of_m ** counts[0] if self.correct[0] else 1.0
        c2 = 1 - of_v ** counts[1] if self.correct[1] else 1.0
        if self.eps == "outside":
            size = (largest / c2).sqrt() + given["eps"]
        elif self.eps == "inside":
            size = (largest / c2 + given["eps"]).sqrt()
        else:
            size = (largest.sqrt() + given["eps"]) / math.sqrt(c2)
        if not self.root:
            size = largest / c2 + given["eps"]
        step = used / c1 if self.ahead is None else _ahead(m, g, beta1, count, self.ahead[0])
        return Update(start - rate * step / size, {"exp_avg": m, "exp_avg_sq": v})


DECAY = 0.96  # of Nadam's momentum, to the power of the step times a rate


def _ahead(m: Tensor, g: Tensor, beta1: float, count: int, rate: float | None) -> Tensor:
    """Nadam's step: the momentum that the next step would have."""

    def momentum(step: int) -> float:
        return beta1 if rate is None else beta1 * (1 - 0.5 * DECAY ** (step * rate))

    momenta = [momentum(step) for step in range(1, count + 2)]
    now, ahead = 1 - math.prod(momenta[:-1]), 1 - math.prod(momenta)
    return (1 - momenta[-2]) / now * g + momenta[-1] / ahead * m


# What the update of a program that says that it uses Adam may be instead
ADAM_WAYS = {
    "no bias correction of the moments": Adam(correct=(False, False)),
    "no bias correction of the first moment": Adam(correct=(False, True)),
    "no bias correction of the second moment": Adam(correct=(True, False)),
    "the step counted from 0 in the bias correction": Adam(later=(-1, -1)),
    "the step counted one too far in the bias correction": Adam(later=(1, 1)),
    "the step counted one too far in the bias correction of the first moment": Adam(later=(1, 0)),
    "the step counted one too far in the bias correction of the second moment": Adam(later=(0, 1)),
    "the step is 1 for ever in the bias correction": Adam(stays=True),
    "eps inside the square root": Adam(eps="inside"),
    "eps inside the square root, and no bias correction": Adam(
        eps="inside", correct=(False, False)
    ),
    "eps added before the bias correction (Keras's and TensorFlow's way)": Adam(eps="before"),
    "(1 - beta1) is missing in the first moment": Adam(first=summed),
    "(1 - beta2) is missing in the second moment": Adam(second=summed),
    "beta1 and 1 - beta1 exchanged": Adam(first=exchanged),
    "beta2 and 1 - beta2 exchanged": Adam(second=exchanged),
    "the gradient is not squared in the second moment": Adam(power=1),
    "no square root of the second moment": Adam(root=False),
    "the moments of the step before in the update": Adam(late=True),
    "weight decay added to the gradient (L2, as Adam does), not decoupled from it": Adam(
        decay="l2"
    ),
    "weight decay decoupled from the gradient (as AdamW does), not added to it": Adam(
        decay="decoupled"
    ),
    "weight decay decoupled from the gradient, and not times the learning rate": Adam(
        decay="without rate"
    ),
    "amsgrad: divided by the largest second moment so far": Adam(amsgrad=True),
    "NAdam: the next step's momentum in the update": Adam(ahead=(4e-3,)),
    "NAdam as Keras has it: the next step's momentum in the update": Adam(ahead=(1.0,)),
    "NAdam without a schedule: the next step's momentum in the update": Adam(ahead=(None,)),
}  # fmt: skip
