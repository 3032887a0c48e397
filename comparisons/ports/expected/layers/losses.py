"""Losses."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch.nn.functional as F
from torch import Tensor

from comparisons.ports.expected.indices import from_zero, setting_from_zero

__all__ = ["LOSSES"]


def _classes(input: Tensor, target: Tensor, index_base: int) -> Tensor:
    """Targets as PyTorch takes them: classes counted from 0, or probabilities."""
    if target.is_floating_point() and target.shape == input.shape:
        return target
    return from_zero(target, index_base)


def _constant(weight: Tensor | None) -> Tensor | None:
    """Weights of classes and elements, with respect to which PyTorch has no gradients."""
    return None if weight is None else weight.detach()


def _cross_entropy(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    *,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
    index_base: int = 0,
) -> Tensor:
    return F.cross_entropy(
        input,
        _classes(input, target, index_base),
        _constant(weight),
        ignore_index=_ignored(ignore_index, index_base),
        reduction=reduction,
        label_smoothing=label_smoothing,
    )


def _nll_loss(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    *,
    ignore_index: int = -100,
    reduction: str = "mean",
    index_base: int = 0,
) -> Tensor:
    return F.nll_loss(
        input,
        from_zero(target, index_base),
        _constant(weight),
        ignore_index=_ignored(ignore_index, index_base),
        reduction=reduction,
    )


def _ignored(ignore_index: int | None, index_base: int) -> int:
    ignored = setting_from_zero(ignore_index, index_base)
    return -100 if ignored is None else ignored


def _multi_margin_loss(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    *,
    p: int = 1,
    margin: float = 1.0,
    reduction: str = "mean",
    index_base: int = 0,
) -> Tensor:
    classes = from_zero(target, index_base)
    return F.multi_margin_loss(input, classes, p, margin, _constant(weight), reduction=reduction)


def _distance(loss: Callable[..., Tensor]) -> Callable[..., Tensor]:
    def distance(input: Tensor, target: Tensor, *, reduction: str = "mean") -> Tensor:
        return loss(input, target.to(input.dtype), reduction=reduction)

    return distance


def _soft_margin_loss(input: Tensor, target: Tensor, *, reduction: str = "mean") -> Tensor:
    return F.soft_margin_loss(input, target.detach().to(input.dtype), reduction=reduction)


def _smooth_l1_loss(
    input: Tensor, target: Tensor, *, reduction: str = "mean", beta: float = 1.0
) -> Tensor:
    return F.smooth_l1_loss(input, target, reduction=reduction, beta=beta)


def _huber_loss(
    input: Tensor, target: Tensor, *, reduction: str = "mean", delta: float = 1.0
) -> Tensor:
    return F.huber_loss(input, target, reduction=reduction, delta=delta)


def _binary_cross_entropy(
    input: Tensor, target: Tensor, weight: Tensor | None = None, *, reduction: str = "mean"
) -> Tensor:
    return F.binary_cross_entropy(
        input, target.to(input.dtype), _constant(weight), reduction=reduction
    )


def _binary_cross_entropy_with_logits(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    pos_weight: Tensor | None = None,
    *,
    reduction: str = "mean",
) -> Tensor:
    return F.binary_cross_entropy_with_logits(
        input,
        target.to(input.dtype),
        _constant(weight),
        reduction=reduction,
        pos_weight=_constant(pos_weight),
    )


def _kl_div(
    input: Tensor, target: Tensor, *, reduction: str = "mean", log_target: bool = False
) -> Tensor:
    return F.kl_div(input, target, reduction=reduction, log_target=log_target)


def _poisson_nll_loss(
    input: Tensor,
    target: Tensor,
    *,
    log_input: bool = True,
    full: bool = False,
    eps: float = 1e-8,
    reduction: str = "mean",
) -> Tensor:
    return F.poisson_nll_loss(input, target, log_input, full, eps=eps, reduction=reduction)


def _gaussian_nll_loss(
    input: Tensor,
    target: Tensor,
    var: Tensor,
    *,
    full: bool = False,
    eps: float = 1e-6,
    reduction: str = "mean",
) -> Tensor:
    return F.gaussian_nll_loss(input, target, var, full, eps, reduction)


def _cosine_embedding_loss(
    input1: Tensor,
    input2: Tensor,
    target: Tensor,
    *,
    margin: float = 0.0,
    reduction: str = "mean",
) -> Tensor:
    return F.cosine_embedding_loss(input1, input2, target, margin, reduction=reduction)


def _margin_ranking_loss(
    input1: Tensor,
    input2: Tensor,
    target: Tensor,
    *,
    margin: float = 0.0,
    reduction: str = "mean",
) -> Tensor:
    return F.margin_ranking_loss(input1, input2, target, margin, reduction=reduction)


def _hinge_embedding_loss(
    input: Tensor, target: Tensor, *, margin: float = 1.0, reduction: str = "mean"
) -> Tensor:
    return F.hinge_embedding_loss(input, target, margin, reduction=reduction)


def _multilabel_soft_margin_loss(
    input: Tensor, target: Tensor, weight: Tensor | None = None, *, reduction: str = "mean"
) -> Tensor:
    return F.multilabel_soft_margin_loss(
        input, target.to(input.dtype), _constant(weight), reduction=reduction
    )


def _triplet_margin_loss(
    anchor: Tensor,
    positive: Tensor,
    negative: Tensor,
    *,
    margin: float = 1.0,
    p: float = 2.0,
    eps: float = 1e-6,
    swap: bool = False,
    reduction: str = "mean",
) -> Tensor:
    return F.triplet_margin_loss(
        anchor, positive, negative, margin, p, eps, swap, reduction=reduction
    )


def _cosine_similarity(
    input1: Tensor, input2: Tensor, *, dim: int = 1, eps: float = 1e-8
) -> Tensor:
    return F.cosine_similarity(input1, input2, dim, eps)


def _pairwise_distance(
    input1: Tensor, input2: Tensor, *, p: float = 2.0, eps: float = 1e-6, keepdim: bool = False
) -> Tensor:
    return F.pairwise_distance(input1, input2, p, eps, keepdim)


LOSSES: Mapping[str, Callable[..., Any]] = {
    **dict.fromkeys(("cross_entropy_loss", "cross_entropy"), _cross_entropy),
    **dict.fromkeys(("nll_loss", "nll_loss2d", "nll_loss_nd"), _nll_loss),
    "multi_margin_loss": _multi_margin_loss,
    "mse_loss": _distance(F.mse_loss),
    "l1_loss": _distance(F.l1_loss),
    "soft_margin_loss": _soft_margin_loss,
    "smooth_l1_loss": _smooth_l1_loss,
    "huber_loss": _huber_loss,
    **dict.fromkeys(("binary_cross_entropy", "bce_loss"), _binary_cross_entropy),
    **dict.fromkeys(
        ("binary_cross_entropy_with_logits", "bce_with_logits_loss"),
        _binary_cross_entropy_with_logits,
    ),
    **dict.fromkeys(("kl_div", "kl_div_loss"), _kl_div),
    "poisson_nll_loss": _poisson_nll_loss,
    "gaussian_nll_loss": _gaussian_nll_loss,
    "cosine_embedding_loss": _cosine_embedding_loss,
    "margin_ranking_loss": _margin_ranking_loss,
    "hinge_embedding_loss": _hinge_embedding_loss,
    **dict.fromkeys(
        ("multi_label_soft_margin_loss", "multilabel_soft_margin_loss"),
        _multilabel_soft_margin_loss,
    ),
    "triplet_margin_loss": _triplet_margin_loss,
    "cosine_similarity": _cosine_similarity,
    "pairwise_distance": _pairwise_distance,
}
