"""Functions of one and two tensors, element by element, and matrix products.

A number may stand in the place of either tensor.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from comparisons.ports.expected.indices import in_base

__all__ = ["ARITHMETIC", "PRODUCTS", "real"]

Number = bool | int | float


def real(value: Any) -> Any:
    """Whole numbers as float64, where a function makes real numbers of them."""
    if isinstance(value, Tensor) and not value.is_floating_point():
        return value.to(torch.float64)
    return value


def _one(function: Callable[[Tensor], Tensor]) -> Callable[..., Tensor]:
    def unary(input: Tensor) -> Tensor:
        return function(real(input))

    return unary


def _whole(function: Callable[[Tensor], Tensor]) -> Callable[..., Tensor]:
    def unary(input: Tensor) -> Tensor:
        return function(input)

    return unary


def _two(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    def binary(input: Tensor | Number, other: Tensor | Number) -> Tensor:
        if isinstance(input, float) or isinstance(other, float):
            input, other = real(input), real(other)
        return function(input, other)

    return binary


def _scaled(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    def binary(input: Tensor | Number, other: Tensor | Number, *, alpha: float = 1) -> Tensor:
        if any(isinstance(one, float) for one in (input, other, alpha)):
            input, other = real(input), real(other)
        return function(input, other if alpha == 1 else alpha * other)

    return binary


def _div(
    input: Tensor | Number, other: Tensor | Number, *, rounding_mode: str | None = None
) -> Tensor:
    if rounding_mode is None:
        input, other = real(input), real(other)
    if not isinstance(input, Tensor):
        input = torch.as_tensor(input, dtype=torch.float64)
    return torch.div(input, other, rounding_mode=rounding_mode)


def _tensors(function: Callable[[Tensor, Tensor], Tensor]) -> Callable[..., Tensor]:
    """For functions that take no plain numbers."""

    def binary(input: Tensor | Number, other: Tensor | Number) -> Tensor:
        first, second = (
            one if isinstance(one, Tensor) else torch.tensor(one, dtype=torch.float64)
            for one in (input, other)
        )
        return function(first, second)

    return binary


def _products(function: Callable[[Tensor, Tensor], Tensor]) -> Callable[..., Tensor]:
    def product(input: Tensor, other: Tensor) -> Tensor:
        return function(input, other)

    return product


def _added(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    def product(
        input: Tensor, first: Tensor, second: Tensor, *, beta: float = 1, alpha: float = 1
    ) -> Tensor:
        return function(input, first, second, beta=beta, alpha=alpha)

    return product


def _addcmul(input: Tensor, first: Tensor, second: Tensor, *, value: float = 1) -> Tensor:
    return torch.addcmul(input, first, second, value=value)


def _addcdiv(input: Tensor, first: Tensor, second: Tensor, *, value: float = 1) -> Tensor:
    return torch.addcdiv(input, first, second, value=value)


def _clamp(
    input: Tensor, min: Tensor | Number | None = None, max: Tensor | Number | None = None
) -> Tensor:
    if isinstance(min, float) or isinstance(max, float):
        input = real(input)
    clamp: Callable[..., Tensor] = torch.clamp
    return clamp(input, min, max)


def _clamp_min(input: Tensor, min: Tensor | Number) -> Tensor:
    return _clamp(input, min)


def _clamp_max(input: Tensor, max: Tensor | Number) -> Tensor:
    return _clamp(input, None, max)


def _where(
    condition: Tensor,
    input: Tensor | Number | None = None,
    other: Tensor | Number | None = None,
    *,
    index_base: int = 0,
) -> Tensor | tuple[Tensor, ...]:
    """With a condition alone, where it is true: an index for each axis."""
    chosen = condition.to(torch.bool)
    if input is None or other is None:
        return tuple(in_base(one, index_base) for one in torch.where(chosen))
    return torch.where(chosen, input, other)


def _masked_fill(input: Tensor, mask: Tensor, value: Tensor | Number) -> Tensor:
    return input.masked_fill(mask.to(torch.bool), value)


def _lerp(input: Tensor, end: Tensor, weight: Tensor | Number) -> Tensor:
    return torch.lerp(input, end, weight)


def _cross(input: Tensor, other: Tensor, *, dim: int = -1) -> Tensor:
    return torch.linalg.cross(input, other, dim=dim)


def _tensordot(input: Tensor, other: Tensor, *, dim: Any = 2) -> Tensor:
    return torch.tensordot(input, other, dim)


def _cdist(input: Tensor, other: Tensor, *, p: float = 2.0) -> Tensor:
    return torch.cdist(input, other, p)


def _einsum(*operands: Tensor, equation: str) -> Tensor:
    return torch.einsum(equation, *operands)


def _nan_to_num(
    input: Tensor, *, nan: float = 0.0, posinf: float | None = None, neginf: float | None = None
) -> Tensor:
    return torch.nan_to_num(input, nan, posinf, neginf)


UNARY: Mapping[str, Callable[[Tensor], Tensor]] = {
    "exp": torch.exp, "exp2": torch.exp2, "expm1": torch.expm1, "log": torch.log,
    "log2": torch.log2, "log10": torch.log10, "log1p": torch.log1p, "sqrt": torch.sqrt,
    "rsqrt": torch.rsqrt, "reciprocal": torch.reciprocal, "sin": torch.sin, "cos": torch.cos,
    "tan": torch.tan, "asin": torch.asin, "acos": torch.acos, "atan": torch.atan,
    "sinh": torch.sinh, "cosh": torch.cosh, "asinh": torch.asinh, "acosh": torch.acosh,
    "atanh": torch.atanh, "erf": torch.erf, "erfc": torch.erfc, "erfinv": torch.erfinv,
    "sinc": torch.sinc, "special_entr": torch.special.entr, "special_ndtr": torch.special.ndtr,
    "special_log_ndtr": torch.special.log_ndtr, "lgamma": torch.lgamma,
    "digamma": torch.digamma, "logit": torch.logit,
}  # fmt: skip
UNARY_WHOLE: Mapping[str, Callable[[Tensor], Tensor]] = {
    "neg": torch.neg, "negative": torch.neg, "abs": torch.abs, "sign": torch.sign,
    "square": torch.square, "floor": torch.floor, "ceil": torch.ceil, "round": torch.round,
    "trunc": torch.trunc, "frac": torch.frac, "positive": torch.positive,
    "logical_not": torch.logical_not, "bitwise_not": torch.bitwise_not,
    "isnan": torch.isnan, "isfinite": torch.isfinite, "isinf": torch.isinf,
}  # fmt: skip
BINARY: Mapping[str, Callable[..., Tensor]] = {
    "mul": operator.mul,
    "multiply": operator.mul,
    "pow": operator.pow,
    "remainder": operator.mod,
    "floor_divide": operator.floordiv,
    "eq": operator.eq,
    "ne": operator.ne,
    "lt": operator.lt,
    "le": operator.le,
    "gt": operator.gt,
    "ge": operator.ge,
    "logical_and": lambda a, b: torch.logical_and(a, b),
    "bitwise_and": operator.and_,
    "bitwise_or": operator.or_,
    "bitwise_xor": operator.xor,
    "logical_or": lambda a, b: torch.logical_or(a, b),
    "xlogy": torch.xlogy,
}
ARITHMETIC: Mapping[str, Callable[..., Any]] = {
    **{name: _one(function) for name, function in UNARY.items()},
    **{name: _whole(function) for name, function in UNARY_WHOLE.items()},
    **{name: _two(function) for name, function in BINARY.items()},
    "add": _scaled(operator.add),
    "sub": _scaled(operator.sub),
    "subtract": _scaled(operator.sub),
    "rsub": lambda input, other, *, alpha=1: _scaled(operator.sub)(other, input, alpha=alpha),
    "div": _div,
    "divide": _div,
    "true_divide": _div,
    "maximum": _tensors(torch.maximum),
    "minimum": _tensors(torch.minimum),
    "atan2": _tensors(torch.atan2),
    "fmax": _tensors(torch.fmax),
    "fmin": _tensors(torch.fmin),
    "hypot": _tensors(torch.hypot),
    "logaddexp": _tensors(torch.logaddexp),
    "fmod": _tensors(torch.fmod),
    "matmul": _products(torch.matmul),
    "linalg_matmul": _products(torch.matmul),
    "inner": _products(torch.inner),
    "ger": _products(torch.outer),
    "cross": _cross,
    "linalg_cross": _cross,
    "tensordot": _tensordot,
    "cdist": _cdist,
    "mm": _products(torch.mm),
    "bmm": _products(torch.bmm),
    "mv": _products(torch.mv),
    "dot": _products(torch.dot),
    "outer": _products(torch.outer),
    "addmm": _added(torch.addmm),
    "addmv": _added(torch.addmv),
    "addbmm": _added(torch.addbmm),
    "baddbmm": _added(torch.baddbmm),
    "addr": _added(torch.addr),
    "addcmul": _addcmul,
    "addcdiv": _addcdiv,
    "clamp": _clamp,
    "clip": _clamp,
    "clamp_min": _clamp_min,
    "clamp_max": _clamp_max,
    "where": _where,
    "masked_fill": _masked_fill,
    "lerp": _lerp,
    "einsum": _einsum,
    "nan_to_num": _nan_to_num,
}
# Of these, what returns more than its inputs broadcast against each other
PRODUCTS = frozenset({
    "addbmm", "addmm", "addmv", "addr", "baddbmm", "bmm", "cdist", "cross", "dot", "einsum", "ger",
    "inner", "linalg_cross", "linalg_matmul", "matmul", "mm", "mv", "outer", "tensordot",
})  # fmt: skip
