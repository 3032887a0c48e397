r"""Convolution, batch norm, ReLU and max-pool of images in one: what a network begins with.

Images need no gradient. So the mean and variance of what a convolution returns follow from those
of its patches p alone, which do not depend on parameters:

.. math:: m = W \bar p + b, \quad v = \mathrm{diag}(W C W^T), \quad C = \mathrm{cov}(p)

Batch norm is then another convolution, with weights :math:`a W` and bias :math:`\beta + a (b - m)`,
:math:`a = \gamma / \sqrt{v + \epsilon}`, and its gradient that of this little algebra. Nothing goes
through the feature maps but the product of patches and weights, and the maximum.

The limit: v is a difference of sums in single precision. Its error is about 1e-6, or 1e-5 where all
pixels are nearly the same, of the largest :math:`(\sum_k |w_k p_k|)^2`. A channel that varies less
over the batch, as on constant images, has rounding for its variance, and at least 0.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from pyvae.model.kernels.fusing import may_fuse
from pyvae.model.modules import BatchNorm

__all__ = ["image_block"]

IMAGES = 10  # that are computed together: what is computed on the way stays in the cache


def image_block(
    x: Tensor,
    convolution: nn.Conv2d,
    norm: BatchNorm,
    relu: nn.ReLU | nn.LeakyReLU,
    pool: nn.MaxPool2d | None = None,
) -> Tensor:
    """Returns `pool(relu(norm(convolution(x))))`.

    Where it may (`pyvae.model.kernels.fusing.may_fuse`, images without a gradient), all of it is
    computed as one, with other last bits; a bias of the convolution then has the gradient 0, which
    is what it is: batch norm takes it away again.

    Arguments:
        x: (B, C, H, W), of few channels.
        convolution, norm, relu: The layers; the convolution pads by numbers of zeros and has
            neither groups nor dilation.
        pool: Of windows of 2x2, or none.
    """
    layers = [convolution, norm, relu, *([] if pool is None else [pool])]
    if x.requires_grad or not may_fuse(x, *layers):
        for layer in layers:
            x = layer(x)
        return x
    patches, rest = _patches(x, convolution, 1 if pool is None else 2)
    weights = _normalised(convolution, norm, patches, rest)
    slope = relu.negative_slope if isinstance(relu, nn.LeakyReLU) else 0.0
    features = _Products.apply(patches, weights, slope)  # (B, H', W', out)
    return features.permute(0, 3, 1, 2)


def _patches(x: Tensor, convolution: nn.Conv2d, pool: int) -> tuple[Tensor, Tensor]:
    """What the weights are multiplied with, and a 1 for the bias.

    Arguments:
        x: (B, C, H, W).
        convolution: Whose patches of K numbers.
        pool: The side of a pool's window.

    Returns:
        (pool * pool, K + 1, B, H', W'), the patches of H' x W' windows of a pool, one behind the
        other; and (1, K + 1, B, R, 1), the patches that are in no window.
    """
    (height, width), (down, right) = convolution.kernel_size, convolution.stride
    above, left = (int(side) for side in convolution.padding)
    padded = F.pad(x, (left, left, above, above))
    windows = padded.unfold(2, height, down).unfold(3, width, right)  # (B, C, H, W, kh, kw)
    windows = windows.permute(1, 4, 5, 0, 2, 3)  # (C, kh, kw, B, H, W)
    rows, columns = (side // pool * pool for side in windows.shape[4:])
    inside = windows[..., :rows, :columns].unflatten(5, (-1, pool)).unflatten(4, (-1, pool))
    inside = inside.permute(5, 7, 0, 1, 2, 3, 4, 6)  # (pool, pool, C, kh, kw, B, H', W')
    beside = [windows[..., rows:, :].flatten(4), windows[..., :rows, columns:].flatten(4)]
    rest = torch.cat(beside, 4)[None, None, ..., None]
    return _with_ones(inside), _with_ones(rest)


def _with_ones(patches: Tensor) -> Tensor:
    """(p, p, C, kh, kw, B, H', W') to (p p, C kh kw + 1, B, H', W'), the last of them ones."""
    slots, numbers, places = patches.shape[:2], patches.shape[2:5], patches.shape[5:]
    joined = patches.new_empty((*slots, numbers.numel() + 1, *places))
    joined[:, :, :-1].unflatten(2, numbers).copy_(patches)
    joined[:, :, -1] = 1
    return joined.flatten(0, 1)


def _normalised(convolution: nn.Conv2d, norm: BatchNorm, *patches: Tensor) -> Tensor:
    """The weights and the bias, (out, K + 1), of convolution and batch norm in one; running
    statistics move."""
    moments = sum(_moments(part) for part in patches)  # (K + 1, K + 1)
    assert isinstance(moments, Tensor)  # noqa: S101 (there are patches)
    number = moments[-1, -1]
    mean_patch = moments[:-1, -1] / number  # (K,)
    covariance = moments[:-1, :-1] / number - torch.outer(mean_patch, mean_patch)
    weights = convolution.weight.flatten(1).double()  # (out, K)
    bias = 0.0 if convolution.bias is None else convolution.bias.double()
    mean = weights @ mean_patch + bias  # (out,)
    variance = ((weights @ covariance) * weights).sum(1).clamp_min(0)  # rounding may fall below
    with torch.no_grad():
        norm.running_mean.lerp_(mean.float(), norm.momentum)
        norm.running_var.lerp_((variance * number / (number - 1)).float(), norm.momentum)
    scale = norm.weight / torch.sqrt(variance + norm.eps)  # (out,)
    shift = norm.bias + scale * (bias - mean)
    return torch.cat([weights * scale[:, None], shift[:, None]], 1).float()


def _moments(patches: Tensor) -> Tensor:
    """Sums of products of a patch's numbers, (K + 1, K + 1), of (slots, K + 1, B, H', W')."""
    sums = [
        part.flatten(1) @ part.flatten(1).T for slot in patches for part in slot.split(IMAGES, 1)
    ]
    return torch.stack(sums).double().sum(0)


class _Products(torch.autograd.Function):
    """Patches times weights, their largest in each window of a pool, and a (leaky) ReLU of it."""

    @staticmethod
    def forward(ctx: Any, patches: Tensor, weights: Tensor, slope: float) -> Tensor:
        slots, _, images, height, width = patches.shape
        channels = len(weights)
        out = patches.new_empty((images, height, width, channels))
        hits = torch.empty((slots - 1, *out.shape), dtype=torch.bool)
        products = patches.new_empty((slots, min(IMAGES, images) * height * width, channels))
        for first in range(0, images, IMAGES):
            some = slice(first, first + IMAGES)
            largest = out[some].view(-1, channels)
            now = products[:, : len(largest)]
            for slot in range(slots):
                torch.mm(patches[slot, :, some].flatten(1).T, weights.T, out=now[slot])
            torch.amax(now, 0, out=largest)
            for slot in range(slots - 1):
                torch.eq(now[slot], largest, out=hits[slot, some].view(-1, channels))
            if slope:
                F.leaky_relu_(largest, slope)
            else:
                largest.relu_()
        ctx.save_for_backward(patches, out, hits)
        ctx.slope = slope
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[None, Tensor, None]:
        patches, out, hits = ctx.saved_tensors
        total = gradient.new_zeros((patches.shape[1], gradient.shape[-1]))  # (K + 1, out)
        for first in range(0, len(out), IMAGES):
            some = slice(first, first + IMAGES)
            left = _through_relu(gradient[some], out[some], ctx.slope).flatten(0, -2)
            for slot, hit in enumerate(hits[:, some].view(torch.uint8)):
                # the first of equal ones has the gradient
                taken = left * hit.flatten(0, -2)  # `torch.where` takes three times as long
                total.addmm_(patches[slot, :, some].flatten(1), taken)
                left = left.sub_(taken)
            total.addmm_(patches[-1, :, some].flatten(1), left)
        return None, total.T, None


def _through_relu(gradient: Tensor, out: Tensor, slope: float) -> Tensor:
    """The gradient before a (leaky) ReLU, from what it returned."""
    if slope:
        return torch.ops.aten.leaky_relu_backward(gradient, out, slope, True)
    return torch.ops.aten.threshold_backward(gradient, out, 0)
