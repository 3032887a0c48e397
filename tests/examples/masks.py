"""The masks that a layer draws, for a stand-in that makes a mistake with them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from pyvae.recording.seen.generators import DROPOUT
from pyvae.recording.seen.masks_within import drops_within

__all__ = ["mask_for"]


def mask_for(
    layer: str, options: Mapping[str, Any], training: bool, inputs: tuple[Tensor, ...]
) -> Tensor | None:
    """Draws the mask that a layer would draw now, as a recorder writes it down; None if it draws
    none."""
    x = inputs[0].detach()
    if layer in DROPOUT and training:
        return (DROPOUT[layer](torch.ones_like(x), options["p"], True) != 0).to(torch.uint8)
    p = drops_within(layer, options, training)
    if not p:
        return None
    if layer in ("lstm", "gru", "rnn"):
        batch, time = x.shape[:2] if options["batch_first"] else (x.shape[1], x.shape[0])
        width = options["hidden_size"] * (1 + options["bidirectional"])
        shapes = [(time, batch, width)] * (options["num_layers"] - 1)
    elif layer == "multihead_attention":
        batch, time = x.shape[:2] if options["batch_first"] else (x.shape[1], x.shape[0])
        shapes = [(batch * options["num_heads"], time, time)]
    else:
        shapes = [(*x.shape[:-1], inputs[1].shape[-2])]
    drawn = [torch.empty(shape, dtype=x.dtype).bernoulli_(1 - p) for shape in shapes]
    if layer == "multihead_attention":
        return drawn[0].unflatten(0, (-1, options["num_heads"]))
    return torch.stack(drawn) if layer in ("lstm", "gru", "rnn") else drawn[0]
