"""Numbers that point at rows or classes, in the base in which a language counts, and at places of
axes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from comparisons.ports.expected.call import NotRecomputableError

__all__ = ["from_zero", "in_base", "same_places", "setting_from_zero"]

AXES = ("dim", "dims", "dim0", "dim1", "dim2", "start_dim", "end_dim", "source", "destination")
ADD_AN_AXIS = ("stack", "unsqueeze")
Shape = Sequence[int]


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


def same_places(name: str, layer: str, values: Sequence[Any], shape: Shape | None) -> bool:
    """Whether two values of an option stand for the same places: `x[:, 6:]` and `x[:, 6:12]` of
    twelve columns, `dim = -1` and `dim = 1` of two axes.

    Arguments:
        name: The option.
        layer: Whose it is.
        values: What either side declares.
        shape: Of what both take the places; None if it is not known, or not the same.
    """
    if shape is None:
        return False
    if name == "index":
        first, second = (_each_axis(value, shape) for value in values)
        return first is not None and first == second
    if name in AXES:
        count = len(shape) + (layer in ADD_AN_AXIS)
        first, second = (_axes(value, count) for value in values)
        return first is not None and first == second
    return False


def _axes(value: Any, count: int) -> list[int] | None:
    """Axes from the front; None if they are none."""
    many = list(value) if isinstance(value, list | tuple) else [value]
    if not count or any(not _is_whole(one) for one in many):
        return None
    return [int(one) % count for one in many]


def _is_whole(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and int(value) == value


def _each_axis(said: Any, shape: Shape) -> list[Any] | None:
    """What is taken of each axis; None if it cannot be told."""
    if not isinstance(said, list | tuple) or any(one == "?" for one in said):
        return None
    taken = sum(1 for one in said if one is not None and one != "...")
    if taken > len(shape) or sum(one == "..." for one in said) > 1:
        return None
    whole = [":"] * (len(shape) - taken)
    places = list(said)
    at = places.index("...") if "..." in places else len(places)
    places[at : at + 1] = whole
    sizes = iter(shape)
    return [None if one is None else _taken(one, next(sizes)) for one in places]


def _taken(place: Any, size: int) -> Any:
    if isinstance(place, str) and place != "tensor":
        start, end, step = (*(int(one) if one else None for one in place.split(":")), None)[:3]
        return list(range(size))[slice(start, end, step)]
    if _is_whole(place):
        return int(place) % size if size else int(place)
    if isinstance(place, list | tuple) and all(map(_is_whole, place)):
        return [int(one) % size if size else int(one) for one in place]
    return place
