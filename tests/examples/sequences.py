"""Embeddings, recurrent layers, attention."""

from __future__ import annotations

from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from examples.example import Example
from examples.function import Function


def mixed(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64)


def numbers(*shape: int) -> Tensor:
    """Numbers of rows: each of 0 to 6 is there, some twice."""
    return torch.cat([torch.arange(7), torch.randint(0, 7, (14,))])[torch.randperm(21)].reshape(
        shape
    )


def held(call):
    return call() * (1.2 / call().norm(dim=-1, keepdim=True)).clamp(max=1)


EMBEDDINGS = [
    Example(lambda: nn.Embedding(7, 2), (partial(numbers, 7, 3),), {"normalised": held}),
    Example(lambda: nn.Embedding(7, 5, padding_idx=2), (partial(numbers, 7, 3),)),
    Example(lambda: nn.EmbeddingBag(7, 5), (partial(numbers, 7, 3),)),
    Example(lambda: nn.EmbeddingBag(7, 5, mode="sum", padding_idx=2), (partial(numbers, 7, 3),)),
]
SEQUENCE = (partial(mixed, 5, 4, 3),)


def states(layers: int, count: int) -> tuple:
    return (*SEQUENCE, *(partial(mixed, layers, 4, 6),) * count)


RECURRENT = [
    Example(lambda: nn.LSTM(3, 6), SEQUENCE),
    Example(lambda: nn.LSTM(3, 6, batch_first=True), (partial(mixed, 4, 5, 3),)),
    Example(lambda: nn.LSTM(3, 6, bidirectional=True), SEQUENCE),
    Example(lambda: nn.LSTM(3, 6, 2, bidirectional=True), SEQUENCE),
    Example(lambda: nn.LSTM(3, 6, 2, dropout=0.4), SEQUENCE),
    Example(lambda: nn.GRU(3, 6), SEQUENCE),
    Example(lambda: nn.GRU(3, 6), states(1, 1)),
    Example(lambda: nn.GRU(3, 6, 2, bidirectional=True, batch_first=True), SEQUENCE),
    Example(lambda: nn.RNN(3, 6), SEQUENCE),
    Example(lambda: nn.RNN(3, 6, nonlinearity="relu"), SEQUENCE),
    Example(lambda: nn.LSTMCell(3, 6), (partial(mixed, 4, 3),)),
    Example(lambda: nn.LSTM(3, 6), states(1, 2), paired=True),
    Example(lambda: nn.GRUCell(3, 6), (partial(mixed, 4, 3), partial(mixed, 4, 6))),
    Example(lambda: nn.RNNCell(3, 6), (partial(mixed, 4, 3), partial(mixed, 4, 6))),
]
QUERIES = (partial(mixed, 4, 5, 6),)


def causal() -> Tensor:
    return torch.ones(5, 5, dtype=torch.bool).triu(1)


def some() -> Tensor:
    """A mask of keys, other for each query, with some that are hidden and some that are not."""
    return (torch.arange(5)[:, None] + 2 * torch.arange(5)) % 4 == 0


def padding() -> Tensor:
    """The last elements of two of four sequences are padding."""
    return torch.arange(5) >= torch.tensor([[5], [4], [5], [3]])


def attending(*inputs, named=None, **options):
    def make():
        return nn.MultiheadAttention(6, 2, batch_first=True, **options)

    return Example(make, inputs, named=named or {})


ATTENTION = [
    attending(*QUERIES * 3),
    attending(*QUERIES * 3, dropout=0.3),
    attending(*QUERIES * 3, named={"attn_mask": causal}),
    attending(*QUERIES * 3, named={"attn_mask": some, "key_padding_mask": padding}),
    attending(QUERIES[0], *(partial(mixed, 4, 7, 6),) * 2),
    Example(lambda: nn.MultiheadAttention(6, 3), (partial(mixed, 5, 4, 6),) * 3),
    Example(lambda: Function(F.scaled_dot_product_attention), (partial(mixed, 2, 3, 5, 4),) * 3),
    Example(
        lambda: Function(F.scaled_dot_product_attention, is_causal=True),
        (partial(mixed, 2, 3, 5, 4),) * 3,
    ),
    Example(
        lambda: Function(F.scaled_dot_product_attention),
        (*(partial(mixed, 2, 3, 5, 4),) * 3, some),
    ),
    Example(
        lambda: Function(F.scaled_dot_product_attention),
        (*(partial(mixed, 2, 3, 5, 4),) * 3, partial(mixed, 5, 5)),
    ),
    Example(
        lambda: Function(F.scaled_dot_product_attention, dropout_p=0.3),
        (partial(mixed, 2, 3, 5, 4),) * 3,
    ),
]
EXAMPLES = [*EMBEDDINGS, *RECURRENT, *ATTENTION]
