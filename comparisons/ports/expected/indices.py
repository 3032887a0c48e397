"""Numbers that point at rows or classes, in the base in which a language counts."""

from __future__ import annotations

import torch
from torch import Tensor

from comparisons.ports.expected.call import NotRecomputableError

__all__ = ["from_zero", "in_base", "setting_from_zero"]


def from_zero(values: Tensor, index_base: int) -> Tensor:
    """Returns recorded indices counted from 0. Negative ones are no indices (a class that is
    ignored) and stay; so does a mask. Whole numbers may be given as floats."""
    if values.dtype == torch.bool:
        return values
    whole = values.to(torch.int64)
    if values.is_floating_point() and not torch.equal(whole.to(values.dtype), values):
        raise NotRecomputableError("indices that are not whole numbers")
    return torch.where(whole >= 0, whole - index_base, whole)


def in_base(indices: Tensor, index_base: int) -> Tensor:
    """Returns indices as the language counts them."""
    return indices + index_base


def setting_from_zero(value: int | None, index_base: int) -> int | None:
    """Returns an option that is an index (`padding_idx`, `ignore_index`) counted from 0."""
    if value is None or value < 0:
        return value
    return value - index_base
