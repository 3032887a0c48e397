"""SGD, RMSprop, Adagrad and Adadelta, with the mistakes that people make of them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from comparisons.ports.expected.update import Update
from comparisons.ports.updates.parts import Part

__all__ = ["ADADELTA_WAYS", "ADAGRAD_WAYS", "RMSPROP_WAYS", "SGD_WAYS", "plain"]


def plain(part: Part) -> Update | None:
    """The learning rate times the gradient, and nothing else."""
    return Update(part.start - part.settings["lr"] * part.gradient)


def _decayed(part: Part) -> Tensor:
    """The gradient with its weight decay."""
    g = -part.gradient if part.settings.get("maximize") else part.gradient
    return g + part.settings.get("weight_decay", 0.0) * part.start


@dataclass(frozen=True)
class Sgd:
    """SGD with momentum, as others write it.

    Attributes:
        rate_inside: Whether the velocity has the learning rate in it (Sutskever et al. 2013).
        dampened: Whether the first gradient is dampened, too; an average has 1 - momentum of it.
        averaged: Whether the buffer is an average of gradients, not their sum.
        decoupled: Whether weight decay is kept out of the momentum.
        looks_ahead: Whether it is Nesterov's; None for what is declared.
        late: Whether the step is made of the buffer before this gradient is in it.
    """

    rate_inside: bool = False
    dampened: bool = False
    averaged: bool = False
    decoupled: bool = False
    looks_ahead: bool | None = None
    late: bool = False

    def __call__(self, part: Part) -> Update | None:
        given = part.settings
        rate, momentum = float(given["lr"]), float(given["momentum"])
        g = _decayed(part)
        if self.decoupled:
            g = -part.gradient if given.get("maximize") else part.gradient
        ahead = given["nesterov"] if self.looks_ahead is None else self.looks_ahead
        part_of_new = 1 - float(given["dampening"])
        if self.averaged:
            part_of_new = 1 - momentum
        if self.rate_inside:
            return _sutskever(part, g, rate, momentum, bool(ahead))
        first = "momentum_buffer" not in part.before and not (self.dampened or self.averaged)
        buffer = g if first else momentum * part.moment("momentum_buffer") + part_of_new * g
        used = part.moment("momentum_buffer") if self.late else buffer
        step = g + momentum * used if ahead else used
        start = part.start
        if self.decoupled:
            start = start * (1 - rate * float(given["weight_decay"]))
        return Update(start - rate * step, {"momentum_buffer": buffer})


def _sutskever(part: Part, g: Tensor, rate: float, momentum: float, ahead: bool) -> Update | None:
    """velocity = momentum * velocity - rate * gradient; the velocity is added to the parameter. Its
    state may be of either sign, or not be recorded."""
    recorded = part.state.get("momentum_buffer")
    last = part.last_move
    for sign in (1.0, -1.0):
        velocity = sign * part.moment("momentum_buffer")
        if recorded is None and last is not None and not ahead:
            velocity = last
        velocity = momentum * velocity - rate * g
        if recorded is None or torch.dot(velocity.flatten(), sign * recorded.flatten()) >= 0:
            step = momentum * velocity - rate * g if ahead else velocity
            return Update(part.start + step, {"momentum_buffer": sign * velocity})
    return None


@dataclass(frozen=True)
class RmsProp:
    """RMSprop (Tieleman & Hinton 2012), as others write it.

    Attributes:
        eps: `outside` the root or `inside` it.
        rate_inside: Whether the momentum has the learning rate in it, as TensorFlow's.
        exchanged: Whether alpha and 1 - alpha are.
        initial: What the average of squares starts from.
        late: Whether the step is divided by the average before this gradient is in it.
        root: Whether the square root is taken.
        power: Of the gradient in the average.
        momentum_only: Whether it is no way of its own without momentum.
    """

    eps: str = "outside"
    rate_inside: bool = False
    exchanged: bool = False
    initial: float = 0.0
    late: bool = False
    root: bool = True
    power: int = 2
    momentum_only: bool = False

    def __call__(self, part: Part) -> Update | None:
        given, g = part.settings, _decayed(part)
        if self.momentum_only and not given["momentum"]:
            return None
        alpha = float(given["alpha"])
        alpha = 1 - alpha if self.exchanged else alpha
        before = part.moment("square_avg")
        if "square_avg" not in part.before:
            before = before + self.initial
        square = alpha * before + (1 - alpha) * g.abs() ** self.power
        spread = before if self.late else square
        state = {"square_avg": square}
        if given["centered"]:
            state["grad_avg"] = alpha * part.moment("grad_avg") + (1 - alpha) * g
            spread = square - state["grad_avg"] ** 2
        eps = float(given["eps"])
        size = (spread + eps).sqrt() if self.eps == "inside" else spread.sqrt() + eps
        size = size if self.root else spread + eps
        rate, momentum = float(given["lr"]), float(given["momentum"])
        step = g / size * (rate if self.rate_inside else 1.0)
        if momentum:
            step = momentum * part.moment("momentum_buffer") + step
            state["momentum_buffer"] = step
        return Update(part.start - (1.0 if self.rate_inside else rate) * step, state)


@dataclass(frozen=True)
class Adagrad:
    """Adagrad (Duchi et al. 2011), as others write it.

    Attributes:
        initial: What the sum of squares starts from.
        eps: `outside` the root or `inside` it.
        late, root, power: As of `RmsProp`.
    """

    initial: float | None = None
    eps: str = "outside"
    late: bool = False
    root: bool = True
    power: int = 2

    def __call__(self, part: Part) -> Update | None:
        given, g = part.settings, _decayed(part)
        before = part.moment("sum")
        if self.initial is not None:
            if part.count > 1:  # then it is in the state
                return part.right
            before = torch.full_like(before, self.initial)
        total = before + g.abs() ** self.power
        rate = float(given["lr"]) / (1 + (part.count - 1) * float(given["lr_decay"]))
        eps = float(given["eps"])
        spread = before if self.late else total
        size = (spread + eps).sqrt() if self.eps == "inside" else spread.sqrt() + eps
        size = size if self.root else spread + eps
        return Update(part.start - rate * g / size, {"sum": total})


@dataclass(frozen=True)
class Adadelta:
    """Adadelta (Zeiler 2012), as others write it: with `eps` beside the roots, or without the
    average of earlier updates."""

    eps: str = "inside"
    averaged: bool = True

    def __call__(self, part: Part) -> Update | None:
        given, g = part.settings, _decayed(part)
        rho, eps = float(given["rho"]), float(given["eps"])
        square = rho * part.moment("square_avg") + (1 - rho) * g**2
        earlier = part.moment("acc_delta")
        if self.eps == "inside":
            step = (earlier + eps).sqrt() / (square + eps).sqrt() * g
        else:
            step = (earlier.sqrt() + eps) / (square.sqrt() + eps) * g
        if not self.averaged:
            step = g / (square + eps).sqrt()
        state = {"square_avg": square, "acc_delta": rho * earlier + (1 - rho) * step**2}
        return Update(part.start - float(given["lr"]) * step, state)


SGD_WAYS = {
    "the learning rate is inside the momentum (Keras's way: velocity = momentum * velocity - lr * "
    "gradient)": Sgd(rate_inside=True),
    "the first gradient is dampened, too": Sgd(dampened=True),
    "the momentum is an average: (1 - momentum) times the new gradient": Sgd(averaged=True),
    "weight decay decoupled from the gradient, not added to it": Sgd(decoupled=True),
    "Nesterov's momentum": Sgd(looks_ahead=True),
    "momentum that is not Nesterov's": Sgd(looks_ahead=False),
    "the momentum buffer of the step before in the update": Sgd(late=True),
}  # fmt: skip
RMSPROP_WAYS = {
    "eps inside the square root (TensorFlow's way)": RmsProp(eps="inside"),
    "the learning rate is inside the momentum (TensorFlow's way)": RmsProp(rate_inside=True),
    "eps inside the square root, and the learning rate inside the momentum (Keras's way)": RmsProp(
        eps="inside", rate_inside=True, momentum_only=True
    ),
    "alpha and 1 - alpha exchanged": RmsProp(exchanged=True),
    "the average of squares starts from 1 (TensorFlow 1's way)": RmsProp(initial=1.0),
    "no square root of the average of squares": RmsProp(root=False),
    "the gradient is not squared in the average": RmsProp(power=1),
    "the average of squares of the step before in the update": RmsProp(late=True),
}
ADAGRAD_WAYS = {
    "the sum of squares starts from 0.1 (Keras's way)": Adagrad(initial=0.1),
    "eps inside the square root": Adagrad(eps="inside"),
    "no square root of the sum of squares": Adagrad(root=False),
    "the gradient is not squared in the sum": Adagrad(power=1),
    "the sum of squares of the step before in the update": Adagrad(late=True),
}
ADADELTA_WAYS = {
    "eps beside the square roots": Adadelta(eps="outside"),
    "not times the root of the earlier updates' average (RMSprop)": Adadelta(averaged=False),
}
