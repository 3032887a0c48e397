"""What is solved and decomposed: Gaussian processes, Kalman filters, flows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

__all__ = ["LINEAR_ALGEBRA"]


def _cholesky(input: Tensor, *, upper: bool = False) -> Tensor:
    return torch.linalg.cholesky(input, upper=upper)


def _cholesky_solve(input: Tensor, input2: Tensor, *, upper: bool = False) -> Tensor:
    return torch.cholesky_solve(input, input2, upper)


def _cholesky_inverse(input: Tensor, *, upper: bool = False) -> Tensor:
    return torch.cholesky_inverse(input, upper)


def _solve(input: Tensor, other: Tensor, *, left: bool = True) -> Tensor:
    return torch.linalg.solve(input, other, left=left)


def _solve_triangular(
    input: Tensor, other: Tensor, *, upper: bool, left: bool = True, unitriangular: bool = False
) -> Tensor:
    return torch.linalg.solve_triangular(
        input, other, upper=upper, left=left, unitriangular=unitriangular
    )


def _one(function: Callable[[Tensor], Any]) -> Callable[[Tensor], Any]:
    def of_one(input: Tensor) -> Any:
        return function(input)

    return of_one


LINEAR_ALGEBRA: Mapping[str, Callable[..., Any]] = {
    **dict.fromkeys(("cholesky", "linalg_cholesky"), _cholesky),
    "cholesky_solve": _cholesky_solve,
    "cholesky_inverse": _cholesky_inverse,
    "linalg_solve": _solve,
    "linalg_solve_triangular": _solve_triangular,
    **dict.fromkeys(("inverse", "linalg_inv"), _one(torch.linalg.inv)),
    **dict.fromkeys(("det", "linalg_det"), _one(torch.linalg.det)),
    "logdet": _one(torch.logdet),
    **dict.fromkeys(("slogdet", "linalg_slogdet"), _one(torch.linalg.slogdet)),
}
