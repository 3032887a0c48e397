"""Mistaken derivatives of activations: the value is right, what goes back is not."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from comparisons.ports.mistakes.elementwise.activations import ACTIVATIONS
from comparisons.ports.mistakes.mistake import Call, mistake

Made = Iterator[tuple[str, Tensor]]
SOFT = ("softmax", "log_softmax", "softmin", "softmax2d")
KINKED = ("relu", "relu6", "leaky_relu", "prelu")


def with_slope(call: Call, slope: Tensor | float) -> Tensor:
    """What a layer returns, with another derivative with respect to each element that goes in."""
    x = call.inputs[0]
    slope = slope.detach() if isinstance(slope, Tensor) else slope
    return call(x.detach()) + (x - x.detach()) * slope


def _slope(call: Call, x: Tensor) -> Tensor:
    """The right derivative, elsewhere."""
    at = x.detach().clone().requires_grad_()
    return torch.autograd.grad(call(at).sum(), at)[0]


@mistake((*ACTIVATIONS, *SOFT), "its gradient passes as if it were not there", backward=True)
def passed_through(call: Call) -> Tensor:
    return with_slope(call, 1.0)


@mistake(ACTIVATIONS, "its derivative at what it returns, not at what goes in", backward=True)
def at_output(call: Call) -> Tensor:
    return with_slope(call, _slope(call, call()))


@mistake(("sigmoid", "tanh"), backward=True)
def of_input(call: Call) -> Made:
    x = call.inputs[0]
    if call.layer == "sigmoid":
        yield (
            "its derivative x (1 - x) of what goes in, not of what it returns",
            with_slope(call, x * (1 - x)),
        )
        yield "its derivative without 1 - y: y alone", with_slope(call, call())
    else:
        yield (
            "its derivative 1 - x^2 of what goes in, not of what it returns",
            with_slope(call, 1 - x**2),
        )
        yield "its derivative 1 - y, not 1 - y^2", with_slope(call, 1 - call())


@mistake(KINKED, backward=True)
def at_kink(call: Call) -> Made:
    x, right = call.inputs[0], _slope(call, call.inputs[0])
    zero = x == 0
    if bool(zero.any()):
        for number in (1.0, 0.5, 0.0):
            slope = torch.where(zero, number, right)
            if not torch.equal(slope, right):
                words = f"its derivative where x is 0 is {number:g}, not {float(right[zero][0]):g}"
                yield words, with_slope(call, slope)


@mistake("leaky_relu", "no gradient where x is negative, as of ReLU", backward=True)
def none_below(call: Call) -> Tensor:
    x = call.inputs[0]
    return with_slope(call, (x > 0).to(x.dtype))


@mistake(SOFT, backward=True)
def element_by_element(call: Call) -> Made:
    right = call()
    if call.layer == "log_softmax":
        words = "its derivative 1 - p of each class alone: that to the others missing"
        yield words, with_slope(call, 1 - right.exp())
        return
    sign = -1 if call.layer == "softmin" else 1
    words = "its derivative y (1 - y) of each class alone: that to the others missing"
    yield words, with_slope(call, sign * right * (1 - right))
