"""Mistaken attention: the scale, the mask, the weights."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from itertools import permutations
from typing import Any

import torch
from torch import Tensor

from comparisons.ports.mistakes.mistake import Call, mistake
from comparisons.ports.mistakes.sequences.attending import Attention, attention_of

FUNCTION, MODULE = "scaled_dot_product_attention", "multihead_attention"
BOTH = (FUNCTION, MODULE)
HIDDEN = -1e9  # what programs write for -inf

Made = Iterator[tuple[str, Any]]


@mistake(BOTH)
def other_scale(call: Call) -> Made:
    attention = attention_of(call)
    width, whole = attention.query.shape[-1], attention.width
    usual = 1 / math.sqrt(width)
    if attention.scale != usual:
        yield f"its scores divided by sqrt({width}), where a scale is given", attention(usual)
        return
    there = f"where it is sqrt({width})"
    yield f"its scores not divided by sqrt({width})", attention(1.0)
    yield f"its scores multiplied by sqrt({width}), not divided", attention(1 / usual)
    yield f"its scores divided by {width} {there}", attention(1 / width)
    yield f"its scores divided by the fourth root of {width} {there}", attention(usual**0.5)
    if whole != width:
        words = f"its scores divided by sqrt({whole}), the width of all heads together, {there}"
        yield words, attention(1 / math.sqrt(whole))
        yield f"its scores divided by {whole} {there}", attention(1 / whole)


def _hiding(attention: Attention, hidden: Tensor | None) -> Any:
    return replace(attention, hidden=hidden)()


@mistake(BOTH)
def other_mask(call: Call) -> Made:
    attention = attention_of(call)
    hidden, added = attention.hidden, attention.added
    if hidden is None and added is None:
        return
    yield "its mask missing", replace(attention, hidden=None, added=None)()
    if hidden is None:
        if added is not None and bool(torch.isfinite(added).all()):
            yield "its mask subtracted, not added", replace(attention, added=-added)()
        return
    if bool(hidden.any(-1).all()):  # else some query would see nothing
        yield "its mask inverted", _hiding(attention, ~hidden)
    scores = attention.scores()
    scores = scores if added is None else scores + added
    open_ = (~hidden).to(scores.dtype)
    words = "hidden scores are 0, which still has a weight, not -inf"
    yield words, attention.returned(torch.softmax(scores * open_, -1))
    words = "masked after its softmax, not before: the weights do not sum to 1"
    yield words, attention.returned(torch.softmax(scores, -1) * open_)
    words = "its mask added as 0 and 1, not as -inf and 0"
    yield words, attention.returned(torch.softmax(scores + open_, -1))
    words = "its mask added as 1 and 0, not as -inf and 0"
    yield words, attention.returned(torch.softmax(scores + 1 - open_, -1))


@mistake(BOTH)
def other_causal_mask(call: Call) -> Made:
    attention = attention_of(call)
    shape = (attention.query.shape[-2], attention.key.shape[-2])
    every = torch.ones(shape, dtype=torch.bool)
    causal = every.triu(1)
    if attention.hidden is None:
        yield "a causal mask where there is none", _hiding(attention, causal)
        return
    if not bool((attention.hidden == causal).all()):
        return
    yield "its causal mask one off: a step sees the next one", _hiding(attention, every.triu(2))
    itself = every.triu(0)
    itself[0] = False  # else it would see nothing
    words = "its causal mask one off: a step does not see itself (the first sees all)"
    yield words, _hiding(attention, itself)
    scores = attention.scores().masked_fill(every.triu(0), HIDDEN)
    words = "its causal mask one off: a step does not see itself (the first sees all alike)"
    yield words, attention.returned(torch.softmax(scores, -1))
    words = "its causal mask the other way round: a step sees those after it, not those before"
    yield words, _hiding(attention, every.tril(-1))


@mistake(MODULE)
def one_mask_of_two(call: Call) -> Made:
    roles = call.get("key_padding_mask"), call.get("attn_mask")
    if roles[0] is not None and roles[1] is not None:
        yield "its key_padding_mask missing", call(key_padding_mask=None)
        yield "its attn_mask missing", call(attn_mask=None)


@mistake(BOTH)
def other_softmax(call: Call) -> Made:
    attention = attention_of(call)
    scores = attention.masked(attention.scores())
    weights = torch.softmax(scores, -1)
    for axis, name in ((-2, "queries"), (-3, "heads")):
        if scores.dim() < -axis or scores.shape[axis] < 2:
            continue
        over = torch.softmax(scores, axis)
        if bool(torch.isfinite(over).all()):  # not where some key is hidden from all
            yield f"softmax over the {name}, where it is over the keys", attention.returned(over)
    yield "its softmax taken twice", attention.returned(torch.softmax(weights, -1))
    plain = attention.scores()
    plain = plain if attention.hidden is None else plain.masked_fill(attention.hidden, 0.0)
    yield "no softmax: the scores for weights", attention.returned(plain)
    if weights.shape[-1] == weights.shape[-2]:
        yield "its weights transposed", attention.returned(weights.mT)


@mistake(BOTH)
def exchanged(call: Call) -> Made:
    query, key, value = call.inputs[:3]
    ways = {"queries and keys": (key, query, value), "keys and values": (query, value, key)}
    ways["queries and values"] = (value, key, query)
    for words, (q, k, v) in ways.items():
        if q.shape == query.shape and k.shape == key.shape and v.shape == value.shape:
            yield f"{words} exchanged", call(q, k, v)


@mistake(BOTH, "a key's features normalised: cosines for scores")
def cosines(call: Call) -> Any:
    attention = attention_of(call)
    unit = (one / one.norm(dim=-1, keepdim=True) for one in (attention.query, attention.key))
    query, key = unit
    return replace(attention, query=query, key=key)(1.0)


@mistake(MODULE)
def packed_otherwise(call: Call) -> Made:
    """Where the rows of in_proj_weight are taken for others than they are."""
    heads, width = int(call.options["num_heads"]), call["in_proj_weight"].shape[1]
    names, rows = "qkv", torch.arange(3 * width)
    for order in permutations(range(3)):
        if list(order) != sorted(order):
            taken = ", ".join(names[one] for one in order)
            blocks = rows.chunk(3)
            places = torch.cat([blocks[order.index(one)] for one in range(3)])
            words = f"in_proj_weight taken in the order {taken} where it is q, k, v"
            yield words, partial(_repacked, call, places)
    if width % heads:
        return
    by_head = rows.reshape(heads, 3, -1).transpose(0, 1).flatten()
    if heads > 1:
        words = "in_proj_weight taken head by head, q, k, v of each"
        yield words, partial(_repacked, call, by_head)
    words = "in_proj_weight's rows taken for q, k, v in turn (every third)"
    yield words, partial(_repacked, call, rows.reshape(-1, 3).T.flatten())


def _repacked(call: Call, places: Tensor) -> Any:
    changed: dict[str, Tensor] = {"in_proj_weight": call["in_proj_weight"][places]}
    if call.get("in_proj_bias") is not None:
        changed["in_proj_bias"] = call["in_proj_bias"][places]
    return call(**changed)


@mistake(MODULE)
def other_heads(call: Call) -> Made:
    heads = int(call.options["num_heads"])
    width = call.inputs[0].shape[-1]
    if heads > 1:
        words = "its heads interleaved: head i has the features i, i + heads, ..."
        yield words, attention_of(call, _interleaved, _from_interleaved)()
        words = "its heads made by a view alone, which mixes time and features (no transpose)"
        yield words, attention_of(call, _viewed, _from_viewed)()
        words = "its heads put together by a view alone (no transpose back)"
        yield words, attention_of(call, merge=_from_viewed)()
    for other in dict.fromkeys((1, 2, 4, 8)):
        if other != heads and width % other == 0:
            words = f"{other} head{'s' if other > 1 else ''} where there are {heads}"
            yield words, partial(call, num_heads=other)


def _interleaved(x: Tensor, heads: int) -> Tensor:
    return x.unflatten(2, (-1, heads)).permute(0, 3, 1, 2)


def _from_interleaved(x: Tensor) -> Tensor:
    return x.permute(0, 2, 3, 1).flatten(2)


def _viewed(x: Tensor, heads: int) -> Tensor:
    return x.reshape(len(x), heads, x.shape[1], -1)


def _from_viewed(x: Tensor) -> Tensor:
    return x.reshape(len(x), x.shape[2], -1)


@mistake(MODULE)
def projections_missing(call: Call) -> Made:
    weight, bias = call["out_proj.weight"], call.get("out_proj.bias")
    one = torch.eye(len(weight), dtype=weight.dtype)
    none = None if bias is None else torch.zeros_like(bias)
    yield "no projection of its output", call(**{"out_proj.weight": one, "out_proj.bias": none})
    yield "the weight of its output's projection transposed", call(**{"out_proj.weight": weight.T})
    if none is not None:
        yield "no bias of its output's projection", call(**{"out_proj.bias": none})
    packed = call.get("in_proj_bias")
    if packed is not None:
        yield "no bias of its inputs' projections", call(in_proj_bias=torch.zeros_like(packed))


@mistake(MODULE, "time and batch exchanged (batch_first)")
def batch_as_time(call: Call) -> Any:
    if call.inputs[0].dim() != 3 or len(call.inputs) > 3:
        return None
    first = not call.options["batch_first"]
    return call(batch_first=first)


@mistake(MODULE)
def other_weights_returned(call: Call) -> Made:
    heads = int(call.options["num_heads"])
    if not call.options["need_weights"] or heads < 2:
        return
    if call.options["average_attn_weights"]:
        y, weights = call(average_attn_weights=False)
        yield "the sum of the heads' weights, where it is their mean", (y, weights.sum(-3))
        yield "the first head's weights, where it is the mean of all", (y, weights.select(-3, 0))
        yield "the weights of each head, where it is their mean", (y, weights)
    else:
        yield (
            "the mean of the heads' weights, where it is those of each",
            call(average_attn_weights=True),
        )


@mistake(BOTH)
def other_dropout(call: Call) -> Made:
    attention = attention_of(call)
    if attention.kept is None:
        return
    weights = torch.softmax(attention.masked(attention.scores()), -1)
    kept = attention.kept.to(weights.dtype)
    plain = replace(attention, kept=None)
    if call.layer == FUNCTION:  # a module has a mode for that
        yield "no dropout of its weights", plain.returned(weights)
    yield "1/(1 - p) missing in the dropout of its weights", plain.returned(weights * kept)


@mistake(BOTH, "its weights get no gradient: values alone do", backward=True)
def weights_cut(call: Call) -> Any:
    attention = attention_of(call)
    weights = torch.softmax(attention.masked(attention.scores()), -1).detach()
    return attention.returned(weights.nan_to_num(0.0))  # of a query that may see nothing
