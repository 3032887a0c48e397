"""Mistaken activations: another one, none, another constant."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from comparisons.diagnosis.mistakes.suspects import slope, two_numbers
from comparisons.ports.mistakes.mistake import Call, mistake

Made = Iterator[tuple[str, Tensor]]
Function = Callable[[Tensor], Tensor]

# What people have in the place of another
USUAL: dict[str, Function] = {
    "relu": F.relu,
    "relu6": F.relu6,
    "elu": F.elu,
    "selu": F.selu,
    "gelu": F.gelu,
    "silu": F.silu,
    "mish": F.mish,
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "softplus": F.softplus,
    "softsign": F.softsign,
    "hardtanh": F.hardtanh,
    "hardswish": F.hardswish,
    "hardsigmoid": F.hardsigmoid,
    "logsigmoid": F.logsigmoid,
    "leaky_relu": F.leaky_relu,
    "leaky_relu with slope 0.2": lambda x: F.leaky_relu(x, 0.2),
    "x sigmoid(1.702 x)": lambda x: x * torch.sigmoid(1.702 * x),
    "Keras's hard sigmoid, 0.2 x + 0.5,": lambda x: (0.2 * x + 0.5).clamp(0, 1),
    "LeCun's tanh, 1.7159 tanh(2 x / 3),": lambda x: 1.7159 * torch.tanh(2 / 3 * x),
    "the absolute value": torch.abs,
    "exp": torch.exp,
    "the square of relu": lambda x: F.relu(x) ** 2,
}
ACTIVATIONS = (
    "relu", "relu6", "leaky_relu", "prelu", "elu", "celu", "selu", "gelu", "silu", "mish", "tanh",
    "sigmoid", "softplus", "softsign", "hardtanh", "hardswish", "hardsigmoid", "log_sigmoid",
    "logsigmoid", "hardshrink", "softshrink", "tanhshrink", "threshold",
)  # fmt: skip
# What is the same layer with another option, and is named so
BY_OPTION = {"leaky_relu": ("relu", "leaky_relu with slope 0.2"), "celu": ("elu",)}
NAMED = (0.0, 0.01, 0.2, 1.0, -1.0)  # slopes that have names of their own
SMALL = 1e-6  # relative: two constants nearer than that are one


@mistake(ACTIVATIONS)
def another_activation(call: Call) -> Made:
    x = call.inputs[0]
    for words, function in USUAL.items():
        if words != call.layer and words not in BY_OPTION.get(call.layer, ()):
            yield f"{words} where it is {call.layer}", function(x)
    yield f"no {call.layer}: what goes in", x * 1


@mistake(ACTIVATIONS)
def applied_otherwise(call: Call) -> Made:
    x = call.inputs[0]
    yield f"{call.layer} taken twice", call(call())
    yield f"{call.layer} of -x, not of x", call(-x)
    if call.layer in ("tanh", "sigmoid"):
        yield f"{call.layer} of 2 x, not of x", call(2 * x)
        yield f"{call.layer} of x / 2, not of x", call(x / 2)


def _fitted_slope(found: Tensor, x: Tensor) -> float | None:
    """Of what is below zero."""
    below = (x < 0).to(x.dtype)
    return slope(found * below, x * below) if found.shape == x.shape else None


def _is_other(found: float | None, right: float) -> bool:
    return found is not None and abs(found - right) > SMALL * max(1.0, abs(right))


@mistake("relu")
def leaky(call: Call, found: Tensor) -> Made:
    x = call.inputs[0]
    other = _fitted_slope(found, x)
    if other is not None and all(_is_other(other, one) for one in NAMED):
        words = f"leaky_relu with slope {other:.6g} where it is relu"
        yield words, torch.where(x > 0, x, other * x)


@mistake("leaky_relu")
def other_slope(call: Call, found: Tensor) -> Made:
    x, right = call.inputs[0], float(call.options["negative_slope"])
    other = _fitted_slope(found, x)
    named = (right, right**2, 0.1, 0.3, *NAMED)
    if other is not None and all(_is_other(other, one) for one in named):
        yield f"negative_slope = {two_numbers(other, right)}", torch.where(x > 0, x, other * x)
    yield (
        "its slope where x is positive, not where it is negative",
        torch.where(x < 0, x, right * x),
    )


@mistake("prelu")
def other_prelu_slope(call: Call, found: Tensor) -> Made:
    x, weight = call.inputs[0], call["weight"]
    if weight.numel() > 1:
        yield "the first channel's slope for all channels", call(weight=weight[:1])
        yield "the mean slope for all channels", call(weight=weight.mean().reshape(1))
        yield "its slopes in reverse order", call(weight=weight.flip(0))
        last = x.shape[-1] == weight.numel() and x.dim() > 2
        if last and x.shape[1] == weight.numel():
            words = "a slope for each place of the last axis, not for each channel"
            yield words, call(x.transpose(1, -1)).transpose(1, -1)
    other, right = _fitted_slope(found, x), float(weight.detach().mean())
    known = (right, right**2, float(weight.detach()[0]), *NAMED)
    if other is not None and all(_is_other(other, one) for one in known):
        words = f"its weight not used: slope {other:.6g}"
        yield words, torch.where(x > 0, x, other * x)
    yield "its slope where x is positive, not where it is negative", -call(-x)


@mistake(("elu", "celu"))
def other_alpha(call: Call, found: Tensor) -> Made:
    x, right = call.inputs[0], float(call.options["alpha"])
    if found.shape != x.shape:
        return
    below = (x < 0).to(x.dtype)
    other = slope(found * below, torch.expm1(x) * below)
    usual = (right, 1.0, 0.1, 0.2, 0.3)  # which are named as options
    if other is not None and other > 0 and all(_is_other(other, one) for one in usual):
        yield f"alpha = {two_numbers(other, right)}", F.elu(x, other)
    if right != 1:
        continuous, plain = F.celu(x, right), F.elu(x, right)
        if call.layer == "elu":
            yield "CELU, alpha (exp(x / alpha) - 1), where it is ELU", continuous
        else:
            yield "ELU, alpha (exp(x) - 1), where it is CELU", plain


@mistake("selu")
def other_selu(call: Call) -> Made:
    x = call.inputs[0]
    alpha, scale = 1.6732632423543772, 1.0507009873554805
    yield "its scale of 1.0507 missing", F.elu(x, alpha)
    yield "its alpha of 1.6733 missing", scale * F.elu(x)


@mistake("gelu")
def other_gelu(call: Call) -> Made:
    x, inner = call.inputs[0], math.sqrt(2 / math.pi)
    words = "its approximation by tanh, without the cube"
    yield words, 0.5 * x * (1 + torch.tanh(inner * x))
    yield "erf(x), not erf(x / sqrt(2))", 0.5 * x * (1 + torch.erf(x))
    yield "its normal distribution function alone, not times x", 0.5 * (1 + torch.erf(x / 2**0.5))


@mistake("softplus")
def other_softplus(call: Call) -> Made:
    x, beta = call.inputs[0], float(call.options["beta"])
    yield "log(exp(x) - 1), its inverse", torch.log(torch.expm1(x.clamp(min=1e-9)))
    yield "log(1 + x)", torch.log1p(x)
    yield "squared", call() ** 2
    for other in (2.0, 5.0, 10.0):  # 1 and 0.5 are usual
        if other != beta:
            yield f"beta = {two_numbers(other, beta)}", call(beta=other)
    if beta != 1:
        yield f"not divided by beta, {beta:g}", call() * beta


@mistake(("hardtanh", "relu6"))
def other_bounds(call: Call, found: Tensor) -> Made:
    x = call.inputs[0]
    low, high = (0.0, 6.0) if call.layer == "relu6" else (
        float(call.options["min_val"]), float(call.options["max_val"])
    )  # fmt: skip
    if found.shape != x.shape or not found.numel():
        return
    bounds = float(found.min()), float(found.max())
    if bounds == (low, high) or bounds in ((-1.0, 1.0), (0.0, 6.0)):
        return
    if float((found == bounds[1]).sum()) > 1 and _is_other(bounds[1], high):
        words = f"held at {bounds[1]:.6g} or less where it is {high:g}"
        yield words, x.clamp(low, bounds[1])
    if float((found == bounds[0]).sum()) > 1 and _is_other(bounds[0], low):
        words = f"held at {bounds[0]:.6g} or more where it is {low:g}"
        yield words, x.clamp(bounds[0], high)
        if float((found == bounds[1]).sum()) > 1 and _is_other(bounds[1], high):
            words = f"held in [{bounds[0]:.6g}, {bounds[1]:.6g}] where it is [{low:g}, {high:g}]"
            yield words, x.clamp(*bounds)


@mistake("hardsigmoid")
def other_hardsigmoid(call: Call) -> Made:
    x = call.inputs[0]
    yield "x / 6, its 1/2 missing", (x / 6).clamp(0, 1)
    yield "0.25 x + 1/2 where it is x / 6 + 1/2", (0.25 * x + 0.5).clamp(0, 1)


@mistake("glu")
def other_glu(call: Call) -> Made:
    x, axis = call.inputs[0], int(call.options["dim"])
    a, b = x.chunk(2, axis)
    yield "its halves exchanged: the first is the gate", b * torch.sigmoid(a)
    yield "no sigmoid of its gate", a * b
    yield "tanh of its gate, where it is the sigmoid", a * torch.tanh(b)
    yield "ReLU of its gate, where it is the sigmoid (ReGLU)", a * F.relu(b)
    yield "GELU of its gate, where it is the sigmoid (GEGLU)", a * F.gelu(b)
    yield "SiLU of its gate, where it is the sigmoid (SwiGLU)", a * F.silu(b)
    yield "tanh of its value", torch.tanh(a) * torch.sigmoid(b)
    every = x.unflatten(axis, (-1, 2))
    value, gate = every.unbind(axis if axis < 0 else axis + 1)
    words = "value and gate from every other feature, not from the halves"
    yield words, value * torch.sigmoid(gate)


@mistake(("hardshrink", "softshrink"))
def other_shrinkage(call: Call) -> Made:
    x, width = call.inputs[0], float(call.options["lambd"])
    if call.layer == "hardshrink":
        yield "a soft shrinkage where it is a hard one", F.softshrink(x, width)
    else:
        yield "a hard shrinkage where it is a soft one", F.hardshrink(x, width)
    for other in (0.5, 0.1, 1.0):
        if other not in (width, 2 * width):  # a soft shrinkage taken twice has twice the width
            yield f"lambd {two_numbers(other, width)}", call(lambd=other)
