"""Mistaken embeddings."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from comparisons.ports.expected.indices import from_zero, setting_from_zero
from comparisons.ports.mistakes.mistake import Call, mistake

BAGS = "embedding_bag"
BOTH = ("embedding", BAGS)

Made = Iterator[tuple[str, Tensor]]


def _indices(call: Call) -> Tensor:
    """Counted from 0."""
    inputs = [call.inputs[0], call["weight"]]
    whole = [one for one in inputs if not one.is_floating_point()]
    return from_zero(whole[0] if whole else inputs[0], call.index_base)


def _padding(call: Call) -> int | None:
    """The padding row, counted from 0."""
    row, rows = call.options.get("padding_idx"), call["weight"].shape[0]
    row = setting_from_zero(None if row is None else int(row), call.index_base)
    return None if row is None or (row < 0 and call.index_base) else row % rows


@mistake(BOTH)
def rows_one_off(call: Call) -> Made:
    """By way of the weight, whose last row is before the first, as for Python's -1."""
    words = "one row further: an index from 1 taken as from 0"
    yield words, call(weight=call["weight"].roll(-1, 0))
    words = "one row before: an index from 0 taken as from 1"
    yield words, call(weight=call["weight"].roll(1, 0))


@mistake("embedding")
def scaled(call: Call) -> Made:
    width = call["weight"].shape[1]
    yield f"times sqrt({width}), the square root of its width", call() * math.sqrt(width)
    yield f"divided by sqrt({width}), the square root of its width", call() / math.sqrt(width)


@mistake("embedding")
def normalised(call: Call, found: Tensor) -> Made:
    right = call()
    norms = right.norm(dim=-1, keepdim=True)
    yield "its rows scaled to norm 1", right / norms
    if found.shape != right.shape:
        return
    largest = float(found.norm(dim=-1).max())
    if 0 < largest < float(norms.detach().max()):
        words = f"its rows held at norm {largest:.6g} or less (max_norm)"
        yield words, right * (largest / norms).clamp(max=1)


@mistake("embedding")
def padding_is_zero(call: Call) -> Made:
    indices, row = _indices(call), _padding(call)
    if row is None:
        for at, words in ((0, "the first row"), (call["weight"].shape[0] - 1, "the last row")):
            yield f"{words} gives zeros (a padding row)", call() * (indices != at).unsqueeze(-1)
    elif bool(call["weight"].detach()[row].any()):
        words = f"the padding row, {row + call.index_base}, gives zeros, though it holds none"
        yield words, call() * (indices != row).unsqueeze(-1)


@mistake("embedding", "its padding row gets a gradient", backward=True)
def padding_trained(call: Call) -> Tensor | None:
    return call(padding_idx=None) if _padding(call) is not None else None


@mistake("embedding", backward=True)
def other_padding(call: Call) -> Made:
    row, rows, base = _padding(call), call["weight"].shape[0], call.index_base
    there = "no row is" if row is None else f"row {row + base} is"
    near = (0, rows - 1) if row is None else (row - 1, row + 1, 0, rows - 1)
    for other in dict.fromkeys(near):
        if other != row and 0 <= other < rows:
            words = f"row {other + base} gets no gradient (as padding), where {there} the padding"
            yield words, F.embedding(_indices(call), call["weight"], other)


@mistake("embedding", backward=True)
def by_frequency(call: Call) -> Made:
    now = bool(call.options["scale_grad_by_freq"])
    how = "not divided" if now else "divided"
    words = f"a row's gradient {how} by how often it is taken (scale_grad_by_freq)"
    yield words, call(scale_grad_by_freq=not now)


@mistake("embedding", backward=True)
def once_a_row(call: Call) -> Made:
    """As in numpy's `gradient[indices] += ...`."""
    indices = _indices(call)
    flat = indices.flatten()
    order = torch.arange(len(flat))
    same = flat.unsqueeze(0) == flat.unsqueeze(1)
    ways = {"last": same & (order.unsqueeze(0) > order.unsqueeze(1))}
    ways["first"] = same & (order.unsqueeze(0) < order.unsqueeze(1))
    for which, others in ways.items():
        alone = ~others.any(1).reshape(indices.shape).unsqueeze(-1)
        words = f"of a row that is taken several times the {which} gradient alone, not their sum"
        yield words, torch.where(alone, call(), call().detach())


@mistake(BAGS)
def other_mode(call: Call) -> Made:
    mode = call.options["mode"]
    for other in ("mean", "sum", "max"):
        if other != mode:
            yield f"the {other} of its rows where it is the {mode}", call(mode=other)


@mistake(BAGS, "its padding rows count, where they do not")
def padding_counted(call: Call) -> Tensor | None:
    return call(padding_idx=None) if call.options["padding_idx"] is not None else None
