"""What the machine can do: its matrix product and its memory.

A step of training is mostly matrix products (`benchmarks.limits.flops` counts them), so that the
speed of one large product bounds it from below; between the products everything is a walk through
memory.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch

__all__ = ["COPY_BYTES", "PRODUCT_FLOP", "copies", "gflop_per_second", "gigabytes_per_second",
           "products"]  # fmt: skip

SIZE = 2048
PRODUCT_FLOP = 2 * SIZE**3  # a multiplication and an addition for each of n^3 terms
COPIED = 2**28  # bytes, well beyond every cache
COPY_BYTES = 2 * COPIED  # read and written


def products() -> Iterator[object]:
    """One float32 product of two 2048x2048 matrices after the other."""
    a, b = torch.randn(2, SIZE, SIZE)
    result = torch.empty(SIZE, SIZE)
    while True:
        yield torch.mm(a, b, out=result)


def copies() -> Iterator[object]:
    """One copy of 256 MB after the other."""
    source = torch.ones(COPIED // 4)
    target = torch.empty_like(source)
    while True:
        yield target.copy_(source)


def gflop_per_second(milliseconds: float) -> float:
    """Of one product."""
    return PRODUCT_FLOP / milliseconds / 1e6


def gigabytes_per_second(milliseconds: float) -> float:
    """Of one copy: bytes read and bytes written."""
    return COPY_BYTES / milliseconds / 1e6
