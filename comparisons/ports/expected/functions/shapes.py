"""Functions that lay out elements another way: views, pieces, tensors put together."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from comparisons.ports.expected.call import NotRecomputableError

__all__ = ["SHAPES"]

WHOLE_TYPES = {"long", "int64", "int", "int32", "uint8", "bool"}


def _sizes(size: int | Sequence[int]) -> list[int]:
    return [size] if isinstance(size, int) else list(size)


def _view(input: Tensor, *, size: int | Sequence[int]) -> Tensor:
    return input.reshape(_sizes(size))


def _like(input: Tensor, other: Tensor) -> Tensor:
    return input.reshape(other.shape)


def _flatten(
    input: Tensor,
    *,
    start_dim: int | None = None,
    end_dim: int = -1,
    recorded: NDArray | None = None,
) -> Tensor:
    """The module starts at axis 1 and the function at axis 0, where none is given: the recorded
    output tells which it was."""
    if start_dim is None:
        start_dim = 1 if recorded is not None and recorded.ndim == 2 else 0
    return torch.flatten(input, start_dim, end_dim)


def _unflatten(input: Tensor, *, dim: int, size: int | Sequence[int]) -> Tensor:
    return input.unflatten(dim, _sizes(size))


def _permute(input: Tensor, *, dim: Sequence[int]) -> Tensor:
    return input.permute(list(dim))


def _transpose(input: Tensor, *, dim0: int = -2, dim1: int = -1) -> Tensor:
    """Without axes it is `x.mT`."""
    return input.transpose(dim0, dim1)


def _swapaxes(input: Tensor, *, axis0: int, axis1: int) -> Tensor:
    return input.transpose(axis0, axis1)


def _movedim(
    input: Tensor, *, source: int | Sequence[int], destination: int | Sequence[int]
) -> Tensor:
    return torch.movedim(input, source, destination)  # type: ignore[arg-type]


def _turned(input: Tensor) -> Tensor:
    return input.permute(*range(input.dim() - 1, -1, -1))


def _last_two(input: Tensor) -> Tensor:
    return input.transpose(-2, -1)


def _squeeze(input: Tensor, *, dim: int | Sequence[int] | None = None) -> Tensor:
    if dim is None:
        return input.squeeze()
    return input.squeeze(dim if isinstance(dim, int) else tuple(dim))


def _unsqueeze(input: Tensor, *, dim: int) -> Tensor:
    return input.unsqueeze(dim)


def _expand(input: Tensor, *, size: int | Sequence[int]) -> Tensor:
    return input.expand(_sizes(size))


def _expand_as(input: Tensor, other: Tensor) -> Tensor:
    return input.expand_as(other)


def _repeat(input: Tensor, *, repeats: int | Sequence[int]) -> Tensor:
    return input.repeat(_sizes(repeats))


def _tile(input: Tensor, *, dim: int | Sequence[int]) -> Tensor:
    return input.tile(_sizes(dim))


def _repeat_interleave(input: Tensor, repeats: Tensor | int, *, dim: int | None = None) -> Tensor:
    return input.repeat_interleave(repeats, dim)


def _cat(*tensors: Tensor, dim: int = 0) -> Tensor:
    return torch.cat(tensors, dim)


def _stack(*tensors: Tensor, dim: int = 0) -> Tensor:
    return torch.stack(tensors, dim)


def _chunk(input: Tensor, *, chunks: int, dim: int = 0) -> tuple[Tensor, ...]:
    return torch.chunk(input, chunks, dim)


def _split(input: Tensor, *, split_size: int | Sequence[int], dim: int = 0) -> tuple[Tensor, ...]:
    return torch.split(input, split_size, dim)  # type: ignore[arg-type]


def _unbind(input: Tensor, *, dim: int = 0) -> tuple[Tensor, ...]:
    return torch.unbind(input, dim)


def _flip(input: Tensor, *, dim: int | Sequence[int]) -> Tensor:
    return input.flip(_sizes(dim))


def _roll(
    input: Tensor, *, shifts: int | Sequence[int], dim: int | Sequence[int] | None = None
) -> Tensor:
    return torch.roll(input, shifts, dim)  # type: ignore[arg-type]


def _diagonal(input: Tensor, *, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Tensor:
    return input.diagonal(offset, dim1, dim2)


def _diag_embed(input: Tensor, *, offset: int = 0, dim1: int = -2, dim2: int = -1) -> Tensor:
    return torch.diag_embed(input, offset, dim1, dim2)


def _rot90(input: Tensor, *, k: int = 1, dim: Sequence[int] = (0, 1)) -> Tensor:
    return torch.rot90(input, k, list(dim))


def _tensor_split(
    input: Tensor, *, split_size: int | Sequence[int], dim: int = 0
) -> tuple[Tensor, ...]:
    return torch.tensor_split(input, split_size, dim)


def _broadcast_tensors(*tensors: Tensor) -> tuple[Tensor, ...]:
    return torch.broadcast_tensors(*tensors)


def _together(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    def together(*tensors: Tensor) -> Tensor:
        return function(tensors)

    return together


def _triangle(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    def triangle(input: Tensor, *, diagonal: int = 0) -> Tensor:
        return function(input, diagonal)

    return triangle


def _same(input: Tensor) -> Tensor:
    return input


def _detached(input: Tensor) -> Tensor:
    return input.detach()


def _to(
    input: Tensor,
    other: Tensor | None = None,
    *,
    dtype: str | None = None,
    recorded: NDArray | None = None,
) -> Tensor:
    """Real numbers stay float64: how coarsely a program holds them is no part of the formula. What
    `x.long()` makes is told by what was recorded."""
    if other is not None:
        return input.to(other.dtype)
    name = str(dtype or ("" if recorded is None else recorded.dtype.name)).removeprefix("torch.")
    if name in WHOLE_TYPES:
        return input.to(torch.bool if name == "bool" else torch.int64)
    if not name:
        return input
    if name.startswith(("float", "double", "half", "bfloat")):
        return input.to(torch.float64)
    raise NotRecomputableError(f"type {name}")


def _filled(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    def filled(input: Tensor) -> Tensor:
        return function(input)

    return filled


SHAPES: Mapping[str, Callable[..., Any]] = {
    **dict.fromkeys(("view", "reshape"), _view),
    **dict.fromkeys(("view_as", "reshape_as"), _like),
    "flatten": _flatten,
    "unflatten": _unflatten,
    "permute": _permute,
    "transpose": _transpose,
    **dict.fromkeys(("swapaxes", "swapdims"), _swapaxes),
    **dict.fromkeys(("movedim", "moveaxis"), _movedim),
    "t": _turned,
    "adjoint": _last_two,
    "squeeze": _squeeze,
    "unsqueeze": _unsqueeze,
    "expand": _expand,
    "broadcast_to": _expand,
    "expand_as": _expand_as,
    "repeat": _repeat,
    "tile": _tile,
    "repeat_interleave": _repeat_interleave,
    **dict.fromkeys(("cat", "concat", "concatenate"), _cat),
    "stack": _stack,
    "hstack": _together(torch.hstack),
    "column_stack": _together(torch.column_stack),
    **dict.fromkeys(("vstack", "row_stack"), _together(torch.vstack)),
    "dstack": _together(torch.dstack),
    "broadcast_tensors": _broadcast_tensors,
    "chunk": _chunk,
    **dict.fromkeys(("split", "split_with_sizes"), _split),
    "tensor_split": _tensor_split,
    "diagonal": _diagonal,
    "diag": _triangle(torch.diag),
    "diag_embed": _diag_embed,
    "rot90": _rot90,
    "unbind": _unbind,
    "flip": _flip,
    "roll": _roll,
    "tril": _triangle(torch.tril),
    "triu": _triangle(torch.triu),
    **dict.fromkeys(("clone", "contiguous", "returned", "result"), _same),
    "detach": _detached,
    **dict.fromkeys(("to", "type_as"), _to),
    "zeros_like": _filled(torch.zeros_like),
    "ones_like": _filled(torch.ones_like),
    "zero": _filled(torch.zeros_like),
}
