"""An LSTM of Keras as the one that PyTorch has: Keras computes it step by step."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pyvae.recording.keras.channels import returned, returns
from pyvae.recording.keras.layer_calls import LayerCalls
from pyvae.recording.seen.values import Call, Kept, Source, Value

__all__ = ["lstm"]


class _Sequence(Value):
    """All states of a sequence, of which nothing but the last one is taken.

    Arguments:
        of: The states.
        last: The last one.
        call: What returns them.
    """

    __slots__ = ("_last",)

    def __init__(self, of: Value, last: Value, call: Call) -> None:
        self._last = last
        self.tensor = self.hook = None
        self.version, self.array, self.gradients = 0, of.array, []
        self.call, self.name = call, ""

    def gradient(self) -> NDArray | None:
        last = self._last.gradient()
        if last is None or self.array is None:
            return None
        whole = np.zeros_like(self.array)
        whole[:, -1] = last
        return whole


def lstm(layer: LayerCalls) -> list[Call] | None:
    """An LSTM that starts from zeros: its gates come in PyTorch's order, and it has one bias."""
    one, cell = layer.layer, layer.layer.cell
    plain = cell.use_bias and not any(
        (one.return_state, one.stateful, one.go_backwards, cell.dropout, cell.recurrent_dropout)
    )
    names = [getattr(f, "__name__", "") for f in (cell.activation, cell.recurrent_activation)]
    prefix, x, stack = f"{layer.path}.{cell.name}", layer.given(), layer.one("stack")
    if not plain or names != ["tanh", "sigmoid"] or x is None or stack is None:
        return None
    turn = layer.next(returned(stack), "permute")
    weights = {"weight_ih_l0": "kernel", "weight_hh_l0": "recurrent_kernel", "bias_ih_l0": "bias"}
    roles: dict[str, Source] = {role: Kept(f"{prefix}.{name}") for role, name in weights.items()}
    if turn is None or any(layer.start(str(name)) is None for name in roles.values()):
        return None
    first = next((c for c in layer.calls if c.inputs[1:] == [roles["weight_hh_l0"]]), None)
    state = None if first is None else first.inputs[0]
    if not isinstance(state, Value) or state.array is None or state.array.any():
        return None
    if x.array is None or x.array.ndim != 3 or any(call.layer == "where" for call in layer.calls):
        return None
    options = {
        "input_size": x.array.shape[-1], "hidden_size": int(cell.units), "num_layers": 1,
        "bias": True, "one_bias": True, "batch_first": True, "dropout": 0.0,
        "bidirectional": False, "proj_size": 0,
    }  # fmt: skip
    made = Call(layer.path, "lstm", [x], roles, options)
    states, last = returned(turn), stack.inputs[-1]
    if one.return_sequences:
        made.outputs, states.call = [(".0", states)], made
        return [made]
    if not isinstance(last, Value):
        return None
    made.outputs = [(".0", _Sequence(states, last, made))]
    index = Call(f"{layer.path}.index", "index", [returned(made)], {}, {"index": [":", -1]})
    return [made, returns(index, last)]
