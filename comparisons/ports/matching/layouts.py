"""How the same parameter may be stored in another way, and which way it is, by value.

A dense kernel may be transposed (Keras stores (in, out), PyTorch (out, in)), a kernel of a
convolution may have its channels last, and the gates of recurrent layers may come in another order
(an LSTM's as input, forget, cell, output or with the last two exchanged; a GRU's as reset, update,
new or with the first two exchanged).
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["SAME_LAYOUT", "Layout", "find_layout"]

MOST_AXES = 5
GATES = (4, 3)  # of an LSTM, of a GRU
GIVEN = 1e-6  # relative: how exactly stored numbers are the same ones


@dataclass(frozen=True)
class Layout:
    """What brings the second side's array into the first side's order.

    Attributes:
        axes: The order in which its axes are taken; empty if it stays.
        blocks: The order in which equal blocks of its first axis are taken then; empty if it stays.
        reshaped: Whether the numbers stand in the same order in another shape.
    """

    axes: tuple[int, ...] = ()
    blocks: tuple[int, ...] = ()
    reshaped: bool = False

    def apply(self, value: NDArray, shape: tuple[int, ...]) -> NDArray:
        """Brings an array into the first side's order; one that has not the parameter's shape, such
        as a counter, stays.

        Arguments:
            value: The second side's array.
            shape: The shape that the first side has.
        """
        if self.axes and value.ndim == len(self.axes):
            value = value.transpose(self.axes)
        if self.blocks and value.ndim and value.shape[0] % len(self.blocks) == 0:
            parts = np.split(value, len(self.blocks))
            value = np.concatenate([parts[block] for block in self.blocks])
        if self.reshaped and value.size == int(np.prod(shape)):
            value = value.reshape(shape)
        return value

    def undo(self, value: NDArray, shape: tuple[int, ...]) -> NDArray:
        """Brings an array of the first side into the second side's order.

        Arguments:
            value: The first side's array.
            shape: The shape that the second side has.
        """
        if self.reshaped and value.size == int(np.prod(shape)):
            value = value.reshape(shape)
        if self.blocks and value.ndim and value.shape[0] % len(self.blocks) == 0:
            parts = np.split(value, len(self.blocks))
            value = np.concatenate([parts[block] for block in np.argsort(self.blocks)])
        if self.axes and value.ndim == len(self.axes):
            value = value.transpose(np.argsort(self.axes))
        return value

    def __str__(self) -> str:
        words = []
        if self.axes:
            words.append("transposed" if self.axes == (1, 0) else f"axes in the order {self.axes}")
        if self.blocks:
            words.append(f"with its blocks of rows (gates) in the order {self.blocks}")
        if self.reshaped:
            words.append("in another shape")
        return ", ".join(words)


SAME_LAYOUT = Layout()


def find_layout(a: NDArray, b: NDArray) -> Layout | None:
    """Finds how b is stored, if it holds the numbers of a; None if it does not.

    Numbers that are all the same tell nothing of their order: then the shapes decide.
    """
    if a.size != b.size or a.dtype.kind != b.dtype.kind:
        return None
    x, y = (value.astype(np.float64) for value in (a, b))
    if a.size == 1:  # some languages have no numbers without a dimension
        y = y.reshape(x.shape)
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        return SAME_LAYOUT if a.shape == b.shape and np.array_equal(x, y, True) else None
    near = GIVEN * max(float(np.abs(x).max(initial=0)), float(np.abs(y).max(initial=0)))
    if abs(float(x.sum() - y.sum())) > near * (x.size + 1):
        return None
    for layout in _layouts(a.shape, y.shape):
        if float(np.abs(layout.apply(y, a.shape) - x).max(initial=0)) <= near:
            return layout
    return None


def _layouts(a: tuple[int, ...], b: tuple[int, ...]) -> Iterator[Layout]:
    """The layouts in which an array of shape b may hold one of shape a, the plainest first."""
    if a == b:
        yield SAME_LAYOUT
    orders = list(itertools.permutations(range(len(b)))) if 1 < len(b) <= MOST_AXES else [()]
    fitting = [
        axes if axes != tuple(range(len(b))) else ()
        for axes in orders
        if tuple(b[axis] for axis in axes) == a or (not axes and a == b)
    ]
    yield from (Layout(axes) for axes in fitting if axes)
    for count in GATES:
        if not a or a[0] % count:
            continue
        for blocks in itertools.permutations(range(count)):
            if blocks != tuple(range(count)):
                yield from (Layout(axes, blocks) for axes in fitting)
    if a != b:
        yield Layout(reshaped=True)
