"""Transposed convolutions of one to three dimensions."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from torch import Tensor

from comparisons.ports.mistakes.mistake import Call, mistake

TRANSPOSED = ("conv_transpose1d", "conv_transpose2d", "conv_transpose3d")


@mistake(TRANSPOSED, "its kernel is flipped (as of a convolution of the spread image)")
def flipped(call: Call) -> Tensor:
    weight = call["weight"]
    return call(weight=weight.flip(tuple(range(2, weight.dim()))))


@mistake("conv_transpose2d", "its kernel's rows and columns are exchanged")
def kernel_transposed(call: Call) -> Tensor | None:
    weight = call["weight"]
    return call(weight=weight.transpose(2, 3)) if weight.shape[2] == weight.shape[3] else None


@mistake(TRANSPOSED, "its weight is (outputs, inputs), where torch has (inputs, outputs)")
def channels_exchanged(call: Call) -> Tensor | None:
    weight = call["weight"]
    return call(weight=weight.transpose(0, 1)) if weight.shape[0] == weight.shape[1] else None


@mistake(
    TRANSPOSED, "its weight's memory is read as (outputs, inputs), torch has (inputs, outputs)"
)
def read_exchanged(call: Call) -> Tensor | None:
    weight = call["weight"]
    inputs, outputs, *kernel = weight.shape
    if inputs == outputs:  # then the two are exchanged
        return None
    return call(weight=weight.reshape(outputs, inputs, *kernel).transpose(0, 1))


@mistake(TRANSPOSED)
def cropped_elsewhere(call: Call) -> Iterator[tuple[str, Any]]:
    """What is cut off at one end instead of both, as where the result is cropped by hand."""
    weight, padding = call["weight"], call.options["padding"]
    sizes = padding if isinstance(padding, list | tuple) else [padding] * (weight.dim() - 2)
    if not any(sizes):
        return
    whole = call(padding=0)
    for words, start in (("after", lambda p: 0), ("before", lambda p: 2 * p)):
        cut = whole
        for axis, p in enumerate(sizes, 2):
            cut = cut.narrow(axis, start(p), cut.shape[axis] - 2 * p)
        yield f"its padding is cut off {words} the result alone, where it is on both sides", cut
