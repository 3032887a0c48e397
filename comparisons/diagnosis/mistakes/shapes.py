"""Mistaken changes of shape: flattening, unflattening, halves, concatenation."""

from __future__ import annotations

import torch
from torch import Tensor

from comparisons.diagnosis.mistakes.suspects import Suspects

__all__ = ["concat", "first_half", "flatten", "second_half", "unflatten"]


def flatten(x: Tensor) -> Suspects:
    if x.dim() != 4:
        return
    orders = {"column-major (channel, column, row)": (0, 1, 3, 2)}
    if x.shape[1] > 1:
        orders |= {
            "channel last (row, column, channel)": (0, 2, 3, 1),
            "column-major, channel last (column, row, channel)": (0, 3, 2, 1),
        }
    for words, order in orders.items():
        yield f"flattened in the order {words}", x.permute(order).flatten(1)


def unflatten(x: Tensor, channels: int) -> Suspects:
    side = round((x.shape[1] / channels) ** 0.5)
    last = x.reshape(len(x), side, side, channels)
    orders = {
        "channel last (row, column, channel)": last.permute(0, 3, 1, 2),
        "column-major (channel, column, row)": x.reshape(-1, channels, side, side).mT,
        "column-major, channel last (column, row, channel)": last.permute(0, 3, 2, 1),
    }
    for words, value in orders.items():
        yield f"features taken in the order {words}", value


def first_half(x: Tensor) -> Suspects:
    half = x.shape[1] // 2
    yield "the second half: the halves exchanged", x[:, half:]
    if half > 1:
        yield "every other feature, from the first", x[:, ::2]
    yield "every other feature, from the second", x[:, 1::2]


def second_half(x: Tensor) -> Suspects:
    half = x.shape[1] // 2
    yield "the first half: the halves exchanged", x[:, :half]
    if half > 1:
        yield "every other feature, from the second", x[:, 1::2]
    yield "every other feature, from the first", x[:, ::2]


def concat(a: Tensor, b: Tensor) -> Suspects:
    yield "the second before the first", torch.cat([b, a], 1)
