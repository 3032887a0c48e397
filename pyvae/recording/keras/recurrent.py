"""Recurrent layers of Keras as those that PyTorch has: Keras computes them step by step.

A `GRU` that resets before its product (`reset_after=False`) is none of PyTorch's, nor is one that
drops or masks something on its way: they stay as they are computed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pyvae.recording.keras.channels import Turned, returned, returns
from pyvae.recording.keras.layer_calls import LayerCalls
from pyvae.recording.seen.values import Call, Kept, Source, Value

__all__ = ["KINDS", "OWN", "Derived", "recurrent"]

KINDS = {"LSTM": "lstm", "GRU": "gru", "SimpleRNN": "rnn"}
OWN = "keras."
OUTSIDE = "input"  # what the layer starts from is not computed by the model
BATCH_LAST = (1, 0, 2)


class Derived(Value):
    """Numbers that are made of other values, whose gradient follows from theirs.

    Arguments:
        array: The numbers.
        gradient: Returns their gradient; None if there is none.
        call: What returns them.
    """

    __slots__ = ("_gradient",)

    def __init__(self, array: NDArray, gradient: Callable[[], NDArray | None], call: Call) -> None:
        self._gradient = gradient
        self.tensor = self.hook = None
        self.version, self.array, self.gradients = 0, array, []
        self.call, self.name = call, ""

    def gradient(self) -> NDArray | None:
        return self._gradient()


def recurrent(layer: LayerCalls) -> list[Call] | None:
    """A plain layer that starts from zeros: its gates come in PyTorch's order, and one that is no
    GRU has one bias."""
    one, cell = layer.layer, layer.layer.cell
    kind = next((KINDS[k.__name__] for k in type(one).__mro__ if k.__name__ in KINDS), "")
    if not type(one).__module__.startswith(OWN):
        return None  # the program's, which may do more
    options = _options(one, cell)
    roles = _roles(layer, kind, cell)
    x, stack = layer.given(), layer.one("stack")
    if options is None or roles is None or x is None or x.array is None or stack is None:
        return None
    states = _states(layer, x.array, f"{layer.path}.{cell.name}.recurrent_kernel")
    last = stack.inputs[-1]
    if states is None or not isinstance(last, Value) or last.array is None:
        return None
    options["input_size"] = int(x.array.shape[-1])
    found: list[Call] = []
    given = x
    if one.go_backwards:
        flip = layer.one("flip")
        if flip is None:
            return None
        given = _turned(flip, x, layer.path)
        found.append(given.call)
    made = Call(layer.path, kind, [given], roles, options)
    found.append(made)
    takers = {c.layer: c for c in layer.calls if c.inputs and c.inputs[0] is returned(stack)}
    if one.return_sequences:
        if "permute" not in takers:
            return None
        made.outputs = [(".0", returned(takers["permute"]))]
        returned(made).call = made
        return found
    end = returned(takers["index"]) if "index" in takers else last
    whole = np.stack([*states[1:], last.array], 1)
    made.outputs = [(".0", Derived(whole, lambda: _at_the_end(whole, end), made))]
    index = Call(f"{layer.path}.index", "index", [returned(made)], {}, {"index": [":", -1]})
    return [*found, returns(index, end)]


def _options(one: Any, cell: Any) -> dict[str, Any] | None:
    """What PyTorch's layer declares; None if it has none that computes the same."""
    dropped = (cell.dropout, cell.recurrent_dropout)
    names = [getattr(f, "__name__", "") for f in (cell.activation,)]
    is_rnn = not hasattr(cell, "recurrent_activation")
    if not is_rnn:
        names.append(getattr(cell.recurrent_activation, "__name__", ""))
    known = [["tanh"], ["relu"]] if is_rnn else [["tanh", "sigmoid"]]
    if any((one.return_state, one.stateful, *dropped)) or names not in known:
        return None
    if not getattr(cell, "reset_after", True):
        return None
    options = {
        "input_size": 0, "hidden_size": int(cell.units), "num_layers": 1,
        "bias": bool(cell.use_bias), "batch_first": True, "dropout": 0.0, "bidirectional": False,
        "proj_size": 0,
    }  # fmt: skip
    if cell.use_bias and not hasattr(cell, "reset_after"):
        options["one_bias"] = True
    return {**options, **({"nonlinearity": names[0]} if is_rnn else {})}


def _roles(layer: LayerCalls, kind: str, cell: Any) -> dict[str, Source] | None:
    """The weights; None if one of them is not known."""
    prefix = f"{layer.path}.{cell.name}"
    names = {"weight_ih_l0": "kernel", "weight_hh_l0": "recurrent_kernel"}
    names |= {"bias_ih_l0": "bias"} if cell.use_bias else {}
    if any(layer.start(f"{prefix}.{name}") is None for name in names.values()):
        return None
    roles: dict[str, Source] = {role: Kept(f"{prefix}.{name}") for role, name in names.items()}
    if kind == "gru" and cell.use_bias:
        roles["bias_ih_l0"], roles["bias_hh_l0"] = (Kept(f"{prefix}.bias[{n}]") for n in (0, 1))
    return roles


def _states(layer: LayerCalls, x: NDArray, weight: str) -> list[NDArray] | None:
    """The state before each step, the first of which is zero; None if it is not computed step by
    step with a weight of that name, or a mask is in the way."""
    if x.ndim != 3 or any(call.layer == "where" for call in layer.calls):
        return None
    steps = [c for c in layer.calls if c.layer == "matmul" and c.inputs[1:] == [weight]]
    count = x.shape[1]
    if len(steps) not in (count, count + 1):  # Keras may try the first one before
        return None
    found = [c.inputs[0].array for c in steps[-count:] if isinstance(c.inputs[0], Value)]
    states = [array for array in found if array is not None]
    first = steps[-count].inputs[0]
    if len(states) < count or isinstance(first, str) or first.call.layer != OUTSIDE:
        return None
    return None if states[0].any() else states


def _turned(flip: Call, x: Value, path: str) -> Value:
    """The sequence read from its end."""
    value = returned(flip)
    if flip.inputs[0] is x:
        return value
    call = Call(f"{path}.flip", "flip", [x], {}, {"dims": [1]})  # its time is first in Keras
    call.outputs = [("", Turned(value, BATCH_LAST, call))]
    return returned(call)


def _at_the_end(whole: NDArray, end: Value) -> NDArray | None:
    """The gradient of all states of a sequence of which nothing but the last one is taken."""
    last = end.gradient()
    if last is None:
        return None
    found = np.zeros_like(whole)
    found[:, -1] = last
    return found
