"""Values whose channels are last in Keras, channels first as PyTorch's layers have them.

Between two layers Keras permutes the axes and back again. A function of each element computes the
same in either order: it is taken through the permutation, so that a stage has the numbers in the
order in which a port computes them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pyvae.recording.seen.values import Call, Source, Value

__all__ = [
    "Turned", "before", "channels_first", "in_kept_order", "returned", "returns", "turned_back",
]  # fmt: skip

# Of which each element of what they return comes from the same element of what they take
ELEMENTWISE = {
    "abs", "add", "celu", "clamp", "div", "dropout", "dropout1d", "dropout2d", "dropout3d", "elu",
    "exp", "gelu", "hardsigmoid", "hardswish", "hardtanh", "leaky_relu", "log", "logsigmoid",
    "maximum", "minimum", "mish", "mul", "neg", "pow", "relu", "relu6", "rsqrt", "selu", "sigmoid",
    "silu", "softplus", "softsign", "sqrt", "square", "sub", "tanh", "threshold", "to", "where",
}  # fmt: skip
PADDED = "pad"
ALONG = {"cat", "mean", "sum", "amax", "amin", "softmax", "log_softmax"}  # one axis or several
AXES = ("dim", "axis")
LEAST = 3  # axes: a batch, a place and channels


class Turned(Value):
    """A value with its axes in another order.

    Arguments:
        of: The value.
        axes: The order of its axes.
        call: What returns it.
    """

    __slots__ = ("axes", "of")

    def __init__(self, of: Value, axes: Sequence[int], call: Call) -> None:
        self.of, self.axes = of, tuple(axes)
        self.tensor = self.hook = None
        self.version = 0
        self.array = _turn(of.array, self.axes)
        self.gradients = []
        self.call = call
        self.name = ""

    def gradient(self) -> NDArray | None:
        return _turn(self.of.gradient(), self.axes)


def _turn(array: NDArray | None, axes: tuple[int, ...]) -> NDArray | None:
    return None if array is None else np.ascontiguousarray(array.transpose(axes))


def returned(call: Call) -> Value:
    """What a call returned, which is one value."""
    return call.outputs[0][1]


def returns(call: Call, value: Value) -> Call:
    """Lets a call return a value from now on."""
    call.outputs = [("", value)]
    value.call = call
    return call


def turned_back(call: Call, value: Value, axes: Sequence[int], path: str) -> Call:
    """Lets a call return a value with its channels first.

    Arguments:
        call: The call.
        value: The value, whose channels are last.
        axes: The order of axes that makes it of what the call returns.
        path: The name of the layer.

    Returns:
        The permutation that brings the value itself.
    """
    first = tuple(int(axis) for axis in np.argsort(axes))
    call.outputs = [("", Turned(value, first, call))]
    if call.mask is not None and call.mask.ndim == len(first):
        call.mask = _turn(call.mask, first)
    turn = Call(
        f"{path}.permute", "permute", [returned(call)], {}, {"dims": list(axes)}, made_by="other"
    )
    return returns(turn, value)


def before(source: Source) -> Source:
    """What a permutation undoes that was itself made by one; else the source as it is."""
    if not isinstance(source, Value):
        return source
    one = source.call
    if one.layer == "contiguous" and one.inputs and isinstance(one.inputs[0], Value):
        found = before(one.inputs[0])
        if found is not one.inputs[0]:
            one.made_by = "other"
        return source if found is one.inputs[0] else found
    earlier = one.inputs[0] if one.layer == "permute" and one.inputs else None
    if not isinstance(earlier, Value) or earlier.call.layer != "permute":
        return source
    last, first = one.options.get("dims"), earlier.call.options.get("dims")
    if last is None or first is None or [first[axis] for axis in last] != [*range(len(last))]:
        return source
    one.made_by = "other"
    return earlier.call.inputs[0]


def channels_first(calls: Iterable[Call], path: str) -> list[Call]:
    """Calls of which those that can be computed channels first are.

    Arguments:
        calls: In their order.
        path: The name of the layer in which they are made.
    """
    found: list[Call] = []
    for call in calls:
        found.append(call)
        turn = _turned(call, path)
        if turn is not None:
            found.append(turn)
    return found


def in_kept_order(calls: Iterable[Call], turns: Collection[Call]) -> list[Call]:
    """Calls of which those that take a kernel, outside of its layer, take it in the order in which
    a trace keeps it, where that is the same: a penalty adds up what is made of each of its numbers.

    Arguments:
        calls: In their order.
        turns: Those that bring a kernel into the order that Keras keeps it in. Left out are those
            of which nothing takes the result any more.
    """
    turned = list(turns)
    found: list[Call] = []
    for call in calls:
        found.append(call)
        back = _turned(call, call.name, turned)
        if back is not None:
            found.append(back)
            turned.append(back)
    taken = {id(one) for call in found for one in call.sources()}
    return [
        one
        for one in found
        if not any(one is turn for turn in turned) or id(returned(one)) in taken
    ]


def _turned(call: Call, path: str, turns: Collection[Call] | None = None) -> Call | None:
    """Lets a call take and return its values channels first, if it can; or as they were before one
    of some permutations."""
    known = call.layer in ELEMENTWISE or call.layer in ALONG or call.layer == PADDED
    if not known or call.roles or len(call.outputs) != 1:
        return None
    value = returned(call)
    axes: list[int] = []
    inputs: list[Source] = []
    for source in call.inputs:
        if isinstance(source, str) or source.array is None:
            return None
        one = source.call.options.get("dims") if source.call.layer == "permute" else None
        known = one is not None and (
            _channels_last(one) if turns is None else any(source.call is turn for turn in turns)
        )
        if one is not None and known and axes in ([], list(one)):
            axes = list(one)
            inputs.append(source.call.inputs[0])
        elif source.array.size == 1 and source.array.ndim == 0:
            inputs.append(source)
        else:
            return None
    if not axes or value.array is None:
        return None
    options = dict(call.options)
    if call.layer in ALONG:
        key = next((key for key in AXES if key in options), "")
        if not key or options[key] is None:
            if turns is not None and value.array.ndim == 0:
                call.inputs = inputs
            return None
        options[key] = _axes_in(options[key], axes)
    if call.layer == PADDED:
        pads = _pads_in(options.get("pad"), axes)
        if pads is None:
            return None
        options["pad"] = pads
    if value.array.ndim == len(axes):
        call.inputs, call.options = inputs, options
        return turned_back(call, value, axes, path)
    left = [axis for axis in range(len(axes)) if axis not in np.atleast_1d(_positive(call, axes))]
    if len(left) == value.array.ndim and [axes[axis] for axis in left] == sorted(
        axes[axis] for axis in left
    ):
        call.inputs, call.options = inputs, options
    return None


def _pads_in(given: object, axes: Sequence[int]) -> list[int] | None:
    """What is added before and after each axis, the last one first, of channels that come first;
    None if they are added to as well."""
    if not isinstance(given, list | tuple) or len(given) % 2:
        return None
    count = len(axes)
    pairs = [tuple(given[at : at + 2]) for at in range(0, len(given), 2)]
    of = {count - 1 - at: pair for at, pair in enumerate(pairs)}
    turned = [of.get(axes.index(axis), (0, 0)) for axis in reversed(range(count))]
    while turned and turned[-1] == (0, 0):
        turned.pop()
    return [number for pair in turned for number in pair]


def _channels_last(axes: Sequence[int]) -> bool:
    return len(axes) >= LEAST and list(axes) == [0, *range(2, len(axes)), 1]


def _positive(call: Call, axes: Sequence[int]) -> list[int]:
    given: Any = next((call.options[key] for key in AXES if key in call.options), [])
    return [int(axis) % len(axes) for axis in np.atleast_1d(given)]


def _axes_in(given: int | Sequence[int], axes: Sequence[int]) -> int | list[int]:
    """Axes as they are called before the permutation."""
    if isinstance(given, int):
        return axes[given % len(axes)]
    return sorted(axes[axis % len(axes)] for axis in given)
