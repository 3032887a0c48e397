"""Attention in its parts, so that one of them may be another."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from comparisons.ports.expected.call import NotRecomputableError
from comparisons.ports.expected.layers.attention import masks_by_shape
from comparisons.ports.mistakes.mistake import Call

__all__ = ["Attention", "attention_of"]

Split = Callable[[Tensor, int], Tensor]


def by_heads(x: Tensor, heads: int) -> Tensor:
    """(N, L, E) as (N, heads, L, d), as PyTorch does."""
    return x.unflatten(2, (heads, -1)).transpose(1, 2)


def from_heads(x: Tensor) -> Tensor:
    """(N, heads, L, d) as (N, L, E), as PyTorch does."""
    return x.transpose(1, 2).flatten(2)


@dataclass(frozen=True)
class Attention:
    """softmax(q k' scale + mask) v, in its parts.

    Attributes:
        query, key, value: (..., queries, features), (..., keys, features).
        hidden: Which keys a query must not see, true there; None: it may see all.
        added: What is added to the scores besides; None: nothing.
        kept: The mask of dropout; None: nothing is dropped.
        p: The probability to drop.
        scale: What scores are multiplied by.
        width: Of all heads together.
        finish: Makes what the layer returns of the weighted values and the weights.
    """

    query: Tensor
    key: Tensor
    value: Tensor
    hidden: Tensor | None
    added: Tensor | None
    kept: Tensor | None
    p: float
    scale: float
    width: int
    finish: Callable[[Tensor, Tensor], Any] = field(default=lambda y, weights: y)

    def scores(self, scale: float | None = None) -> Tensor:
        """Before the mask."""
        return self.query @ self.key.mT * (self.scale if scale is None else scale)

    def masked(self, scores: Tensor) -> Tensor:
        scores = scores if self.added is None else scores + self.added
        return scores if self.hidden is None else scores.masked_fill(self.hidden, -math.inf)

    def returned(self, weights: Tensor) -> Any:
        """What the layer returns with these weights."""
        if self.kept is not None:
            weights = weights * self.kept.to(weights.dtype) / (1 - self.p)
        return self.finish(weights @ self.value, weights)

    def __call__(self, scale: float | None = None) -> Any:
        """As it should be, or with another scale."""
        return self.returned(torch.softmax(self.masked(self.scores(scale)), -1))


def attention_of(call: Call, split: Split = by_heads, merge: Any = from_heads) -> Attention:
    """Takes a call of a layer of attention apart.

    Arguments:
        call: The layer.
        split, merge: Makes heads of features, and features of heads.
    """
    if call.layer == "scaled_dot_product_attention":
        return _function(call)
    return _module(call, split, merge)


def _function(call: Call) -> Attention:
    query, key, value, *_ = call.inputs
    options = call.options
    if options.get("enable_gqa"):
        raise NotRecomputableError("keys that several heads share")
    mask = call.get("attn_mask")
    seen = mask is not None and mask.dtype == torch.bool
    hidden = ~mask if seen and mask is not None else None
    if options.get("is_causal"):
        hidden = _causal(query, key)
    width, scale = query.shape[-1], options.get("scale")
    return Attention(
        query, key, value, hidden, None if seen else mask,
        *_dropped(call, float(options.get("dropout_p") or 0)),
        1 / math.sqrt(width) if scale is None else scale,
        width * (query.shape[-3] if query.dim() > 3 else 1),
    )  # fmt: skip


def _causal(query: Tensor, key: Tensor) -> Tensor:
    shape = (query.shape[-2], key.shape[-2])
    return torch.ones(shape, dtype=torch.bool, device=query.device).triu(1)


def _dropped(call: Call, p: float) -> tuple[Tensor | None, float]:
    if not p or not call.training:
        return None, 0.0
    if call.draw is None:
        raise NotRecomputableError("a mask that was not recorded")
    return call.draw, p


def _module(call: Call, split: Split, merge: Callable[[Tensor], Tensor]) -> Attention:
    options, first = call.options, bool(call.options["batch_first"])
    query, key, value, *_ = call.inputs
    if query.dim() != 3 or call.get("bias_k") is not None or options["add_zero_attn"]:
        raise NotRecomputableError("no batch, or further keys")
    if not first:
        query, key, value = (one.transpose(0, 1) for one in (query, key, value))
    heads, width = int(options["num_heads"]), query.shape[2]
    biases = _biases(call)
    q, k, v = (
        split(F.linear(one, weight, bias), heads)
        for one, weight, bias in zip((query, key, value), _weights(call), biases, strict=True)
    )
    hidden, added = _masks(call, query, key, heads)

    def finish(y: Tensor, weights: Tensor) -> Any:
        y = F.linear(merge(y), call["out_proj.weight"], call.get("out_proj.bias"))
        y = y if first else y.transpose(0, 1)
        if not options["need_weights"]:
            return (y,)
        return y, weights.mean(1) if options["average_attn_weights"] else weights

    kept, p = _dropped(call, float(options["dropout"]))
    scale = 1 / math.sqrt(width // heads)
    return Attention(q, k, v, hidden, added, kept, p, scale, width, finish)


def _weights(call: Call) -> list[Tensor]:
    packed = call.get("in_proj_weight")
    if packed is not None:
        return list(packed.chunk(3))
    return [call[f"{name}_proj_weight"] for name in "qkv"]


def _biases(call: Call) -> list[Tensor | None]:
    packed = call.get("in_proj_bias")
    return [None] * 3 if packed is None else list(packed.chunk(3))


def _masks(
    call: Call, query: Tensor, key: Tensor, heads: int
) -> tuple[Tensor | None, Tensor | None]:
    """What must not be seen, and what is added to the scores, for (N, heads, L, S)."""
    padding, attention = masks_by_shape(query, key, call.inputs[3:], heads)
    given = call.get("key_padding_mask"), call.get("attn_mask")
    padding = padding if given[0] is None else given[0]
    attention = attention if given[1] is None else given[1]
    hidden: Tensor | None = None
    added: Tensor | None = None
    if padding is not None:
        padding = padding[:, None, None, :]
    if attention is not None and attention.dim() == 3:
        attention = attention.unflatten(0, (-1, heads))
    for mask in (padding, attention):
        if mask is None:
            continue
        if mask.dtype == torch.bool:
            hidden = mask if hidden is None else hidden | mask
        else:
            added = mask if added is None else added + mask
    return hidden, added
