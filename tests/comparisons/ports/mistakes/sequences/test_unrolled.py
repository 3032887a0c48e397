"""Recurrent layers step by step return what PyTorch's own return."""

from __future__ import annotations

import pytest
import torch
from examples.example import called
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from comparisons.ports.mistakes.sequences.gru import gru_cell
from comparisons.ports.mistakes.sequences.lstm import lstm_cell
from comparisons.ports.mistakes.sequences.recurrent import rnn_cell
from comparisons.ports.mistakes.sequences.unrolled import Way, by_gate, in_order, unrolled

CELLS = {"LSTM": lstm_cell(), "GRU": gru_cell(), "RNN": rnn_cell(torch.tanh)}


def randn(*shape: int, seed: int = 1) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, dtype=torch.float64, generator=generator)


def tensors(value) -> list[Tensor]:
    return (
        [value] if isinstance(value, Tensor) else [one for part in value for one in tensors(part)]
    )


def assert_same(found, right) -> None:
    assert [x.shape for x in tensors(found)] == [x.shape for x in tensors(right)]
    for x, y in zip(tensors(found), tensors(right), strict=True):
        torch.testing.assert_close(x, y, rtol=0, atol=1e-13)


@pytest.mark.parametrize("kind", CELLS)
@settings(max_examples=20)
@given(data=st.data())
def test_a_layer_is_its_cell_step_by_step(kind, data):
    layers, both = data.draw(st.integers(1, 3)), data.draw(st.booleans())
    first, batched = data.draw(st.booleans()), data.draw(st.booleans())
    dropout = data.draw(st.sampled_from([0.0, 0.4])) if batched and layers > 1 else 0.0
    projected = {"proj_size": 2} if kind == "LSTM" and data.draw(st.booleans()) else {}
    if projected:
        dropout = 0.0
    layer = getattr(nn, kind)(
        3, 4, layers, bias=data.draw(st.booleans()), batch_first=first, bidirectional=both,
        dropout=dropout, dtype=torch.float64, **projected,
    )  # fmt: skip
    inputs = [randn(5, 2, 3) if batched else randn(5, 3)]
    if data.draw(st.booleans()):
        batch = ((5 if first else 2),) if batched else ()
        sizes = [2 if projected else 4, 4] if kind == "LSTM" else [4]
        inputs += [randn(layers * (1 + both), *batch, n, seed=n + i) for i, n in enumerate(sizes)]
    call = called(layer, tuple(inputs))
    assert_same(unrolled(call, CELLS[kind]), call())


@pytest.mark.parametrize("kind", CELLS)
@pytest.mark.parametrize("given_states", [True, False])
def test_a_cell_is_one_step(kind, given_states):
    layer = getattr(nn, f"{kind}Cell")(3, 4, dtype=torch.float64)
    states = (
        [randn(2, 4, seed=n) for n in range(2 if kind == "LSTM" else 1)] if given_states else []
    )
    call = called(layer, (randn(2, 3), *states))
    assert_same(unrolled(call, CELLS[kind]), call())


def test_the_second_direction_may_go_another_way():
    layer = nn.GRU(3, 4, bidirectional=True, dtype=torch.float64)
    x = randn(5, 2, 3)
    call = called(layer, (x,))
    output, _ = call()
    forwards, backwards = output.chunk(2, -1)
    left, _ = unrolled(call, gru_cell(), Way(turned=False))
    assert_same(left, torch.cat([forwards, backwards.flip(0)], -1))
    both, last = unrolled(call, gru_cell(), Way(back=False))
    assert_same(both[..., :4], forwards)
    assert_same(both[-1, :, 4:], last[1])
    assert_same(called(layer, (x.flip(0),))()[0].flip(0)[..., 4:], both[..., 4:])


def test_gates_in_another_order_are_rows_in_another_order():
    """An LSTM whose rows are taken for i, f, o, g is one whose last two blocks are exchanged."""
    layer = nn.LSTM(3, 4, dtype=torch.float64)
    call = called(layer, (randn(5, 2, 3),))
    found = by_gate(call, 4, in_order((0, 1, 3, 2)))
    with torch.no_grad():
        for one in layer.parameters():
            i, f, g, o = one.clone().chunk(4)
            one.copy_(torch.cat([i, f, o, g]))
    assert_same(found, layer(randn(5, 2, 3)))
