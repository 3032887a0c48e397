"""The order in which feature maps lie in memory between convolutions."""

from __future__ import annotations

import platform
from typing import Any

import torch
from torch import Tensor

__all__ = ["from_blocks", "to_blocks"]

X86 = ("x86_64", "AMD64")


def to_blocks(x: Tensor) -> Tensor:
    """Images in the order that oneDNN's convolutions compute in, where they do.

    PyTorch's convolutions on the CPU are oneDNN's, whose fastest kernels want blocks of 16
    channels. A plain tensor is brought into blocks and back at every convolution, forward and
    backward, and PyTorch's own max-pool of a plain tensor takes as long as a convolution. A tensor
    that is in blocks stays so through convolutions, ReLUs and max-pools and their gradients,
    until `from_blocks`. The arithmetic is the same: every bit of results and gradients is equal to
    a plain tensor's.

    Arguments:
        x: (B, C, H, W).

    Returns:
        The same images: in blocks in single precision on an x86 CPU where PyTorch uses oneDNN;
        else, or where the gradient of the images is asked for, as they are.
    """
    suits = x.device.type == "cpu" and x.dtype == torch.float32 and not x.requires_grad
    return x.to_mkldnn() if suits and _uses_onednn() else x


def _uses_onednn() -> bool:
    mkldnn: Any = torch.backends.mkldnn
    return platform.machine() in X86 and mkldnn.is_available() and mkldnn.enabled


def from_blocks(x: Tensor) -> Tensor:
    """The plain tensor of one that may be in blocks, such as `to_blocks` returns."""
    return x.to_dense() if x.is_mkldnn else x
