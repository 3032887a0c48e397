"""Convolutions of one to three dimensions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import torch.nn.functional as F
from torch import Tensor

from comparisons.ports.mistakes.mistake import Call, mistake
from comparisons.ports.mistakes.recycling import recycled

CONVOLUTIONS = ("conv1d", "conv2d", "conv3d")


@mistake(CONVOLUTIONS, "its kernel is flipped (torch correlates, it does not convolve)")
def flipped(call: Call) -> Tensor:
    weight = call["weight"]
    return call(weight=weight.flip(tuple(range(2, weight.dim()))))


@mistake("conv2d", "its kernel's rows and columns are exchanged")
def kernel_transposed(call: Call) -> Tensor | None:
    weight = call["weight"]
    return call(weight=weight.transpose(2, 3)) if weight.shape[2] == weight.shape[3] else None


@mistake("conv3d", "its kernel's axes are reversed (width, height, depth)")
def kernel_reversed(call: Call) -> Tensor | None:
    weight = call["weight"]
    return call(weight=weight.transpose(2, 4)) if weight.shape[2] == weight.shape[4] else None


@mistake("conv2d", "the image's rows and columns are exchanged")
def image_transposed(call: Call) -> Tensor:
    return call(call.inputs[0].transpose(2, 3))


@mistake("conv2d", "the image's channels are in reverse order (RGB, BGR)")
def channels_reversed(call: Call) -> Tensor:
    return call(call.inputs[0].flip(1))


@mistake(CONVOLUTIONS, "its bias is added along the first axis, as R's `+` recycles a vector")
def bias_recycled(call: Call) -> Tensor:
    plain = call(bias=None)
    return plain + recycled(call["bias"], plain.shape)


@mistake(CONVOLUTIONS, "its weight's inputs and outputs are exchanged")
def channels_exchanged(call: Call) -> Tensor | None:
    weight = call["weight"]
    return call(weight=weight.transpose(0, 1)) if weight.shape[0] == weight.shape[1] else None


@mistake(
    CONVOLUTIONS, "its weight's memory is read as (kernel, inputs, outputs), as TensorFlow has it"
)
def channels_last(call: Call) -> Tensor:
    weight = call["weight"]
    outputs, inputs, *kernel = weight.shape
    read = weight.reshape(*kernel, inputs, outputs)
    return call(weight=read.movedim(-1, 0).movedim(-1, 1))


@mistake(("conv2d", "conv3d"), "its weight's numbers are filled column by column")
def column_major(call: Call) -> Tensor:
    weight = call["weight"]
    read = weight.reshape(tuple(reversed(weight.shape)))
    return call(weight=read.permute(tuple(reversed(range(weight.dim())))))


@mistake(CONVOLUTIONS, "the channels of its groups are interleaved")
def interleaved(call: Call) -> Tensor | None:
    groups, y = call.options["groups"], call()
    return _between(y, groups) if groups > 1 else None


@mistake(CONVOLUTIONS, "its groups take every so many channels, where they take neighbours")
def interleaved_inputs(call: Call) -> Tensor | None:
    groups = call.options["groups"]
    return call(_between(call.inputs[0], groups)) if groups > 1 else None


def _between(x: Tensor, groups: int) -> Tensor:
    """The channels of all groups, one of each group in turn."""
    return x.unflatten(1, (groups, -1)).transpose(1, 2).flatten(1, 2)


@mistake(CONVOLUTIONS)
def other_sides(call: Call) -> Iterator[tuple[str, Any]]:
    """Padding that is not the same before and after."""
    kernel = call["weight"].shape[2:]
    stride, dilation, padding = (
        _each(call.options[name], len(kernel)) for name in ("stride", "dilation", "padding")
    )
    reach = [d * (k - 1) for d, k in zip(dilation, kernel, strict=True)]
    if not all(isinstance(one, int) for one in padding):  # "same" or "valid"
        padding = [total // 2 if padding[0] == "same" else 0 for total in reach]
        if call.options["padding"] == "same" and any(total % 2 for total in reach):
            sides = [(total - total // 2, total // 2) for total in reach]
            yield "the odd zero of padding 'same' stands before, not after", _padded(call, sides)
    sizes = call.inputs[0].shape[2:]
    sides = []
    for size, step, total in zip(sizes, stride, reach, strict=True):
        whole = max(0, (-(-size // step) - 1) * step + total + 1 - size)
        sides.append((whole // 2, whole - whole // 2))
    if any(before != after for before, after in sides):
        words = "padded by {} before and {} after (TensorFlow's 'same')".format(*sides[0])
        yield words, partial(_padded, call, sides)
    if any(reach) and any(padding):
        words = "padded before alone (causal)"
        yield words, partial(_padded, call, [(2 * one, 0) for one in padding])
        after = [(0, 2 * one) for one in padding]
        if set(stride) == {1}:  # else it is what "same" may come to
            yield "padded after alone", partial(_padded, call, after)


def _padded(call: Call, sides: Sequence[tuple[int, int]]) -> Tensor:
    ends = [size for side in reversed(sides) for size in side]  # the last axis comes first
    return call(F.pad(call.inputs[0], ends), padding=0)


def _each(setting: Any, count: int) -> list[Any]:
    """A setting for every axis."""
    return list(setting) if isinstance(setting, list | tuple) else [setting] * count
