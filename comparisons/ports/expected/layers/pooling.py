"""Layers that pool, pad and change the number of pixels."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch.nn.functional as F
from torch import Tensor

from comparisons.ports.expected.indices import in_base

__all__ = ["POOLING"]

Sizes = Any  # a number for all axes, or one for each
Pooled = Tensor | tuple[Tensor, Tensor]


def _max_pool(pool: Callable[..., Any]) -> Callable[..., Pooled]:
    def max_pool(
        input: Tensor,
        *,
        kernel_size: Sizes,
        stride: Sizes | None = None,
        padding: Sizes = 0,
        dilation: Sizes = 1,
        ceil_mode: bool = False,
        return_indices: bool = False,
        index_base: int = 0,
    ) -> Pooled:
        values, indices = pool(
            input,
            kernel_size,
            stride or None,  # R and ATen: an empty list
            padding,
            dilation,
            ceil_mode,
            return_indices=True,
        )
        return (values, in_base(indices, index_base)) if return_indices else values

    return max_pool


def _avg_pool1d(
    input: Tensor,
    *,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Sizes = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> Tensor:
    return F.avg_pool1d(
        input, kernel_size, stride or kernel_size, padding, ceil_mode, count_include_pad
    )


def _avg_pool(pool: Callable[..., Tensor]) -> Callable[..., Tensor]:
    def avg_pool(
        input: Tensor,
        *,
        kernel_size: Sizes,
        stride: Sizes | None = None,
        padding: Sizes = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
        divisor_override: int | None = None,
    ) -> Tensor:
        return pool(
            input,
            kernel_size,
            stride or None,
            padding,
            ceil_mode,
            count_include_pad,
            divisor_override,
        )

    return avg_pool


def _adaptive(pool: Callable[..., Tensor]) -> Callable[..., Tensor]:
    def adaptive_pool(input: Tensor, *, output_size: Sizes) -> Tensor:
        return pool(input, output_size)

    return adaptive_pool


def _lp_pool(pool: Callable[..., Tensor]) -> Callable[..., Tensor]:
    def lp_pool(
        input: Tensor,
        *,
        norm_type: float,
        kernel_size: Sizes,
        stride: Sizes | None = None,
        ceil_mode: bool = False,
    ) -> Tensor:
        return pool(input, norm_type, kernel_size, stride or None, ceil_mode)

    return lp_pool


def _upsample(
    input: Tensor,
    *,
    size: Sizes | None = None,
    scale_factor: float | Sequence[float] | None = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
    recompute_scale_factor: bool | None = None,
    antialias: bool = False,
) -> Tensor:
    if mode in ("nearest", "nearest-exact", "area"):
        align_corners = None  # which R torch sets nevertheless
    return F.interpolate(
        input, size, scale_factor, mode, align_corners, recompute_scale_factor, antialias
    )


def _pad(
    input: Tensor, *, pad: Sequence[int], mode: str = "constant", value: float | None = None
) -> Tensor:
    return F.pad(input, list(pad), mode, value)


def _pad_module(axes: int, mode: str) -> Callable[..., Tensor]:
    def padded(input: Tensor, *, padding: Sizes, value: float = 0.0) -> Tensor:
        sizes = [padding] * (2 * axes) if isinstance(padding, int) else list(padding)
        return F.pad(input, sizes, mode, value if mode == "constant" else None)

    return padded


def _pad_modules() -> dict[str, Callable[..., Tensor]]:
    kinds = {"zero": "constant", "constant": "constant", "reflection": "reflect"}
    kinds |= {"replication": "replicate", "circular": "circular"}
    return {
        f"{kind}_pad{axes}d": _pad_module(axes, mode)
        for kind, mode in kinds.items()
        for axes in (1, 2, 3)
    }


def _pixel_shuffle(input: Tensor, *, upscale_factor: int) -> Tensor:
    return F.pixel_shuffle(input, upscale_factor)


def _pixel_unshuffle(input: Tensor, *, downscale_factor: int) -> Tensor:
    return F.pixel_unshuffle(input, downscale_factor)


def _upsampling(mode: str) -> Callable[..., Tensor]:
    def upsampling(
        input: Tensor, *, size: Sizes = None, scale_factor: float | Sequence[float] | None = None
    ) -> Tensor:
        corners = True if mode == "bilinear" else None
        return _upsample(
            input, size=size, scale_factor=scale_factor, mode=mode, align_corners=corners
        )

    return upsampling


def _channel_shuffle(input: Tensor, *, groups: int) -> Tensor:
    return F.channel_shuffle(input, groups)


def _fold(
    input: Tensor,
    *,
    output_size: Sizes,
    kernel_size: Sizes,
    dilation: Sizes = 1,
    padding: Sizes = 0,
    stride: Sizes = 1,
) -> Tensor:
    return F.fold(input, output_size, kernel_size, dilation, padding, stride)


def _grid_sample(
    input: Tensor,
    grid: Tensor,
    *,
    mode: str = "bilinear",
    padding_mode: str = "zeros",
    align_corners: bool | None = None,
) -> Tensor:
    return F.grid_sample(input, grid, mode, padding_mode, align_corners)


def _affine_grid(
    theta: Tensor, *, size: Sequence[int], align_corners: bool | None = None
) -> Tensor:
    return F.affine_grid(theta, list(size), align_corners)


def _unfold(
    input: Tensor, *, kernel_size: Sizes, dilation: Sizes = 1, padding: Sizes = 0, stride: Sizes = 1
) -> Tensor:
    return F.unfold(input, kernel_size, dilation, padding, stride)


POOLING: Mapping[str, Callable[..., Any]] = {
    "max_pool1d": _max_pool(F.max_pool1d),
    "max_pool2d": _max_pool(F.max_pool2d),
    "max_pool3d": _max_pool(F.max_pool3d),
    "avg_pool1d": _avg_pool1d,
    "avg_pool2d": _avg_pool(F.avg_pool2d),
    "avg_pool3d": _avg_pool(F.avg_pool3d),
    "adaptive_avg_pool1d": _adaptive(F.adaptive_avg_pool1d),
    "adaptive_avg_pool2d": _adaptive(F.adaptive_avg_pool2d),
    "adaptive_avg_pool3d": _adaptive(F.adaptive_avg_pool3d),
    "adaptive_max_pool1d": _adaptive(F.adaptive_max_pool1d),
    "adaptive_max_pool2d": _adaptive(F.adaptive_max_pool2d),
    "adaptive_max_pool3d": _adaptive(F.adaptive_max_pool3d),
    "lp_pool1d": _lp_pool(F.lp_pool1d),
    "lp_pool2d": _lp_pool(F.lp_pool2d),
    "upsample": _upsample,
    "interpolate": _upsample,
    "pad": _pad,
    **_pad_modules(),
    "pixel_shuffle": _pixel_shuffle,
    "pixel_unshuffle": _pixel_unshuffle,
    "unfold": _unfold,
    "fold": _fold,
    "upsampling_nearest2d": _upsampling("nearest"),
    "upsampling_bilinear2d": _upsampling("bilinear"),
    "channel_shuffle": _channel_shuffle,
    "grid_sample": _grid_sample,
    "affine_grid": _affine_grid,
}
