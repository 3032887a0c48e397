"""Recurrent layers step by step, so that a cell or the way through the sequence may be another."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from comparisons.ports.expected.call import NotRecomputableError
from comparisons.ports.mistakes.mistake import Call

__all__ = [
    "CELLS",
    "LAYERS",
    "Cell",
    "State",
    "Way",
    "Weights",
    "by_gate",
    "in_order",
    "kind_of",
    "put_together",
    "roles",
    "summands",
    "unrolled",
]

LAYERS = ("lstm", "gru", "rnn")
CELLS = ("lstm_cell", "gru_cell", "rnn_cell")
NAMES = ("weight_ih", "weight_hh", "bias_ih", "bias_hh", "weight_hr")
State = tuple[Tensor, ...]  # the hidden state, and an LSTM's cell state
Weights = Mapping[str, Tensor]  # of one layer and direction, by NAMES
Cell = Callable[[Tensor, State, Weights], State]


def kind_of(call: Call) -> str:
    """Returns `lstm`, `gru` or `rnn`."""
    return call.layer.removesuffix("_cell")


def roles(call: Call) -> list[tuple[str, str]]:
    """Returns the ends of the names of a call's weights, and whether they are of a direction, in
    PyTorch's order: `_l0`, `_l0_reverse`, `_l1`, ...; of a cell the empty one."""
    if call.layer in CELLS:
        return [("", "")]
    ways = ("", "_reverse") if call.options.get("bidirectional") else ("",)
    layers = range(int(call.options.get("num_layers") or 1))
    return [(f"_l{layer}{way}", way) for layer in layers for way in ways]


def _weights(call: Call, end: str) -> dict[str, Tensor]:
    found = {name: call.get(f"{name}{end}") for name in NAMES}
    return {name: value for name, value in found.items() if value is not None}


def by_gate(
    call: Call,
    gates: int,
    change: Callable[[list[Tensor]], Sequence[Tensor]],
    names: Sequence[str] = NAMES[:4],
) -> Any:
    """Calls a layer with the rows of its weights, which belong to its gates, changed.

    Arguments:
        call: The layer.
        gates: How many it has.
        change: Makes the blocks of rows from what they are.
        names: Of the weights that are changed.
    """
    changed = {}
    for end, _ in roles(call):
        for name in names:
            value = call.get(f"{name}{end}")
            if value is not None:
                changed[f"{name}{end}"] = torch.cat(list(change(list(value.chunk(gates)))))
    return call(**changed)


def in_order(order: Sequence[int]) -> Callable[[list[Tensor]], Sequence[Tensor]]:
    """Returns what takes blocks of rows for gates in another order: the block at each place for the
    gate of that number."""
    return lambda rows: [rows[order.index(gate)] for gate in range(len(rows))]


def summands(x: Tensor, h: Tensor, weights: Weights) -> tuple[Tensor, Tensor]:
    """What a cell's gates are the sum of: of what goes in, and of the hidden state."""
    return (
        F.linear(x, weights["weight_ih"], weights.get("bias_ih")),
        F.linear(h, weights["weight_hh"], weights.get("bias_hh")),
    )


def put_together(ways: Sequence[Tensor]) -> Tensor:
    """The outputs of both directions as PyTorch returns them."""
    return torch.cat(list(ways), -1)


@dataclass(frozen=True)
class Way:
    """How a layer goes through its sequence, as PyTorch does.

    Attributes:
        back: Whether the second direction reads the sequence from its end.
        turned: Whether its outputs are put in the order of time again.
        joined: Puts the outputs of both directions together.
        shown: What a state shows as output.
        late: Whether an output is the state before its step.
        scaled: Whether what dropout keeps is divided by 1 - p.
    """

    back: bool = True
    turned: bool = True
    joined: Callable[[Sequence[Tensor]], Tensor] = put_together
    shown: Callable[[State], Tensor] = lambda state: state[0]
    late: bool = False
    scaled: bool = True


def unrolled(call: Call, cell: Cell, way: Way | None = None) -> Any:
    """Computes a recurrent layer, or cell, step by step.

    Arguments:
        call: The layer.
        cell: Makes the next state from an input, the state before and the weights.
        way: How it goes through the sequence.

    Returns:
        What the layer returns: the outputs and the last state; of a cell its state.
    """
    way = way or Way()
    is_lstm = kind_of(call) == "lstm"
    if call.layer in CELLS:
        state = _states(call, call.inputs[0].shape[:-1], 1)
        state = cell(call.inputs[0], tuple(one[0] for one in state), _weights(call, ""))
        return state if is_lstm else state[0]
    x, unbatched, first = call.inputs[0], call.inputs[0].dim() == 2, call.options["batch_first"]
    x = x.unsqueeze(1) if unbatched else x.transpose(0, 1) if first else x
    count, last = 1 + bool(call.options["bidirectional"]), []
    ends = roles(call)
    given = _states(call, x.shape[1:2], len(ends), unbatched)
    for at in range(0, len(ends), count):
        outputs = []
        for place in range(at, at + count):
            state = tuple(one[place] for one in given)
            weights = _weights(call, ends[place][0])
            found, state = _through(x, cell, state, weights, way, place > at)
            outputs.append(found)
            last.append(state)
        x = way.joined(outputs) if count > 1 else outputs[0]
        if at + count < len(ends):
            x = _dropped(call, x, at // count, way.scaled)
    states = tuple(torch.stack(one) for one in zip(*last, strict=True))
    if unbatched:
        x, states = x.squeeze(1), tuple(one.squeeze(1) for one in states)
    elif first:
        x = x.transpose(0, 1)
    return x, states if is_lstm else states[0]


def _states(call: Call, batch: Sequence[int], count: int, unbatched: bool = False) -> State:
    """What a layer starts from, for each of its layers and directions: zeros if not given."""
    given = call.inputs[1:]
    if given:
        alone = call.layer in CELLS or unbatched
        where = 0 if call.layer in CELLS else 1
        return tuple(one.unsqueeze(where) if alone else one for one in given)
    end = roles(call)[0][0]
    hidden = call[f"weight_hh{end}"].shape[1]
    x = call.inputs[0]
    zeros = x.new_zeros(count, *batch, hidden)
    if kind_of(call) != "lstm":
        return (zeros,)
    return zeros, x.new_zeros(count, *batch, call[f"weight_hh{end}"].shape[0] // 4)


def _through(
    x: Tensor, cell: Cell, state: State, weights: Weights, way: Way, second: bool
) -> tuple[Tensor, State]:
    """One direction of one layer: its outputs, and its last state."""
    outputs = []
    for step in x.flip(0) if second and way.back else x:
        before, state = state, cell(step, state, weights)
        outputs.append(way.shown(before if way.late else state))
    found = torch.stack(outputs)
    return found.flip(0) if second and way.back and way.turned else found, state


def _dropped(call: Call, x: Tensor, layer: int, scaled: bool) -> Tensor:
    p = float(call.options.get("dropout") or 0)
    if not call.training or not p:
        return x
    if call.draw is None:
        raise NotRecomputableError("a mask that was not recorded")
    kept = x * call.draw[layer].to(x.dtype)
    return kept / (1 - p) if scaled else kept
