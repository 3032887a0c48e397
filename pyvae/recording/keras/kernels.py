"""Kernels of Keras in the order that PyTorch's layers keep theirs in."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pyvae.recording.seen.values import Call, Kept, Source, Value

__all__ = ["Kernel", "kernels_of"]

SMALLEST = 3  # axes of a kernel of a convolution
GATES_OF_GRU = (1, 0, 2)  # which of Keras' gates z, r, h PyTorch has first, second and third
CELLS = {"LSTMCell", "GRUCell", "SimpleRNNCell"}


@dataclass(frozen=True)
class Kernel:
    """How a variable of Keras, a kernel mostly, is kept by PyTorch.

    Attributes:
        shape: Keras'.
        axes: The order in which its axes are taken.
        groups: Whether its first two axes, then, are one, and each group has one input.
        gates: Which of Keras' gates, equal blocks of the last axis, is PyTorch's first, second,
            ...; empty if they stand in one order.
        apart: Whether each row, of which Keras keeps several, is a parameter of PyTorch's.
    """

    shape: tuple[int, ...]
    axes: tuple[int, ...]
    groups: bool = False
    gates: tuple[int, ...] = ()
    apart: bool = False

    @property
    def torch_shape(self) -> tuple[int, ...]:
        """Its shape in PyTorch; of parameters that are apart, of all of them together."""
        turned = tuple(self.shape[axis] for axis in self.axes)
        return (turned[0] * turned[1], 1, *turned[2:]) if self.groups else turned

    def names(self, name: str) -> tuple[str, ...]:
        """What a trace calls the variable: `gru.gru_cell.bias[0]` and `gru.gru_cell.bias[1]`, if
        each row is a parameter."""
        return tuple(f"{name}[{at}]" for at in range(self.shape[0])) if self.apart else (name,)

    def shapes(self, name: str) -> dict[str, tuple[int, ...]]:
        """The shape of each parameter that a trace has of it, by name."""
        shape = self.torch_shape[1:] if self.apart else self.torch_shape
        return dict.fromkeys(self.names(name), shape)

    def kept(self, name: str, array: NDArray) -> dict[str, NDArray]:
        """Keras' array, or one that belongs to it, in PyTorch's order, for each parameter that a
        trace has of the variable, by name; one of another shape, such as a counter, belongs to
        each."""
        if not self.apart or array.shape != self.shape:
            return dict.fromkeys(self.names(name), self.apply(array))
        return {n: row.copy() for n, row in zip(self.names(name), self.apply(array), strict=True)}

    def apply(self, array: NDArray) -> NDArray:
        """Brings Keras' array, or one that belongs to it, into PyTorch's order; one of another
        shape stays."""
        if array.shape != self.shape:
            return array
        turned = _reordered(array, self.gates).transpose(self.axes)
        return np.ascontiguousarray(turned.reshape(self.torch_shape))

    def undo(self, array: NDArray) -> NDArray:
        """Brings an array of PyTorch's order into Keras'; one of another shape stays."""
        if array.shape != self.torch_shape:
            return array
        whole = array.reshape([self.shape[axis] for axis in self.axes])
        turned = whole.transpose(np.argsort(self.axes))
        return np.ascontiguousarray(_reordered(turned, _numbers(np.argsort(self.gates))))

    def calls(self, name: Kept, array: NDArray) -> list[Call]:
        """What makes Keras' variable of PyTorch's.

        Arguments:
            name: Keras'.
            array: Keras'.
        """
        found: list[Call] = []
        source: Source = name
        turned, axes = self.apply(array), _numbers(np.argsort(self.axes))

        def add(layer: str, inputs: list[Source], value: NDArray, **options: Any) -> Value:
            found.append(Call(f"{name}.{layer}", layer, inputs, {}, options))
            return constant(value, found[-1])

        if self.apart:
            source = add("stack", [Kept(one) for one in self.names(name)], turned, dim=0)
        if self.groups:
            shape = [self.shape[axis] for axis in self.axes]
            turned = turned.reshape(shape)
            source = add("reshape", [source], turned, shape=shape)
        if list(axes) != sorted(axes):
            turned = np.ascontiguousarray(turned.transpose(axes))
            source = add("permute", [source], turned, dims=list(axes))
        if self.gates:
            count = len(self.gates)
            found.append(Call(f"{name}.chunk", "chunk", [source], {}, {"chunks": count, "dim": -1}))
            blocks = np.split(turned, count, -1)
            chunk, values = found[-1], [constant(block, found[-1]) for block in blocks]
            chunk.outputs = [(f".{at}", one) for at, one in enumerate(values)]
            order = np.argsort(self.gates)
            add("cat", [values[at] for at in order], array, dim=-1)
        found[-1].outputs[0][1].array = array
        return found


def _reordered(array: NDArray, gates: Sequence[int]) -> NDArray:
    """Takes equal blocks of the last axis in another order; in their own if none is given."""
    if not gates:
        return array
    blocks = np.split(array, len(gates), -1)
    return np.concatenate([blocks[gate] for gate in gates], -1)


def _numbers(given: NDArray) -> tuple[int, ...]:
    return tuple(int(one) for one in given)


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
    elif kinds & CELLS:
        yield from _cell(layer, GATES_OF_GRU if "GRUCell" in kinds else ())
    elif kinds & {"BaseConv", "BaseConvTranspose"}:
        own = getattr(layer, "_kernel", None)
        yield from _kernel(getattr(layer, "kernel", None) if own is None else own)
    elif "BaseDepthwiseConv" in kinds:
        yield from _kernel(getattr(layer, "kernel", None), groups=True)
    elif "BaseSeparableConv" in kinds:
        yield from _kernel(getattr(layer, "depthwise_kernel", None), groups=True)
        yield from _kernel(getattr(layer, "pointwise_kernel", None))


def _cell(layer: Any, gates: tuple[int, ...]) -> Iterator[tuple[Any, Kernel]]:
    """The variables of a recurrent cell, but those of a GRU that PyTorch has not."""
    if not getattr(layer, "reset_after", True):
        return
    for name in ("kernel", "recurrent_kernel"):
        yield from _kernel(getattr(layer, name, None), dense=True, gates=gates)
    bias = getattr(layer, "bias", None)
    if gates and bias is not None:
        yield bias, Kernel(tuple(bias.shape), (0, 1), gates=gates, apart=True)


def _kernel(
    variable: Any, dense: bool = False, groups: bool = False, gates: tuple[int, ...] = ()
) -> Iterator[tuple[Any, Kernel]]:
    if variable is None:
        return
    shape = tuple(variable.shape)
    count = len(shape)
    if dense and count == SMALLEST - 1:
        yield variable, Kernel(shape, (1, 0), gates=gates)
    elif not dense and count >= SMALLEST:
        last = (count - 2, count - 1) if groups else (count - 1, count - 2)
        yield variable, Kernel(shape, (*last, *range(count - 2)), groups)
