"""Mistaken derivatives of activations: the value is right, what goes back is not."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor

from comparisons.ports.mistakes.elementwise.activations import ACTIVATIONS
from comparisons.ports.mistakes.elementwise.softmax import soft_axis
from comparisons.ports.mistakes.mistake import Call, mistake
from comparisons.ports.mistakes.recycling import recycled

Made = Iterator[tuple[str, Tensor]]
SOFT = ("softmax", "log_softmax", "softmin", "softmax2d")
OF_SIGMOID = ("log_sigmoid", "logsigmoid")  # whose derivative it is at -x
NAMED_BELOW = ("leaky_relu", "prelu")
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


@mistake(ACTIVATIONS, backward=True)
def of_another(call: Call) -> Made:
    x, y = call.inputs[0].detach(), call().detach()
    sigmoid, tanh = torch.sigmoid(x), torch.tanh(x)
    yield "its derivative at -x, not at x", with_slope(call, _slope(call, -x))
    if call.layer not in ("relu", *NAMED_BELOW):
        words = "its derivative is ReLU's: 1 where x is positive, else 0"
        yield words, with_slope(call, (x > 0).to(x.dtype))
    if call.layer != "sigmoid":
        yield "its derivative is the sigmoid's, s (1 - s)", with_slope(call, sigmoid - sigmoid**2)
        yield "its derivative is y (1 - y), as of a sigmoid", with_slope(call, y - y**2)
    if call.layer != "tanh":
        yield "its derivative is tanh's, 1 - tanh(x)^2", with_slope(call, 1 - tanh**2)
        yield "its derivative is 1 - y^2, as of a tanh", with_slope(call, 1 - y**2)
    if call.layer not in ("softplus", "sigmoid", "silu", *OF_SIGMOID):
        yield "its derivative is the sigmoid", with_slope(call, sigmoid)


@mistake(("gelu", "silu", "mish", "hardswish", "tanhshrink"), backward=True)
def of_a_product(call: Call) -> Made:
    """Of x f(x), which is f(x) + x f'(x)."""
    x = call.inputs[0].detach()
    near = torch.full_like(x, 1e-30)
    factor = call(torch.where(x == 0, near, x)).detach() / torch.where(x == 0, near, x)
    rest = _slope(call, x) - factor
    yield "its derivative f(x) alone, without x f'(x): y is x f(x)", with_slope(call, factor)
    yield "its derivative x f'(x) alone, without f(x): y is x f(x)", with_slope(call, rest)
    yield "its derivative f(x) - x f'(x), where the two are added", with_slope(call, factor - rest)
    yield (
        "its derivative f(x) + f'(x), not f(x) + x f'(x)",
        with_slope(call, factor + torch.where(x == 0, 0 * x, rest / torch.where(x == 0, near, x))),
    )


@mistake(("elu", "celu", "selu"), backward=True)
def below(call: Call) -> Made:
    x, y = call.inputs[0].detach(), call().detach()
    right = _slope(call, x)
    words = "its derivative where x is negative is y, without alpha"
    yield words, with_slope(call, torch.where(x > 0, right, y))


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
    words = "its derivative y alone: what goes to the other classes is not subtracted"
    yield words, with_slope(call, sign * right)


@mistake(SOFT, backward=True)
def of_other_sums(call: Call) -> Made:
    """What is subtracted for the other classes is another sum."""
    x, y, axis = call.inputs[0], call().detach(), soft_axis(call)
    log = call.layer == "log_softmax"
    sign = -1 if call.layer == "softmin" else 1

    def passed(sum_of: Callable[[Tensor], Tensor], factor: Tensor) -> Tensor:
        def backward(gradient: Tensor) -> Tensor:
            if log:
                return gradient - factor * sum_of(gradient)
            return sign * factor * (gradient - sum_of(gradient * factor))

        return _Backward.apply(x, y, backward)

    right = y.exp() if log else y
    if log:
        words = "its derivative with y, the logarithm, where exp(y), the probability, belongs"
        yield words, passed(partial(torch.sum, dim=axis, keepdim=True), y)
    for other in range(x.dim()):
        if other != axis:
            words = f"the sum over the classes in its derivative is over axis {other}, not {axis}"
            yield words, passed(partial(torch.sum, dim=other, keepdim=True), right)
    if x.dim() == 2:
        words = "the sum in its derivative is of the columns, which R recycles down the columns"
        yield words, passed(lambda one: recycled(one.sum(0), one.shape), right)


class _Backward(torch.autograd.Function):
    """A value with a backward pass of its own."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, value: Tensor, backward: Callable[[Tensor], Tensor]) -> Tensor:
        ctx.back = backward
        return value.clone()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        return ctx.back(gradients[0]), None, None
