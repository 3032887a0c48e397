"""Functions that take pieces of a tensor by their places.

Tensors that hold indices count as the language does; numbers within options count from 0.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from comparisons.ports.expected.call import NotRecomputableError
from comparisons.ports.expected.indices import from_zero, in_base

__all__ = ["INDEXING"]


def _select(input: Tensor, *, dim: int, index: int) -> Tensor:
    return input.select(dim, index)


def _slice(
    input: Tensor, *, dim: int = 0, start: int | None = None, end: int | None = None, step: int = 1
) -> Tensor:
    places: list[slice] = [slice(None)] * input.dim()
    places[dim] = slice(start, end, step)
    return input[tuple(places)]


def _narrow(input: Tensor, *, dim: int, start: int, length: int) -> Tensor:
    return input.narrow(dim, start, length)


def _index_select(input: Tensor, index: Tensor, *, dim: int, index_base: int = 0) -> Tensor:
    return input.index_select(dim, from_zero(index, index_base))


def _gather(input: Tensor, index: Tensor, *, dim: int, index_base: int = 0) -> Tensor:
    return input.gather(dim, from_zero(index, index_base))


def _take_along_dim(
    input: Tensor, indices: Tensor, *, dim: int | None = None, index_base: int = 0
) -> Tensor:
    return torch.take_along_dim(input, from_zero(indices, index_base), dim)


def _scatter(
    input: Tensor, index: Tensor, src: Tensor | float, *, dim: int, index_base: int = 0
) -> Tensor:
    return torch.scatter(input, dim, from_zero(index, index_base), src)


def _scatter_add(
    input: Tensor, index: Tensor, src: Tensor, *, dim: int, index_base: int = 0
) -> Tensor:
    return torch.scatter_add(input, dim, from_zero(index, index_base), src)


def _index_add(
    input: Tensor,
    index: Tensor,
    source: Tensor,
    *,
    dim: int,
    alpha: float = 1,
    index_base: int = 0,
) -> Tensor:
    return torch.index_add(input, dim, from_zero(index, index_base), source, alpha=alpha)


def _index_fill(
    input: Tensor,
    index: Tensor,
    value: Tensor | float | None = None,
    *,
    dim: int,
    index_base: int = 0,
) -> Tensor:
    if value is None:
        raise NotRecomputableError("nothing to fill it with")
    return input.index_fill(dim, from_zero(index, index_base), value)


def _index_copy(
    input: Tensor, index: Tensor, source: Tensor, *, dim: int, index_base: int = 0
) -> Tensor:
    return torch.index_copy(input, dim, from_zero(index, index_base), source.to(input.dtype))


def _take(input: Tensor, index: Tensor, *, index_base: int = 0) -> Tensor:
    return input.take(from_zero(index, index_base))


def _masked_select(input: Tensor, mask: Tensor) -> Tensor:
    return input.masked_select(mask.to(torch.bool))


def _one_hot(input: Tensor, *, num_classes: int = -1, index_base: int = 0) -> Tensor:
    return F.one_hot(from_zero(input, index_base), num_classes)


def _places(said: Sequence[Any], tensors: Sequence[Tensor], index_base: int) -> tuple[Any, ...]:
    """What stands in the brackets of `x[...]`.

    Arguments:
        said: For each place a number, numbers, None (a new axis), "...", "start:stop:step", or
            "tensor", which stands for the next of `tensors`.
        tensors: Indices as the language counts them, or masks.
        index_base: From which number it counts.
    """
    waiting = iter(tensors)
    places: list[Any] = []
    for one in said:
        if one == "tensor":
            mask_or_indices = next(waiting, None)
            if mask_or_indices is None:
                raise NotRecomputableError("more places than indices")
            if mask_or_indices.dtype == torch.uint8:  # PyTorch's masks before it had bool
                mask_or_indices = mask_or_indices.to(torch.bool)
            places.append(from_zero(mask_or_indices, index_base))
        elif one == "...":
            places.append(Ellipsis)
        elif isinstance(one, str):
            places.append(slice(*(int(part) if part else None for part in one.split(":"))))
        elif isinstance(one, list | tuple):
            places.append(torch.tensor(one))
        else:
            places.append(one)
    if next(waiting, None) is not None:
        raise NotRecomputableError("more indices than places")
    return tuple(places)


def _index(
    input: Tensor,
    *tensors: Tensor,
    index: Sequence[Any],
    outer: bool = False,
    index_base: int = 0,
) -> Tensor:
    """`outer`: of several places that are indices each is taken with each, as R does."""
    places = _places(index, tensors, index_base)
    return _each_with_each(input, places) if outer else input[places]


def _each_with_each(input: Tensor, places: Sequence[Any]) -> Tensor:
    """`x[i, j]` as R has it: the rows `i` and, of these, the columns `j`."""
    several = [isinstance(one, Tensor) and one.dim() > 0 for one in places]
    if any(one.dim() > 1 for one, many in zip(places, several, strict=True) if many):
        raise NotRecomputableError("indices that are no rows")
    taken = sum(1 for one in places if one is not None and one is not Ellipsis)
    rest = (slice(None),) * (input.dim() - taken)
    kept: list[Any] = []  # the places, with all of an axis for its indices
    axes = []  # of each place
    for one, many in zip(places, several, strict=True):
        axes.append(sum(not isinstance(place, int) for place in kept))
        kept.extend(rest if one is Ellipsis else [slice(None) if many else one])
    found = input[tuple(kept)]
    for one, axis, many in zip(places, axes, several, strict=True):
        if many:
            rows = one.nonzero()[:, 0] if one.dtype == torch.bool else one % found.shape[axis]
            found = found.index_select(axis, rows)
    return found


def _index_put(
    input: Tensor,
    *tensors: Tensor,
    index: Sequence[Any],
    value: float | None = None,
    accumulate: bool = False,
    index_base: int = 0,
) -> Tensor:
    """The value comes last, if it is a tensor."""
    changed = input.clone()
    if value is None:
        *tensors, put = tensors  # type: ignore[assignment]
    else:
        put = input.new_tensor(value)
    places = _places(index, tensors, index_base)
    if not accumulate:
        changed[places] = put
        return changed
    if not all(isinstance(one, Tensor) for one in places):
        raise NotRecomputableError("places that are no tensors")
    return changed.index_put(places, put.to(changed.dtype), accumulate=True)


def _nonzero(
    input: Tensor, *, as_tuple: bool = False, index_base: int = 0
) -> Tensor | tuple[Tensor, ...]:
    if as_tuple:
        return tuple(in_base(one, index_base) for one in torch.nonzero(input, as_tuple=True))
    return in_base(torch.nonzero(input), index_base)


INDEXING: Mapping[str, Callable[..., Any]] = {
    "select": _select,
    "slice": _slice,
    "narrow": _narrow,
    "index_select": _index_select,
    "gather": _gather,
    "take_along_dim": _take_along_dim,
    "masked_select": _masked_select,
    "one_hot": _one_hot,
    "scatter": _scatter,
    "scatter_add": _scatter_add,
    "index_add": _index_add,
    "index_copy": _index_copy,
    "index_fill": _index_fill,
    "take": _take,
    "index": _index,
    "index_put": _index_put,
    "nonzero": _nonzero,
}
