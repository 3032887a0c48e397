"""Convolutions whose feature maps have their channels side by side in memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from pyvae.model.kernels.choice import is_fast
from pyvae.model.kernels.onednn_blocks import uses_onednn

__all__ = ["Conv2d", "ConvTranspose2d", "takes_channels_last", "to_channels_last"]


class Conv2d(nn.Conv2d):
    """`torch.nn.Conv2d`; where fast kernels are wanted, its maps have their channels last."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(to_channels_last(x) if takes_channels_last(x) else x)


class ConvTranspose2d(nn.ConvTranspose2d):
    """`torch.nn.ConvTranspose2d`; where fast kernels are wanted, its maps have their channels last,
    and its gradients are computed one by one; of single pixels it is a matrix product."""

    def forward(self, x: Tensor, output_size: list[int] | None = None) -> Tensor:
        if output_size is not None or self.padding_mode != "zeros" or not takes_channels_last(x):
            return super().forward(x, output_size)
        if self._is_product(x):
            y = F.linear(x.flatten(1), self.weight.flatten(1).t(), self.bias)  # (B, D)
            return y.view(*y.shape, 1, 1)
        return transposed_convolution(
            to_channels_last(x), self.weight, self.bias, self.stride, self.padding,
            self.output_padding, self.groups, self.dilation,
        )  # fmt: skip

    def _is_product(self, x: Tensor) -> bool:
        return (
            x.shape[2:] == self.kernel_size == (1, 1)
            and self.groups == 1
            and not any((*self.padding, *self.output_padding))
        )


def takes_channels_last(x: Tensor) -> bool:
    """Returns whether a convolution of x is faster with the channels last, and may be computed
    so: on an x86 CPU, in single precision, where fast kernels are wanted and PyTorch uses
    oneDNN."""
    return (
        is_fast()
        and x.device.type == "cpu"
        and x.dtype == torch.float32
        and x.ndim == 4
        and uses_onednn()
        and not torch.is_autocast_enabled("cpu")
        and not torch.compiler.is_compiling()
        and not torch.jit.is_tracing()
    )


def to_channels_last(x: Tensor) -> Tensor:
    """Returns x, (B, C, H, W), with its channels side by side in memory.

    Of a single channel `contiguous` leaves the strides as they are, by which PyTorch does not see
    the order.
    """
    if x.shape[1] == 1:
        return x.reshape(x.shape[0], *x.shape[2:], 1).permute(0, 3, 1, 2)
    return x.contiguous(memory_format=torch.channels_last)


def transposed_convolution(x: Tensor, weight: Tensor, bias: Tensor | None, *how: Any) -> Tensor:
    """Returns `torch.nn.functional.conv_transpose2d(x, weight, bias, *how)`.

    With the channels last oneDNN computes the gradients of the weights and of the bias together by
    a kernel that takes three times as long as both alone. Here each is computed alone.

    Arguments:
        x: (B, C, H, W).
        weight: (C, D / groups, K, L).
        bias: (D,), or None.
        how: Stride, padding, output_padding, groups and dilation.
    """
    return _TransposedConvolution.apply(x, weight, bias, *how)


class _TransposedConvolution(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, *how: Any) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.how = how
        if _has_no_kernel(weight, *how):
            return _as_a_gradient(x, weight, bias, *how)
        return F.conv_transpose2d(x, weight, bias, *how)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        stride, padding, output_padding, groups, dilation = ctx.how
        needs_x, needs_weight, needs_bias, *_ = ctx.needs_input_grad
        gradient = to_channels_last(gradient)

        def pull(*which: bool) -> tuple[Tensor | None, ...]:
            return torch.ops.aten.convolution_backward(
                gradient, x, weight, None, stride, padding, dilation, True, output_padding, groups,
                which,
            )  # fmt: skip

        of_x = pull(True, False, False)[0] if needs_x else None
        of_weight = pull(False, True, False)[1] if needs_weight else None
        of_bias = gradient.sum((0, 2, 3)) if needs_bias else None
        return of_x, of_weight, of_bias, *[None] * len(ctx.how)


def _has_no_kernel(
    weight: Tensor, stride: Sequence[int], padding: Sequence[int], *other: Any
) -> bool:
    """Whether a transposed convolution is one for which oneDNN has no good kernel: measured with
    even windows and a padding, not with either alone."""
    even = all(side % 2 == 0 for side in weight.shape[2:])
    return even and min(stride) > 1 and min(padding) > 0


def _as_a_gradient(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: Sequence[int],
    padding: Sequence[int],
    output_padding: Sequence[int],
    groups: int,
    dilation: Sequence[int],
) -> Tensor:
    """A transposed convolution as the gradient of a convolution with respect to its input: the same
    numbers, for which oneDNN has another kernel."""
    sides = [
        (side - 1) * step - 2 * border + gap * (window - 1) + more + 1
        for side, step, border, gap, window, more in zip(
            x.shape[2:], stride, padding, dilation, weight.shape[2:], output_padding, strict=True
        )
    ]
    shape = (len(x), weight.shape[1] * groups, *sides)
    # its numbers are not looked at
    like = torch.empty(shape, dtype=x.dtype, memory_format=torch.channels_last)
    out = torch.ops.aten.convolution_backward(
        x, like, weight, None, stride, padding, dilation, False, [0, 0], groups,
        [True, False, False],
    )[0]  # fmt: skip
    return out if bias is None else out.add_(bias.view(1, -1, 1, 1))
