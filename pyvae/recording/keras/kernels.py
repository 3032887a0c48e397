"""Kernels of Keras in the order that PyTorch's layers keep theirs in."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pyvae.recording.seen.values import Call, Kept, Source, Value

__all__ = ["Kernel", "kernels_of"]

SMALLEST = 3  # axes of a kernel of a convolution


@dataclass(frozen=True)
class Kernel:
    """How a kernel of Keras is kept by PyTorch.

    Attributes:
        shape: Keras'.
        axes: The order in which its axes are taken.
        groups: Whether its first two axes, then, are one, and each group has one input.
    """

    shape: tuple[int, ...]
    axes: tuple[int, ...]
    groups: bool = False

    @property
    def torch_shape(self) -> tuple[int, ...]:
        """Its shape in PyTorch."""
        turned = tuple(self.shape[axis] for axis in self.axes)
        return (turned[0] * turned[1], 1, *turned[2:]) if self.groups else turned

    def apply(self, array: NDArray) -> NDArray:
        """Brings Keras' array, or one that belongs to it, into PyTorch's order; one of another
        shape stays."""
        if array.shape != self.shape:
            return array
        return np.ascontiguousarray(array.transpose(self.axes).reshape(self.torch_shape))

    def undo(self, array: NDArray) -> NDArray:
        """Brings an array of PyTorch's order into Keras'; one of another shape stays."""
        if array.shape != self.torch_shape:
            return array
        whole = array.reshape([self.shape[axis] for axis in self.axes])
        return np.ascontiguousarray(whole.transpose(np.argsort(self.axes)))

    def calls(self, name: Kept, array: NDArray) -> list[Call]:
        """What makes Keras' kernel of PyTorch's.

        Arguments:
            name: PyTorch's.
            array: Keras'.
        """
        found: list[Call] = []
        source: Source = name
        if self.groups:
            shape = [self.shape[axis] for axis in self.axes]
            found.append(Call(f"{name}.reshape", "reshape", [source], {}, {"shape": shape}))
            source = constant(self.apply(array).reshape(shape), found[-1])
        axes = [int(axis) for axis in np.argsort(self.axes)]
        found.append(Call(f"{name}.permute", "permute", [source], {}, {"dims": axes}))
        constant(array, found[-1])
        return found


def constant(array: NDArray, call: Call) -> Value:
    """Numbers that a call returns, of which no gradient is known."""
    value = Value.__new__(Value)
    value.tensor = value.hook = None
    value.version, value.array, value.gradients = 0, array, []
    value.call, value.name = call, ""
    call.outputs = [("", value)]
    return value


def kernels_of(layer: Any) -> Iterator[tuple[Any, Kernel]]:
    """Yields the variables of a layer that PyTorch keeps in another order, and how."""
    kinds = {one.__name__ for one in type(layer).__mro__}
    if not hasattr(sys.modules["keras"].layers, type(layer).__name__):
        return  # of the program's own, which may use it in its own way
    if "Dense" in kinds:
        yield from _kernel(getattr(layer, "_kernel", None), dense=True)
    elif "LSTMCell" in kinds:
        for name in ("kernel", "recurrent_kernel"):
            yield from _kernel(getattr(layer, name, None), dense=True)
    elif kinds & {"BaseConv", "BaseConvTranspose"}:
        own = getattr(layer, "_kernel", None)
        yield from _kernel(getattr(layer, "kernel", None) if own is None else own)
    elif "BaseDepthwiseConv" in kinds:
        yield from _kernel(getattr(layer, "kernel", None), groups=True)
    elif "BaseSeparableConv" in kinds:
        yield from _kernel(getattr(layer, "depthwise_kernel", None), groups=True)
        yield from _kernel(getattr(layer, "pointwise_kernel", None))


def _kernel(
    variable: Any, dense: bool = False, groups: bool = False
) -> Iterator[tuple[Any, Kernel]]:
    if variable is None:
        return
    shape = tuple(variable.shape)
    count = len(shape)
    if dense and count == SMALLEST - 1:
        yield variable, Kernel(shape, (1, 0))
    elif not dense and count >= SMALLEST:
        last = (count - 2, count - 1) if groups else (count - 1, count - 2)
        yield variable, Kernel(shape, (*last, *range(count - 2)), groups)
