"""Keeps feature maps in oneDNN's memory layout between convolutions."""

from __future__ import annotations

import platform
from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["from_blocks", "relu_then_pool", "to_blocks", "uses_onednn"]

X86 = ("x86_64", "AMD64")
LARGE = 1e9


def to_blocks(x: Tensor, *convolutions: nn.Conv2d) -> Tensor:
    """Brings images into oneDNN's memory layout, if its convolutions are used.

    PyTorch's convolutions on the CPU use oneDNN, and its fastest kernels need blocks of 16
    channels. A plain tensor is brought into blocks and back at every convolution, forward and
    backward, and PyTorch's own max-pool of a plain tensor takes as long as a convolution. A tensor
    in blocks stays in blocks through convolutions, ReLUs, max-pools and their gradients, until
    `from_blocks`. Results and gradients are equal to those of a plain tensor in every bit.

    But oneDNN's ReLU and max-pool turn NaN into a very small number, while those of PyTorch pass it
    on. Images therefore stay plain if a parameter is NaN, or so large that a convolution could
    overflow: a run that diverges is then recognised.

    Arguments:
        x: (B, C, H, W), pixels in [0, 1].
        convolutions: The convolutions that they go through.

    Returns:
        The images in blocks, if they are in single precision on an x86 CPU and PyTorch uses oneDNN.
        Otherwise, or if autocast, a compiler or the gradient of the images needs plain tensors, the
        images as they are.
    """
    if _suits(x) and uses_onednn() and all(_is_tame(c) for c in convolutions):
        return x.to_mkldnn()
    return x


def _suits(x: Tensor) -> bool:
    plain = (
        x.requires_grad
        or torch.is_autocast_enabled("cpu")
        or torch.compiler.is_compiling()
        or torch.jit.is_tracing()
    )
    return x.device.type == "cpu" and x.dtype == torch.float32 and not plain


def _is_tame(convolution: nn.Conv2d) -> bool:
    """Returns whether no parameter is NaN or large.

    Two layers of such parameters with 10,000 weights for each output stay below the largest float,
    3e38.
    """
    return all(bool(p.detach().abs().amax() < LARGE) for p in convolution.parameters())


def uses_onednn() -> bool:
    """Returns whether PyTorch computes convolutions with oneDNN's kernels for x86 CPUs."""
    mkldnn: Any = torch.backends.mkldnn
    return platform.machine() in X86 and mkldnn.is_available() and mkldnn.enabled


def relu_then_pool(relu: nn.ReLU, pool: nn.MaxPool2d, x: Tensor) -> Tensor:
    r"""Returns the max-pool of ReLUs.

    In blocks the max-pool comes first, which leaves a quarter of the ReLUs:
    :math:`\max_i \max(x_i, 0) = \max(\max_i x_i, 0)`. The gradients are the same, too: that of a
    window without a positive x is zero in either order.

    Arguments:
        relu, pool: The modules.
        x: (B, C, H, W), plain or in blocks.

    Returns:
        (B, C, H / k, W / k) for a window of k pixels, plain or in blocks as x is.
    """
    return relu(pool(x)) if x.is_mkldnn else pool(relu(x))


def from_blocks(x: Tensor) -> Tensor:
    """Returns the plain tensor of one that may be in blocks, such as `to_blocks` returns."""
    return x.to_dense() if x.is_mkldnn else x
