"""Layers with weights: linear, bilinear, convolutions and embeddings."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch.nn.functional as F
from torch import Tensor

from comparisons.ports.expected.call import NotRecomputableError
from comparisons.ports.expected.indices import from_zero, setting_from_zero

__all__ = ["WEIGHTED"]

Sizes = int | Sequence[int]


def _linear(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    return F.linear(input, weight, bias)


def _bilinear(input: Tensor, input2: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    return F.bilinear(input, input2, weight, bias)


def _each(sizes: Sizes, count: int) -> list[int]:
    """A setting for every axis: PyTorch takes one number for all."""
    return [sizes] * count if isinstance(sizes, int) else list(sizes)


def _padding(
    padding: Sizes | str, kernel: Sequence[int], dilation: Sequence[int]
) -> list[tuple[int, int]]:
    """How much is put before and after each axis; `same` puts the odd one after."""
    if padding == "valid":
        return [(0, 0) for _ in kernel]
    if padding == "same":
        totals = [d * (k - 1) for k, d in zip(kernel, dilation, strict=True)]
        return [(total // 2, total - total // 2) for total in totals]
    if isinstance(padding, str):
        raise NotRecomputableError(f"padding {padding}")
    return [(size, size) for size in _each(padding, len(kernel))]


def _convolution(convolve: Callable[..., Tensor]) -> Callable[..., Tensor]:
    def conv(
        input: Tensor,
        weight: Tensor,
        bias: Tensor | None = None,
        *,
        stride: Sizes = 1,
        padding: Sizes | str = 0,
        dilation: Sizes = 1,
        groups: int = 1,
        padding_mode: str = "zeros",
        padding_value: float = 0.0,
    ) -> Tensor:
        kernel = weight.shape[2:]
        sides = _padding(padding, kernel, _each(dilation, len(kernel)))
        ends = [size for side in reversed(sides) for size in side]  # the last axis comes first
        mode = "constant" if padding_mode == "zeros" else padding_mode
        if any(ends):
            input = F.pad(input, ends, mode)
        return convolve(input, weight, bias, stride, 0, dilation, groups)

    return conv


def _transposed(convolve: Callable[..., Tensor]) -> Callable[..., Tensor]:
    def conv_transpose(
        input: Tensor,
        weight: Tensor,
        bias: Tensor | None = None,
        *,
        stride: Sizes = 1,
        padding: Sizes = 0,
        output_padding: Sizes = 0,
        groups: int = 1,
        dilation: Sizes = 1,
        padding_mode: str = "zeros",
    ) -> Tensor:
        if padding_mode != "zeros":
            raise NotRecomputableError(f"padding mode {padding_mode}")
        return convolve(input, weight, bias, stride, padding, output_padding, groups, dilation)

    return conv_transpose


def _embedding(
    input: Tensor,
    weight: Tensor,
    *,
    padding_idx: int | None = None,
    max_norm: float | None = None,
    scale_grad_by_freq: bool = False,
    index_base: int = 0,
) -> Tensor:
    if max_norm is not None:
        raise NotRecomputableError("max_norm changes the weight in the forward pass")
    if input.is_floating_point() and not weight.is_floating_point():  # ATen's order
        input, weight = weight, input
    row = setting_from_zero(padding_idx, index_base)
    if row is not None and row < 0:
        row = None if index_base or row == -1 else row
    return F.embedding(
        from_zero(input, index_base), weight, row, scale_grad_by_freq=scale_grad_by_freq
    )


def _embedding_bag(
    input: Tensor,
    weight: Tensor,
    offsets: Tensor | None = None,
    per_sample_weights: Tensor | None = None,
    *,
    mode: str = "mean",
    padding_idx: int | None = None,
    max_norm: float | None = None,
    scale_grad_by_freq: bool = False,
    index_base: int = 0,
) -> Tensor:
    if max_norm is not None:
        raise NotRecomputableError("max_norm changes the weight in the forward pass")
    return F.embedding_bag(
        from_zero(input, index_base),
        weight,
        None if offsets is None else from_zero(offsets, index_base),
        scale_grad_by_freq=scale_grad_by_freq,
        mode=mode,
        per_sample_weights=per_sample_weights,
        padding_idx=setting_from_zero(padding_idx, index_base),
    )


WEIGHTED: Mapping[str, Callable[..., Any]] = {
    "linear": _linear,
    "bilinear": _bilinear,
    "conv1d": _convolution(F.conv1d),
    "conv2d": _convolution(F.conv2d),
    "conv3d": _convolution(F.conv3d),
    "conv_transpose1d": _transposed(F.conv_transpose1d),
    "conv_transpose2d": _transposed(F.conv_transpose2d),
    "conv_transpose3d": _transposed(F.conv_transpose3d),
    "embedding": _embedding,
    "embedding_bag": _embedding_bag,
}
