"""The calls that are made within a layer of Keras."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pyvae.recording.keras.kernels import Kernel
from pyvae.recording.seen.values import Call, Kept, Source, Value

__all__ = ["MOVES", "LayerCalls", "parameter_of"]

MOVES = {"contiguous", "permute", "reshape", "to"}  # what a variable is brought into shape with


class LayerCalls:
    """The calls of a layer, and who takes what they return.

    Arguments:
        layer: The layer.
        path: Its name.
        calls: Those made within it, in their order.
        kernels: The parameters that PyTorch keeps in another order.
        arrays: What the step starts from, as `start/NAME`.
    """

    def __init__(
        self,
        layer: Any,
        path: str,
        calls: Sequence[Call],
        kernels: Mapping[str, Kernel],
        arrays: Mapping[str, NDArray],
    ) -> None:
        self.layer, self.path, self.calls = layer, path, list(calls)
        self._kernels, self._arrays = kernels, arrays

    def one(self, name: str) -> Call | None:
        """The only call of a function; None if there is none, or several."""
        found = [call for call in self.calls if call.layer == name]
        return found[0] if len(found) == 1 else None

    def next(self, value: Value, *names: str) -> Call | None:
        """The call of a function that takes a value, if nothing else does."""
        takers = [call for call in self.calls if any(one is value for one in call.sources())]
        return takers[0] if len(takers) == 1 and takers[0].layer in names else None

    def put(self, last: Call, made: list[Call], *gone: Call | None) -> list[Call]:
        """The calls, with others in the place of one; without those that are put together."""
        left = [call for call in self.calls if call is last or not any(call is o for o in gone)]
        at = next(at for at, call in enumerate(left) if call is last)
        return [*left[:at], *made, *left[at + 1 :]]

    def start(self, name: str) -> NDArray | None:
        """The numbers of a parameter or buffer."""
        return self._arrays.get(f"start/{name}")

    def kernel(self, source: Source) -> Kept | None:
        """The kernel that a value holds, in PyTorch's order; None if it is none."""
        name = parameter_of(source)
        kernel, start = self._kernels.get(name), self.start(name)
        if kernel is None or start is None:
            return None
        if isinstance(source, Value):
            array = kernel.apply(start)
            if source.array is None or not np.array_equal(source.array, array, equal_nan=True):
                return None
        return Kept(name)

    def given(self) -> Value | None:
        """What the layer takes first."""
        found = (one for call in self.calls for one in call.inputs if isinstance(one, Value))
        return next((one for one in found if all(one.call is not c for c in self.calls)), None)


def parameter_of(source: Source) -> str:
    """The variable that a value holds, in another order or shape; empty if it is none."""
    while isinstance(source, Value):
        if source.call.layer not in MOVES or len(source.call.inputs) != 1:
            return ""
        source = source.call.inputs[0]
    return source
