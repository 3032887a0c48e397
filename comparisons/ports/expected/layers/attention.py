"""Attention."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch.nn.functional as F
from torch import Tensor

from comparisons.ports.expected.call import NotRecomputableError
from comparisons.ports.expected.masks import with_masks

__all__ = ["ATTENTION", "masks_by_shape"]

PACKED = ("in_proj_weight", "in_proj_bias", "bias_k", "bias_v")
OUTPUT = ("out_proj.weight", "out_proj.bias")
SEPARATE = ("q_proj_weight", "k_proj_weight", "v_proj_weight")


def _scaled_dot_product_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    *,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
    draw: Tensor | None = None,
) -> Tensor:
    with with_masks(dropout_p, () if draw is None else (draw,)):
        return F.scaled_dot_product_attention(
            query,
            key,
            value,
            attn_mask,
            float(dropout_p),
            is_causal=is_causal,
            scale=scale,
            enable_gqa=enable_gqa,
        )


def masks_by_shape(
    query: Tensor, key: Tensor, given: Sequence[Tensor], heads: int
) -> tuple[Tensor | None, Tensor | None]:
    """Tells `key_padding_mask` and `attn_mask` apart by their shapes, where they come by place.

    Arguments:
        query, key: (N, L, E) and (N, S, E).
        given: The masks.
        heads: Number of heads.

    Returns:
        `key_padding_mask` and `attn_mask`.
    """
    if len(given) == 2:
        return given[0], given[1]
    if not given:
        return None, None
    if len(given) > 1:
        raise NotRecomputableError(f"{len(given)} masks")
    (mask,) = given
    padding = tuple(mask.shape) == (key.shape[0], key.shape[1])
    pairs = (query.shape[1], key.shape[1])
    attention = tuple(mask.shape) in (pairs, (query.shape[0] * heads, *pairs))
    if padding == attention:
        raise NotRecomputableError("a mask that may be key_padding_mask or attn_mask")
    return (mask, None) if padding else (None, mask)


def _multihead_attention(
    *inputs: Tensor,
    num_heads: int,
    dropout: float = 0.0,
    add_zero_attn: bool = False,
    batch_first: bool = False,
    need_weights: bool = True,
    average_attn_weights: bool = True,
    is_causal: bool = False,
    training: bool = True,
    draw: Tensor | None = None,
    **roles: Tensor,
) -> tuple[Tensor, ...]:
    """Vaswani et al. (2017), Attention Is All You Need, section 3.2."""
    query, key, value, *given = inputs
    unbatched = query.dim() == 2
    if unbatched:
        query, key, value = (one.unsqueeze(0) for one in (query, key, value))
    elif not batch_first:
        query, key, value = (one.transpose(0, 1) for one in (query, key, value))
    padding, attention = masks_by_shape(query, key, given, num_heads)
    padding, attention = (
        roles.pop("key_padding_mask", padding),
        roles.pop("attn_mask", attention),
    )
    if unbatched and padding is not None and padding.dim() == 1:
        padding = padding.unsqueeze(0)
    attend: Callable[..., tuple[Tensor, Tensor | None]] = F.multi_head_attention_forward
    projections = {name: roles.pop(name, None) for name in SEPARATE}
    dropped = float(dropout) if training else 0.0
    with with_masks(dropped, () if draw is None else (draw,)):
        y, weights = attend(
            *(one.transpose(0, 1) for one in (query, key, value)),
            query.shape[2],
            num_heads,
            *(roles.pop(name, None) for name in PACKED),
            add_zero_attn,
            dropped,
            *(roles.pop(name, None) for name in OUTPUT),
            training=training,
            key_padding_mask=padding,
            need_weights=need_weights,
            attn_mask=attention,
            average_attn_weights=average_attn_weights,
            is_causal=is_causal and attention is not None,
            use_separate_proj_weight=projections["q_proj_weight"] is not None,
            **projections,
        )
    if roles:
        raise NotRecomputableError(f"multihead_attention takes no {min(roles)}")
    y = y.transpose(0, 1) if batch_first and not unbatched else y
    y = y.squeeze(1) if unbatched else y
    if weights is None:
        return (y,)
    return y, weights.squeeze(0) if unbatched else weights


ATTENTION: Mapping[str, Callable[..., Any]] = {
    "multihead_attention": _multihead_attention,
    "scaled_dot_product_attention": _scaled_dot_product_attention,
}
