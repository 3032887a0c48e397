"""The windows that a pooling layer looks at, and how a call of it is set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch.nn.functional as F
from torch import Tensor

from comparisons.ports.mistakes.mistake import Call

__all__ = ["Pool", "axes_of", "each", "padded", "windows"]

Sides = Sequence[tuple[int, int]]  # how much is put before and after each axis


def axes_of(call: Call) -> int:
    """Returns how many axes of pixels a layer has, by its name: `max_pool2d`."""
    return int(call.layer[-2])


def each(sizes: Any, axes: int) -> list[int]:
    """Returns a setting for every axis: PyTorch takes one number for all."""
    return [sizes] * axes if isinstance(sizes, int) else list(sizes)


@dataclass(frozen=True)
class Pool:
    """How a call of a pooling layer is set, for each axis.

    Attributes:
        input: What goes in.
        kernel, stride, padding, dilation: Its options.
        ceil: Whether a last window may reach over the edge.
    """

    input: Tensor
    kernel: list[int]
    stride: list[int]
    padding: list[int]
    dilation: list[int]
    ceil: bool

    @classmethod
    def of(cls, call: Call) -> Pool:
        options, axes = call.options, axes_of(call)
        kernel = each(options["kernel_size"], axes)
        stride = options.get("stride")
        return cls(
            call.inputs[0],
            kernel,
            each(stride, axes) if stride else kernel,
            each(options.get("padding", 0), axes),
            each(options.get("dilation", 1), axes),
            bool(options.get("ceil_mode")),
        )

    @property
    def axes(self) -> int:
        return len(self.kernel)

    @property
    def size(self) -> list[int]:
        """Of the image."""
        return list(self.input.shape[-self.axes :])

    def same(self) -> list[tuple[int, int]] | None:
        """How TensorFlow's `same` pads, so that the result has ceil(size / stride) pixels a side;
        None where it is what PyTorch does."""
        sides = []
        for size, kernel, stride in zip(self.size, self.kernel, self.stride, strict=True):
            whole = max(0, (-(-size // stride) - 1) * stride + kernel - size)
            sides.append((whole // 2, whole - whole // 2))
        is_usual = sides == [(one, one) for one in self.padding]
        return None if is_usual or self.ceil or max(self.dilation) > 1 else sides


def padded(x: Tensor, sides: Sides, value: float) -> Tensor:
    """Returns an image with a number around it."""
    ends = [size for side in reversed(sides) for size in side]  # the last axis comes first
    return F.pad(x, ends, value=value)


def windows(pool: Pool, value: float, sides: Sides | None = None) -> Tensor:
    """Returns the numbers in each window, in a last axis.

    Arguments:
        pool: The layer.
        value: What stands around the image.
        sides: How much of it; none: as the layer pads.
    """
    axes = pool.axes
    x = padded(pool.input, [(one, one) for one in pool.padding] if sides is None else sides, value)
    first = x.dim() - axes
    settings = zip(pool.kernel, pool.stride, pool.dilation, strict=True)
    for at, (kernel, stride, dilation) in enumerate(settings):
        x = x.unfold(first + at, dilation * (kernel - 1) + 1, stride)[..., ::dilation]
    return x.flatten(-axes)
