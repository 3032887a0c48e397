"""Recurrent layers and their cells, weights named as PyTorch names them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from comparisons.ports.expected.call import NotRecomputableError
from comparisons.ports.expected.masks import with_masks

__all__ = ["RECURRENT"]

ROLES = ("weight_ih", "weight_hh", "bias_ih", "bias_hh", "weight_hr")


def _flat_weights(
    weights: Mapping[str, Tensor], num_layers: int, bidirectional: bool, bias: bool, one_bias: bool
) -> list[Tensor]:
    """The weights in PyTorch's order: by layer, direction, role; where there is one bias, as in
    Keras, the other is zero."""
    if one_bias:
        second = {
            name.replace("_ih", "_hh"): one for name, one in weights.items() if "bias" in name
        }
        weights = {**{name: torch.zeros_like(one) for name, one in second.items()}, **weights}
    flat = []
    for layer in range(num_layers):
        for direction in ("", "_reverse") if bidirectional else ("",):
            for role in ROLES:
                name = f"{role}_l{layer}{direction}"
                if name in weights:
                    flat.append(weights[name])
                elif role != "weight_hr" and (bias or not role.startswith("bias")):
                    raise NotRecomputableError(f"no {name}")
    if len(flat) != len(weights):
        raise NotRecomputableError("weights of more layers than are declared")
    return flat


def _first_state(
    input: Tensor, weights: Mapping[str, Tensor], layers: int, batch_first: bool
) -> tuple[Tensor, Tensor]:
    """Zeros for the hidden state and the cell's."""
    batch = input.shape[0 if batch_first else 1]
    hidden = weights["weight_hh_l0"].shape[1]
    cell = weights["weight_hr_l0"].shape[1] if "weight_hr_l0" in weights else hidden
    return input.new_zeros(layers, batch, hidden), input.new_zeros(layers, batch, cell)


def _named_inputs(
    inputs: Sequence[Tensor], most: int
) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """The input, and the states to start from, if they are given."""
    if not 1 <= len(inputs) <= most:
        raise NotRecomputableError(f"{len(inputs)} inputs")
    input, *states = inputs
    h0, c0 = [*states, None, None][:2]
    return input, h0, c0


def _rnn(runs: Callable[..., Any] | Mapping[str, Callable[..., Any]]) -> Callable[..., Any]:
    """A recurrent layer; a plain one has a function for each activation."""
    is_lstm = runs is torch.lstm

    def recurrent(
        *inputs: Tensor,
        num_layers: int = 1,
        dropout: float = 0.0,
        bidirectional: bool = False,
        batch_first: bool = False,
        bias: bool = True,
        one_bias: bool = False,
        proj_size: int = 0,
        nonlinearity: str = "",
        training: bool = True,
        draw: Tensor | None = None,
        **weights: Tensor,
    ) -> tuple[Any, ...]:
        input, h0, c0 = _named_inputs(inputs, 3 if is_lstm else 2)
        run = runs if callable(runs) else runs.get(nonlinearity)
        if run is None:
            raise NotRecomputableError("an activation that is not declared")
        if h0 is not None and not h0.is_floating_point():
            raise NotRecomputableError("a packed sequence")
        flat = _flat_weights(weights, num_layers, bidirectional, bias, one_bias)
        batched = input.dim() == 3
        if not batched:
            input = input.unsqueeze(0 if batch_first else 1)
            h0, c0 = (None if one is None else one.unsqueeze(1) for one in (h0, c0))
        zeros = _first_state(input, weights, num_layers * (1 + bidirectional), batch_first)
        h0, c0 = (zeros[0] if h0 is None else h0), (zeros[1] if c0 is None else c0)
        state = (h0, c0) if is_lstm else h0
        dropped = dropout if training and num_layers > 1 else 0.0
        settings = (bias, num_layers, float(dropped), training, bidirectional, batch_first)
        with with_masks(dropped, () if draw is None else draw):
            output, *last = run(input, state, flat, *settings)
        if not batched:
            output = output.squeeze(0 if batch_first else 1)
            last = [one.squeeze(1) for one in last]
        return output, tuple(last) if is_lstm else last[0]

    return recurrent


def _cell_state(input: Tensor, weight_hh: Tensor) -> Tensor:
    return input.new_zeros(*input.shape[:-1], weight_hh.shape[1])


def _cell(run: Callable[..., Tensor]) -> Callable[..., Tensor]:
    def cell(
        input: Tensor,
        h0: Tensor | None = None,
        weight_ih: Tensor | None = None,
        weight_hh: Tensor | None = None,
        bias_ih: Tensor | None = None,
        bias_hh: Tensor | None = None,
    ) -> Tensor:
        if weight_ih is None or weight_hh is None:
            raise NotRecomputableError("no weights")
        h0 = _cell_state(input, weight_hh) if h0 is None else h0
        return run(input, h0, weight_ih, weight_hh, bias_ih, bias_hh)

    return cell


def _rnn_cell(
    input: Tensor,
    h0: Tensor | None = None,
    weight_ih: Tensor | None = None,
    weight_hh: Tensor | None = None,
    bias_ih: Tensor | None = None,
    bias_hh: Tensor | None = None,
    *,
    nonlinearity: str,
) -> Tensor:
    run = {"tanh": torch.rnn_tanh_cell, "relu": torch.rnn_relu_cell}[nonlinearity]
    return _cell(run)(input, h0, weight_ih, weight_hh, bias_ih, bias_hh)


def _lstm_cell(
    input: Tensor,
    h0: Tensor | None = None,
    c0: Tensor | None = None,
    weight_ih: Tensor | None = None,
    weight_hh: Tensor | None = None,
    bias_ih: Tensor | None = None,
    bias_hh: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    if weight_ih is None or weight_hh is None:
        raise NotRecomputableError("no weights")
    zeros = _cell_state(input, weight_hh)
    state = (zeros if h0 is None else h0), (zeros if c0 is None else c0)
    return torch.lstm_cell(input, state, weight_ih, weight_hh, bias_ih, bias_hh)


RECURRENT: Mapping[str, Callable[..., Any]] = {
    "lstm": _rnn(torch.lstm),
    "gru": _rnn(torch.gru),
    "rnn": _rnn({"tanh": torch.rnn_tanh, "relu": torch.rnn_relu}),
    "lstm_cell": _lstm_cell,
    "gru_cell": _cell(torch.gru_cell),
    "rnn_cell": _rnn_cell,
}
