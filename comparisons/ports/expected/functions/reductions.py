"""Functions that take several elements together: sums, means, largest values."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from comparisons.ports.expected.functions.arithmetic import real
from comparisons.ports.expected.indices import in_base

__all__ = ["REDUCTIONS"]

Axes = int | Sequence[int] | None


def _reduced(function: Callable[..., Tensor], is_real: bool = False) -> Callable[..., Tensor]:
    def reduction(input: Tensor, *, dim: Axes = None, keepdim: bool = False) -> Tensor:
        input = real(input) if is_real else input
        if dim is None or dim == []:
            axes = list(range(input.dim()))
            return function(input, axes, keepdim) if axes else function(input, [], False)
        return function(input, dim, keepdim)

    return reduction


def _prod(input: Tensor, *, dim: int | None = None, keepdim: bool = False) -> Tensor:
    return input.prod() if dim is None else input.prod(dim, keepdim)


def _spread(function: Callable[..., Any]) -> Callable[..., Any]:
    def spread(
        input: Tensor,
        *,
        dim: Axes = None,
        unbiased: bool = True,
        correction: float | None = None,
        keepdim: bool = False,
    ) -> Any:
        less = int(unbiased) if correction is None else correction
        return function(input, dim or None if isinstance(dim, list) else dim, correction=less,
                        keepdim=keepdim)  # fmt: skip

    return spread


def _extreme(
    all_of: Callable[..., Tensor], along: Callable[..., Any], two: Callable[..., Tensor]
) -> Callable[..., Any]:
    def extreme(
        input: Tensor,
        other: Tensor | None = None,
        *,
        dim: int | None = None,
        keepdim: bool = False,
        index_base: int = 0,
    ) -> Any:
        if other is not None:
            return two(input, other)
        if dim is None:
            return all_of(input)
        values, indices = along(input, dim, keepdim)
        return values, in_base(indices, index_base)

    return extreme


def _median(input: Tensor, *, dim: int | None = None, keepdim: bool = False) -> Any:
    """R's torch, too, counts its indices from 0, unlike those of `max` and `sort`."""
    if dim is None:
        return input.median()
    values, indices = torch.median(input, dim, keepdim)
    return values, indices


def _place(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    def place(
        input: Tensor, *, dim: int | None = None, keepdim: bool = False, index_base: int = 0
    ) -> Tensor:
        return in_base(function(input, dim, keepdim), index_base)

    return place


def _sort(
    input: Tensor,
    *,
    dim: int = -1,
    descending: bool = False,
    stable: bool = False,
    index_base: int = 0,
) -> Any:
    values, indices = torch.sort(input, dim=dim, descending=descending, stable=stable)
    return values, in_base(indices, index_base)


def _argsort(
    input: Tensor,
    *,
    dim: int = -1,
    descending: bool = False,
    stable: bool = False,
    index_base: int = 0,
) -> Tensor:
    return _sort(
        input, dim=dim, descending=descending, stable=stable, index_base=index_base
    )[1]  # fmt: skip


def _trace(input: Tensor) -> Tensor:
    return input.trace()


def _topk(
    input: Tensor,
    *,
    k: int,
    dim: int = -1,
    largest: bool = True,
    sorted: bool = True,
    index_base: int = 0,
) -> Any:
    values, indices = torch.topk(input, k, dim, largest, sorted)
    return values, in_base(indices, index_base)


def _norm(
    input: Tensor, *, p: float | str | None = "fro", dim: Axes = None, keepdim: bool = False
) -> Tensor:
    order = 2 if p in (None, "fro") else p
    return torch.linalg.vector_norm(input, order, dim or None if isinstance(dim, list) else dim,
                                    keepdim)  # fmt: skip


def _vector_norm(
    input: Tensor, *, ord: float = 2, dim: Axes = None, keepdim: bool = False
) -> Tensor:
    return _norm(input, p=ord, dim=dim, keepdim=keepdim)


def _along(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    def along(input: Tensor, *, dim: int) -> Tensor:
        return function(input, dim)

    return along


REDUCTIONS: Mapping[str, Callable[..., Any]] = {
    "sum": _reduced(lambda x, dim, keepdim: torch.sum(x, dim, keepdim)),
    "mean": _reduced(lambda x, dim, keepdim: torch.mean(x, dim, keepdim), is_real=True),
    "amax": _reduced(lambda x, dim, keepdim: torch.amax(x, dim, keepdim)),
    "amin": _reduced(lambda x, dim, keepdim: torch.amin(x, dim, keepdim)),
    "logsumexp": _reduced(lambda x, dim, keepdim: torch.logsumexp(x, dim, keepdim)),
    "all": _reduced(lambda x, dim, keepdim: torch.all(x, dim, keepdim)),
    "any": _reduced(lambda x, dim, keepdim: torch.any(x, dim, keepdim)),
    "prod": _prod,
    "var": _spread(torch.var),
    "std": _spread(torch.std),
    "max": _extreme(torch.max, torch.max, torch.maximum),
    "min": _extreme(torch.min, torch.min, torch.minimum),
    "var_mean": _spread(torch.var_mean),
    "std_mean": _spread(torch.std_mean),
    "median": _median,
    "trace": _trace,
    "argsort": _argsort,
    "argmax": _place(torch.argmax),
    "argmin": _place(torch.argmin),
    "sort": _sort,
    "topk": _topk,
    "norm": _norm,
    "linalg_vector_norm": _vector_norm,
    "cumsum": _along(torch.cumsum),
    "cumprod": _along(torch.cumprod),
    "logcumsumexp": _along(torch.logcumsumexp),
}
