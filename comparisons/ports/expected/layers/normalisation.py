"""Layers that normalise, and what they keep of the batches that they have seen."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch.nn.functional as F
from torch import Tensor

__all__ = ["NORMALISATION"]

Updated = dict[str, Tensor]


def _rate(
    momentum: float | None, batches: Tensor | None, training: bool, updated: Updated
) -> float:
    """By how much a batch moves the running statistics: `momentum`, or for None one of the number
    of batches seen so far (their plain average)."""
    if batches is None or not training:
        return momentum or 0.0
    seen = batches + 1
    updated["num_batches_tracked"] = seen
    return 1 / float(seen) if momentum is None else momentum


def _batch_norm(
    input: Tensor,
    running_mean: Tensor | None = None,
    running_var: Tensor | None = None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    *,
    eps: float = 1e-5,
    momentum: float | None = 0.1,
    unbiased_running_var: bool = True,
    training: bool = False,
    updated: Updated,
    **counter: Tensor,
) -> Tensor:
    rate = _rate(momentum, counter.get("num_batches_tracked"), training, updated)
    mean, variance = _running(running_mean, running_var)
    own = training or mean is None or variance is None
    y = F.batch_norm(input, mean, variance, weight, bias, own, rate, eps)
    if training and mean is not None and variance is not None:
        if not unbiased_running_var and running_var is not None:  # Keras' is not
            count = input.numel() // input.shape[1]
            kept = (1 - rate) * running_var
            variance = kept + (variance - kept) * ((count - 1) / count)
        updated["running_mean"], updated["running_var"] = mean, variance
    return y


def _instance_norm(
    input: Tensor,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    *,
    eps: float = 1e-5,
    momentum: float = 0.1,
    use_input_stats: bool = True,
    training: bool = False,
    updated: Updated,
    **buffers: Tensor,
) -> Tensor:
    mean, variance = _running(buffers.get("running_mean"), buffers.get("running_var"))
    # the module takes the batch's own statistics where it keeps none, whatever its mode
    own = use_input_stats and (training or mean is None)
    y = F.instance_norm(input, mean, variance, weight, bias, own, momentum, eps)
    if own and mean is not None and variance is not None:
        updated["running_mean"], updated["running_var"] = mean, variance
    return y


def _running(mean: Tensor | None, variance: Tensor | None) -> tuple[Tensor | None, Tensor | None]:
    """Copies, which PyTorch changes in place."""
    return tuple(None if one is None else one.detach().clone() for one in (mean, variance))  # type: ignore[return-value]


def _layer_norm(
    input: Tensor,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    *,
    normalized_shape: int | Sequence[int],
    eps: float = 1e-5,
) -> Tensor:
    return F.layer_norm(input, _axes(normalized_shape), weight, bias, eps)


def _rms_norm(
    input: Tensor,
    weight: Tensor | None = None,
    *,
    normalized_shape: int | Sequence[int],
    eps: float | None = None,
    machine_eps: float,
) -> Tensor:
    eps = machine_eps if eps is None else eps
    return F.rms_norm(input, _axes(normalized_shape), weight, eps)


def _axes(shape: int | Sequence[int]) -> list[int]:
    return [shape] if isinstance(shape, int) else list(shape)


def _group_norm(
    input: Tensor,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    *,
    num_groups: int,
    eps: float = 1e-5,
) -> Tensor:
    return F.group_norm(input, num_groups, weight, bias, eps)


def _local_response_norm(
    input: Tensor, *, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0
) -> Tensor:
    return F.local_response_norm(input, size, alpha, beta, k)


def _normalize(input: Tensor, *, p: float = 2.0, dim: int = 1, eps: float = 1e-12) -> Tensor:
    return F.normalize(input, p, dim, eps)


NORMALISATION: Mapping[str, Callable[..., Any]] = {
    **dict.fromkeys(
        ("batch_norm", "batch_norm1d", "batch_norm2d", "batch_norm3d", "sync_batch_norm"),
        _batch_norm,
    ),
    **dict.fromkeys(
        ("instance_norm", "instance_norm1d", "instance_norm2d", "instance_norm3d"), _instance_norm
    ),
    "layer_norm": _layer_norm,
    "rms_norm": _rms_norm,
    "group_norm": _group_norm,
    "local_response_norm": _local_response_norm,
    "normalize": _normalize,
}
