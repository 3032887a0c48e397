"""A vector that meets an array down its columns, as R's operators recycle it, where it belongs to
another axis: `x + b` in place of `sweep(x, 2, b, "+")`."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

__all__ = ["recycled"]


def recycled(vector: Tensor, shape: Sequence[int]) -> Tensor:
    """A vector as R recycles it over an array of a shape: its numbers one after the other, along
    the first axis first.

    Example:
        >>> recycled(torch.tensor([1, 2, 3]), (2, 3)).tolist()
        [[1, 3, 2], [2, 1, 3]]
    """
    vector = vector.flatten()
    count = int(torch.Size(shape).numel())
    numbers = vector[torch.arange(count, device=vector.device) % vector.numel()]
    return numbers.reshape(*reversed(shape)).permute(*reversed(range(len(shape))))
