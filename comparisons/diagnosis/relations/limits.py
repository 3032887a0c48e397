"""Whether one side is the other rounded, held within limits, or put through a usual function."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from comparisons.diagnosis.closeness import distance, magnitude
from comparisons.diagnosis.relations.two_values import FEWEST, TwoValues

__all__ = ["functions", "limited", "rounded"]

ROUNDING = 1e-3  # of a difference: what rounding may leave unexplained
TYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}
MOST_DIGITS = 9


def rounded(two: TwoValues) -> list[str]:
    """Whether one side is the other rounded."""
    for one in two.both_ways():
        for words, value, step in _roundings(one.a):
            near = distance(value, one.b) <= ROUNDING * one.size
            if near and _is_spread((one.a - one.b).abs() / step, one.a):
                return [f"{one.names[1]} is {one.names[0]} {words}"]
    return []


def _roundings(x: Tensor) -> Iterator[tuple[str, Tensor, Tensor]]:
    """x rounded, and by how much each element may have been."""
    for words, dtype in TYPES.items():
        power = x.abs().clamp(min=torch.finfo(dtype).tiny).log2().floor()
        yield f"rounded to {words}", x.to(dtype).to(x.dtype), torch.finfo(dtype).eps / 2 * 2**power
    if magnitude(x) <= 1 and float(x.min()) >= 0:
        step = torch.ones_like(x) / 255
        yield "rounded to 256 levels (uint8)", (x * 255).round() / 255, step / 2
        yield "cut off to 256 levels (uint8)", (x * 255).floor() / 255, step
    one = torch.ones_like(x)
    yield "rounded to whole numbers", x.round(), one / 2
    yield "cut off to whole numbers", x.trunc(), one
    for digits in range(1, MOST_DIGITS + 1):
        least = 10.0**-digits
        words = f"rounded to {digits} {'decimal' if digits == 1 else 'decimals'}"
        yield words, (x / least).round() * least, one * least / 2
    power = x.abs().clamp(min=torch.finfo(x.dtype).tiny).log10().floor()
    for digits in range(3, MOST_DIGITS + 1):
        steps = 10.0 ** (power - digits + 1)
        yield f"rounded to {digits} digits", (x / steps).round() * steps, steps / 2


MANY = 50  # different numbers


def _is_spread(parts: Tensor, x: Tensor) -> bool:
    """Whether roundings are of all sizes, from none to the most that it may be. Noise that is
    added to rounded numbers, and so small that rounding takes it away, is not."""
    _, first = np.unique(x.flatten().numpy(), return_index=True)
    each = parts.flatten()[torch.from_numpy(first)]
    each = each[each > 0]
    return len(each) >= MANY and 0.35 <= float(each.median()) <= 0.65 and float(each.max()) > 0.9


def limited(two: TwoValues) -> list[str]:
    """Whether one side is the other held within limits."""
    for one in two.both_ways():
        low, high = float(one.b.min()), float(one.b.max())
        below, above = (int((one.b == limit).sum()) >= FEWEST for limit in (low, high))
        if low == high:
            continue
        ways = []
        if below:
            ways.append((f"held at {low:.6g} or more", one.a.clamp(min=low)))
        if above:
            ways.append((f"held at {high:.6g} or less", one.a.clamp(max=high)))
        if below and above:
            ways.append((f"held between {low:.6g} and {high:.6g}", one.a.clamp(low, high)))
        for words, value in ways:
            if distance(value, one.b) <= ROUNDING * one.size:
                return [f"{one.names[1]} is {one.names[0]} {words}"]
        for limit, words in ((low, "more"), (high, "less")):
            free = one.b != limit
            if not FEWEST <= int(free.sum()) <= one.b.numel() - FEWEST:
                continue
            times = float((one.a[free] * one.b[free]).sum() / (one.a[free] ** 2).sum())
            value = times * one.a
            held = value.clamp(min=low) if words == "more" else value.clamp(max=high)
            if one.is_b(held):
                return [
                    f"{one.names[1]} is {one.names[0]} times {times:.6g}, held at {limit:.6g} or "
                    f"{words}"
                ]
    return []


FUNCTIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "|x|": torch.abs,
    "x^2": torch.square,
    "sqrt(x)": torch.sqrt,
    "1/x": torch.reciprocal,
    "1/sqrt(x)": torch.rsqrt,
    "exp(x)": torch.exp,
    "exp(x / 2)": lambda x: torch.exp(x / 2),
    "exp(2 x)": lambda x: torch.exp(2 * x),
    "exp(-x)": lambda x: torch.exp(-x),
    "2 log(x)": lambda x: 2 * torch.log(x),
    "log(x)": torch.log,
    "log(1 + x)": torch.log1p,
    "log2(x)": torch.log2,
    "log10(x)": torch.log10,
    "1 - x^2": lambda x: 1 - x * x,
    "sigmoid(x)": torch.sigmoid,
    "tanh(x)": torch.tanh,
    "softplus(x)": F.softplus,
    "ReLU of x": torch.relu,
}


def functions(two: TwoValues) -> list[str]:
    """Whether one side is a usual function of the other: of each element, or softmax."""
    if len(torch.unique(two.a)) < FEWEST or len(torch.unique(two.b)) < FEWEST:
        return []
    for one in two.both_ways():
        for words, function in FUNCTIONS.items():
            if one.makes_b(function):
                return [f"{one.names[1]} is {words}, where x is {one.names[0]}"]
        for axis in dict.fromkeys((one.a.dim() - 1, 1, 0)) if one.a.dim() > 1 else ():
            log = torch.log_softmax(one.a, axis)
            for name, value in (("softmax", log.exp()), ("log-softmax", log)):
                if one.a.shape[axis] > 1 and one.is_b(value):
                    return [f"{one.names[1]} is the {name} of {one.names[0]} along axis {axis}"]
    return _temperature(two)


def _temperature(two: TwoValues) -> list[str]:
    """Whether both are a softmax of the same logits, of which one side's were scaled."""
    if two.a.dim() < 2 or (two.a <= 0).any() or (two.b <= 0).any():
        return []
    ones = [x.sum(-1) for x in (two.a, two.b)]
    if any(distance(x, torch.ones_like(x)) > 1e-5 for x in ones) or two.a.shape[-1] < 3:
        return []
    x, y = (value.log() - value.log().mean(-1, keepdim=True) for value in (two.a, two.b))
    square = float((x * x).sum())
    if not square:
        return []
    times = float((x * y).sum()) / square
    if times > 0 and two.is_b(torch.softmax(times * x, -1)):
        return [
            f"{two.names[1]} is the softmax of {two.names[0]}'s logits divided by {1 / times:.6g}: "
            "another temperature"
        ]
    return []
