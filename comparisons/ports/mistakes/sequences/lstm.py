"""Mistaken LSTMs: the order of gates, the cell."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from itertools import permutations
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from comparisons.ports.mistakes.mistake import Call, mistake
from comparisons.ports.mistakes.sequences.unrolled import (
    Cell,
    State,
    Way,
    Weights,
    by_gate,
    in_order,
    summands,
    unrolled,
)

LSTM = ("lstm", "lstm_cell")
GATES = "ifgo"  # input, forget, new cell state, output: the order of PyTorch's rows

Made = Iterator[tuple[str, Any]]
Function = Callable[[Tensor], Tensor]


@mistake(LSTM)
def gate_order(call: Call) -> Made:
    for order in permutations(range(4)):
        if list(order) == sorted(order):
            continue
        taken = ", ".join(GATES[one] for one in order)
        words = f"its gates taken in the order {taken} where it is i, f, g, o"
        yield words, partial(by_gate, call, 4, in_order(order))


@mistake(LSTM, "1 added to the bias of the forget gate (TensorFlow's forget_bias)")
def forget_bias(call: Call) -> Any:
    return by_gate(call, 4, lambda rows: [rows[0], rows[1] + 1, *rows[2:]], ("bias_ih",))


@mistake(LSTM, "its forget gate is 1 - the input gate (coupled)")
def coupled(call: Call) -> Any:
    return by_gate(call, 4, lambda rows: [rows[0], -rows[0], *rows[2:]])


def lstm_cell(
    gate: Function = torch.sigmoid,
    new: Function = torch.tanh,
    shown: Function = torch.tanh,
    forgets: bool = True,
    early: bool = False,
) -> Cell:
    """A cell of an LSTM, as PyTorch has it.

    Arguments:
        gate: Of the three gates.
        new: Of what is added to the cell state.
        shown: Of the cell state, where it becomes the hidden state.
        forgets: Whether it has a forget gate.
        early: Whether the hidden state is made of the cell state before the step.
    """

    def cell(x: Tensor, state: State, weights: Weights) -> State:
        h, c = state
        into, over = summands(x, h, weights)
        i, f, g, o = (into + over).chunk(4, -1)
        kept = gate(f) * c if forgets else c
        after = kept + gate(i) * new(g)
        h = gate(o) * shown(c if early else after)
        return (h @ weights["weight_hr"].mT if "weight_hr" in weights else h), after

    return cell


def keras_hard_sigmoid(x: Tensor) -> Tensor:
    return (0.2 * x + 0.5).clamp(0, 1)


@mistake(LSTM)
def other_cell(call: Call) -> Made:
    cells = {
        "Keras's hard sigmoid, 0.2 x + 0.5, in its gates": lstm_cell(keras_hard_sigmoid),
        "a hard sigmoid, x / 6 + 1/2, in its gates": lstm_cell(F.hardsigmoid),
        "h = o c: the tanh of the cell state missing": lstm_cell(shown=lambda c: c),
        "no tanh of what is added to the cell state": lstm_cell(new=lambda g: g),
        "a sigmoid of what is added to the cell state, not tanh": lstm_cell(new=torch.sigmoid),
        "a sigmoid of the cell state, not tanh": lstm_cell(shown=torch.sigmoid),
        "ReLU where it is tanh": lstm_cell(new=F.relu, shown=F.relu),
        "no forget gate": lstm_cell(forgets=False),
        "its output is made of the cell state before the step": lstm_cell(early=True),
    }
    for words, cell in cells.items():
        yield words, partial(unrolled, call, cell)


@mistake("lstm", "the cell states returned in place of the hidden states")
def cell_states(call: Call) -> Any:
    if int(call.options["num_layers"]) > 1 or call.options.get("proj_size"):
        return None
    return unrolled(call, lstm_cell(), Way(shown=lambda state: state[1]))


@mistake("lstm", "its last hidden and cell states exchanged")
def states_exchanged(call: Call) -> Any:
    output, (h, c) = call()
    return output, (c, h)


@mistake("lstm_cell", "its hidden and cell states exchanged")
def results_exchanged(call: Call) -> Any:
    return call()[::-1]


@mistake(LSTM, "the states that it starts from exchanged: (c, h) where they are (h, c)")
def starts_exchanged(call: Call) -> Any:
    x, *states = call.inputs
    return call(x, *states[::-1]) if len(states) == 2 else None
