"""A bidirectional layer of Keras, which is two layers, as PyTorch's one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pyvae.recording.keras.channels import returned, returns
from pyvae.recording.keras.layer_calls import LayerCalls
from pyvae.recording.keras.recurrent import KINDS, OWN, Derived
from pyvae.recording.seen.values import Call, Value

__all__ = ["bidirectional"]

REVERSE = "_reverse"


def bidirectional(layer: LayerCalls) -> list[Call] | None:
    """Two recurrent layers, of which one reads the sequence from its end, as one stage; what is
    made of their outputs comes after it, unless they stand side by side, as in PyTorch."""
    one = layer.layer
    if not type(one).__module__.startswith(OWN):
        return None
    forward, backward = (_half(layer, half) for half in (one.forward_layer, one.backward_layer))
    flip = None if forward is None or backward is None else _flip(forward, backward)
    if forward is None or backward is None or flip is None:
        return None
    roles = {**forward.roles, **{f"{role}{REVERSE}": n for role, n in backward.roles.items()}}
    options = {**forward.options, "bidirectional": True}
    made = Call(layer.path, forward.layer, forward.inputs[:1], roles, options)
    gone = [forward, backward, flip]
    if one.return_sequences:
        return _sequences(layer, made, returned(forward), returned(backward), gone)
    return _last_states(layer, made, returned(forward), returned(backward), gone)


def _half(layer: LayerCalls, half: Any) -> Call | None:
    """The stage that one of the two layers is."""
    kinds, name = KINDS.values(), f"{layer.path}.{half.name}"
    found = [call for call in layer.calls if call.layer in kinds and call.name == name]
    return found[0] if len(found) == 1 else None


def _flip(forward: Call, backward: Call) -> Call | None:
    """What turns the sequence for the second one; None if the two are not alike in all else."""
    turned = backward.inputs[0]
    if forward.layer != backward.layer or forward.options != backward.options:
        return None
    if not isinstance(turned, Value) or turned.call.layer != "flip":
        return None
    return turned.call if turned.call.inputs == forward.inputs[:1] else None


def _sequences(
    layer: LayerCalls, made: Call, ours: Value, theirs: Value, gone: list[Call]
) -> list[Call] | None:
    flip = layer.next(theirs, "flip")
    if flip is None or ours.array is None or theirs.array is None:
        return None
    other = returned(flip)
    cat = layer.next(ours, "cat")
    if cat is not None and len(cat.inputs) == 2 and cat.inputs[1] is other:
        made.outputs = [(".0", returned(cat))]
        returned(made).call = made
        return layer.put(cat, [made], *gone, flip)
    width = ours.array.shape[-1]
    whole = np.concatenate([ours.array, theirs.array[:, ::-1]], -1)

    def gradient() -> NDArray | None:
        return _side_by_side(ours.array, ours.gradient(), other.gradient())

    taken = ((ours, ["...", f":{width}"]), (other, ["...", f"{width}:"]))
    return _with_parts(layer, made, whole, gradient, taken, [*gone, flip])


def _last_states(
    layer: LayerCalls, made: Call, ours: Value, theirs: Value, gone: list[Call]
) -> list[Call] | None:
    """The last state of each direction, of which the second one's is at the first place."""
    ends = [layer.next(value, "index") for value in (ours, theirs)]
    if ours.array is None or theirs.array is None or ends[0] is None or ends[1] is None:
        return None
    width = ours.array.shape[-1]
    whole = np.concatenate([ours.array, theirs.array[:, ::-1]], -1)

    def gradient() -> NDArray | None:
        other = theirs.gradient()
        turned = None if other is None else other[:, ::-1]
        return _side_by_side(ours.array, ours.gradient(), turned)

    taken = (
        (returned(ends[0]), [":", -1, f":{width}"]),
        (returned(ends[1]), [":", 0, f"{width}:"]),
    )
    return _with_parts(layer, made, whole, gradient, taken, [*gone, ends[0], ends[1]])


def _with_parts(
    layer: LayerCalls,
    made: Call,
    whole: NDArray,
    gradient: Callable[[], NDArray | None],
    taken: tuple[tuple[Value, list[Any]], ...],
    gone: list[Call],
) -> list[Call]:
    """The stage, and what takes each direction's part of what it returns."""
    made.outputs = [(".0", Derived(whole, gradient, made))]
    parts = []
    for value, index in taken:
        call = Call(f"{layer.path}.index", "index", [returned(made)], {}, {"index": index})
        parts.append(returns(call, value))
    return layer.put(gone[-1], [made, *parts], *gone)


def _side_by_side(like: NDArray | None, *parts: NDArray | None) -> NDArray | None:
    """Gradients of both directions; zeros where there is none."""
    if like is None or all(part is None for part in parts):
        return None
    return np.concatenate([np.zeros_like(like) if p is None else p for p in parts], -1)
