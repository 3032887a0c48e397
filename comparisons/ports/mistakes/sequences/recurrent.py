"""Mistakes that all recurrent layers have in common: biases, directions, states, time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor

from comparisons.ports.mistakes.mistake import Call, mistake
from comparisons.ports.mistakes.recycling import recycled
from comparisons.ports.mistakes.sequences.gru import gru_cell
from comparisons.ports.mistakes.sequences.lstm import lstm_cell
from comparisons.ports.mistakes.sequences.unrolled import (
    CELLS,
    LAYERS,
    Cell,
    State,
    Way,
    Weights,
    kind_of,
    put_together,
    roles,
    summands,
    unrolled,
)

ALL = (*LAYERS, *CELLS)
RNN = ("rnn", "rnn_cell")
ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "tanh": torch.tanh,
    "relu": torch.relu,
    "sigmoid": torch.sigmoid,
}

Made = Iterator[tuple[str, Any]]


def rnn_cell(activation: Callable[[Tensor], Tensor]) -> Cell:
    def cell(x: Tensor, state: State, weights: Weights) -> State:
        into, over = summands(x, state[0], weights)
        return (activation(into + over),)

    return cell


def _cell(call: Call) -> Cell:
    """The cell that is right."""
    kind = kind_of(call)
    if kind == "rnn":
        return rnn_cell(ACTIVATIONS[call.options["nonlinearity"]])
    return lstm_cell() if kind == "lstm" else gru_cell()


@mistake(RNN)
def other_activation(call: Call) -> Made:
    own = call.options["nonlinearity"]
    for name, activation in ACTIVATIONS.items():
        if name != own:
            yield f"nonlinearity = {name} where it is {own}", unrolled(call, rnn_cell(activation))
    yield f"no {own}: its sum alone", unrolled(call, rnn_cell(lambda x: x))


@mistake(ALL)
def biases_missing(call: Call) -> Made:
    ends = [end for end, _ in roles(call)]
    if any(call.get(f"bias_ih{end}") is None for end in ends):
        return
    into = {f"bias_ih{end}": torch.zeros_like(call[f"bias_ih{end}"]) for end in ends}
    over = {f"bias_hh{end}": torch.zeros_like(call[f"bias_hh{end}"]) for end in ends}
    yield "one bias, not two: bias_hh missing", call(**over)
    yield "one bias, not two: bias_ih missing", call(**into)
    yield "no biases", call(**into, **over)


@mistake(("rnn", "rnn_cell", "lstm", "lstm_cell"))
def biases_recycled(call: Call) -> Made:
    """`x %*% w + b` in R, where sweep() is meant: of each gate, or of all gates at once."""
    end = "down the columns, as R's `+` recycles a vector"
    yield f"its biases are added {end}", unrolled(call, _recycling(_cell(call)))
    if kind_of(call) == "lstm":
        yield f"each gate's biases are added {end}", unrolled(call, _recycling(_cell(call), 4))


def _recycling(cell: Cell, gates: int = 1) -> Cell:
    """A cell whose biases R recycles: they are weights of inputs that count the rows."""

    def recycling(x: Tensor, state: State, weights: Weights) -> State:
        rows = len(x)
        bias = (weights["bias_ih"] + weights["bias_hh"]).chunk(gates)
        added = torch.cat([recycled(one, (rows, len(one))) for one in bias], 1)
        changed = {name: one for name, one in weights.items() if not name.startswith("bias")}
        changed["weight_ih"] = torch.cat([weights["weight_ih"], added.T], 1)
        one_each = torch.eye(rows, dtype=x.dtype, device=x.device)
        return cell(torch.cat([x, one_each], 1), state, changed)

    return recycling


@mistake(ALL, "each gate's weight of the hidden state transposed")
def hidden_transposed(call: Call) -> Any:
    changed = {}
    for end, _ in roles(call):
        value = call[f"weight_hh{end}"]
        blocks = value.split(value.shape[1])
        changed[f"weight_hh{end}"] = torch.cat([one.T for one in blocks])
    return call(**changed)


@mistake(ALL, "it starts from zeros, where it is given a state")
def start_ignored(call: Call) -> Any:
    x, *states = call.inputs
    return call(x, *(torch.zeros_like(one) for one in states)) if states else None


@mistake(LAYERS, "time and batch exchanged (batch_first)")
def batch_as_time(call: Call) -> Any:
    x, *states = call.inputs
    if x.dim() != 3 or states:
        return None
    output, last = call(x.transpose(0, 1))
    return output.transpose(0, 1), last


@mistake(LAYERS)
def read_backwards(call: Call) -> Made:
    x = call.inputs[0]
    time = 1 if call.options["batch_first"] and x.dim() == 3 else 0
    output, last = call(x.flip(time))
    yield "the sequence read backwards", (output.flip(time), last)
    words = "the sequence read backwards, and its outputs left in that order (go_backwards)"
    yield words, (output, last)


@mistake(LAYERS, "each output is the state before its step: one step late")
def one_step_late(call: Call) -> Any:
    return unrolled(call, _cell(call), Way(late=True))


@mistake(LAYERS)
def other_directions(call: Call) -> Made:
    if not call.options["bidirectional"]:
        return
    cell = _cell(call)
    ways = {
        "the backward direction's outputs left in its own order": Way(turned=False),
        "both directions read the sequence forwards": Way(back=False),
        "the backward direction's outputs before the forward one's": Way(
            joined=lambda both: put_together(both[::-1])
        ),
    }
    for words, way in ways.items():
        yield words, partial(unrolled, call, cell, way)
    if int(call.options["num_layers"]) > 1:
        return
    joined: dict[str, Callable[..., Tensor]] = {
        "the sum of both directions": lambda both: both[0] + both[1],
        "the mean of both directions": lambda both: (both[0] + both[1]) / 2,
        "the product of both directions": lambda both: both[0] * both[1],
    }
    for words, how in joined.items():
        yield (
            f"{words}, where they stand side by side",
            partial(unrolled, call, cell, Way(joined=how)),
        )


@mistake(LAYERS)
def shared_directions(call: Call) -> Made:
    ends = [end for end, way in roles(call) if way]
    names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh", "weight_hr")
    own, other = {}, {}
    for end in ends:
        for name in names:
            forward, backward = f"{name}{end.removesuffix('_reverse')}", f"{name}{end}"
            if call.get(forward) is not None:
                own[backward], other[forward] = call[forward], call[backward]
    if own:
        yield "the backward direction has the forward one's weights", call(**own)
        yield "the weights of its directions exchanged", call(**own, **other)


@mistake(LAYERS)
def other_last_states(call: Call) -> Made:
    output, last = call()
    states = last if kind_of(call) == "lstm" else (last,)
    layers, ways = int(call.options["num_layers"]), 1 + bool(call.options["bidirectional"])

    def returned(first: Tensor, *rest: Tensor) -> Any:
        return (output, (first, *rest)) if kind_of(call) == "lstm" else (output, first)

    if layers > 1:
        yield (
            "its last states of the last layer first",
            returned(*(_of_layers(one, layers, ways).flip(0).flatten(0, 1) for one in states)),
        )
    if layers > 1 and ways > 1:
        yield (
            "its last states by direction, then layer, where they are by layer, then direction",
            returned(
                *(_of_layers(one, layers, ways).transpose(0, 1).flatten(0, 1) for one in states)
            ),
        )
    if ways > 1 and output.dim() == 3 and not call.options.get("proj_size"):
        time = 1 if call.options["batch_first"] else 0
        seen = output.select(time, -1).chunk(2, -1)[1]
        yield (
            "the backward direction's last state taken from the end of the sequence, where it has "
            "read one element (its last step is the first element)",
            returned(torch.cat([states[0][:-1], seen.unsqueeze(0)]), *states[1:]),
        )


def _of_layers(state: Tensor, layers: int, ways: int) -> Tensor:
    return state.unflatten(0, (layers, ways))


@mistake(LAYERS, "1/(1 - p) missing in the dropout between its layers")
def dropout_unscaled(call: Call) -> Any:
    p = call.options.get("dropout")
    if not p or not call.training or int(call.options["num_layers"]) < 2:
        return None
    return unrolled(call, _cell(call), Way(scaled=False))


@mistake(ALL, "its gradient does not go back through time (truncated to one step)", backward=True)
def truncated(call: Call) -> Any:
    right = _cell(call)

    def cell(x: Tensor, state: State, weights: Weights) -> State:
        return right(x, tuple(one.detach() for one in state), weights)

    return unrolled(call, cell)
