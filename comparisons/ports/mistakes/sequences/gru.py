"""Mistaken GRUs: the order of gates, where the reset gate acts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from itertools import permutations
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from comparisons.ports.mistakes.mistake import Call, mistake
from comparisons.ports.mistakes.sequences.lstm import keras_hard_sigmoid
from comparisons.ports.mistakes.sequences.unrolled import (
    Cell,
    State,
    Weights,
    by_gate,
    in_order,
    roles,
    summands,
    unrolled,
)

GRU = ("gru", "gru_cell")
GATES = "rzn"  # reset, update, new state: the order of PyTorch's rows

Made = Iterator[tuple[str, Any]]
Function = Callable[[Tensor], Tensor]


@mistake(GRU)
def gate_order(call: Call) -> Made:
    for order in permutations(range(3)):
        if list(order) == sorted(order):
            continue
        taken = ", ".join(GATES[one] for one in order)
        whose = " (Keras's)" if taken == "z, r, n" else ""
        words = f"its gates taken in the order {taken}{whose} where it is r, z, n"
        yield words, partial(by_gate, call, 3, in_order(order))


@mistake(GRU, "its update gate the other way round: h = z n + (1 - z) h")
def update_turned(call: Call) -> Any:
    return by_gate(call, 3, lambda rows: [rows[0], -rows[1], rows[2]])


@mistake(GRU, "the bias of the new state outside of its reset gate (one bias, as Core ML has it)")
def bias_outside(call: Call) -> Any:
    changed = {}
    for end, _ in roles(call):
        into, over = call[f"bias_ih{end}"].chunk(3), call[f"bias_hh{end}"].chunk(3)
        changed[f"bias_ih{end}"] = torch.cat([*into[:2], into[2] + over[2]])
        changed[f"bias_hh{end}"] = torch.cat([*over[:2], torch.zeros_like(over[2])])
    return call(**changed)


@mistake(GRU, "its two biases exchanged")
def biases_exchanged(call: Call) -> Any:
    pairs = [(f"bias_ih{end}", f"bias_hh{end}") for end, _ in roles(call)]
    return call(**{one: call[other] for pair in pairs for one, other in (pair, pair[::-1])})


def gru_cell(
    gate: Function = torch.sigmoid,
    new: Function = torch.tanh,
    after: bool = True,
    reset: bool = True,
) -> Cell:
    """A cell of a GRU, as PyTorch has it.

    Arguments:
        gate: Of its two gates.
        new: Of the new state.
        after: Whether the reset gate acts after the product with the hidden state's weight.
        reset: Whether there is a reset gate.
    """

    def cell(x: Tensor, state: State, weights: Weights) -> State:
        (h,) = state
        into, over = summands(x, h, weights)
        (r1, z1, n1), (r2, z2, n2) = into.chunk(3, -1), over.chunk(3, -1)
        r, z = gate(r1 + r2), gate(z1 + z2)
        if not reset:
            fresh = new(n1 + n2)
        elif after:
            fresh = new(n1 + r * n2)
        else:
            bias = weights.get("bias_hh")
            own = None if bias is None else bias.chunk(3)[2]
            fresh = new(n1 + F.linear(r * h, weights["weight_hh"].chunk(3)[2], own))
        return ((1 - z) * fresh + z * h,)

    return cell


@mistake(GRU)
def other_cell(call: Call) -> Made:
    before = "its reset gate before the product with the hidden state (Keras's reset_after=False)"
    cells = {
        before: gru_cell(after=False),
        "no reset gate": gru_cell(reset=False),
        "Keras's hard sigmoid, 0.2 x + 0.5, in its gates": gru_cell(keras_hard_sigmoid),
        "a hard sigmoid, x / 6 + 1/2, in its gates": gru_cell(F.hardsigmoid),
        "ReLU where it is tanh": gru_cell(new=F.relu),
        "no tanh of the new state": gru_cell(new=lambda n: n),
    }
    for words, cell in cells.items():
        yield words, partial(unrolled, call, cell)
