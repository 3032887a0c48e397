r"""Measures how evenly samples cover the classes, and how well clusters match classes.

All functions take whole numbers as tensors or arrays (N,), one entry for each image.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pyvae.errors import UserError

__all__ = [
    "ClassShares",
    "ClusteringAccuracy",
    "ClusteringScores",
    "class_shares",
    "clustering_accuracy",
    "clustering_scores",
]


class ClassShares(NamedTuple):
    """How often each class was predicted; see `class_shares`.

    Attributes:
        shares: (classes,); they sum to 1.
        entropy: In nats, 0 (one class only) to log(classes) (all alike).
        seen: The number of classes that occur.
        largest: The share of the most frequent class.
    """

    shares: NDArray[np.float64]
    entropy: float
    seen: int
    largest: float


class ClusteringAccuracy(NamedTuple):
    """Accuracy under the best assignment of clusters to classes; see `clustering_accuracy`.

    Attributes:
        accuracy: In [0, 1].
        mapping: The class of each cluster that was assigned one.
    """

    accuracy: float
    mapping: dict[int, int]


class ClusteringScores(NamedTuple):
    """Scores of clusters: `accuracy` and `nmi` in [0, 1], `ari` in [-0.5, 1]."""

    accuracy: float
    nmi: float
    ari: float


def class_shares(predicted: Tensor | NDArray, classes: int = 10) -> ClassShares:
    r"""Returns the shares of the classes among predictions, and how even they are.

    .. math:: p_c = \frac1N \#\{i : y_i = c\}, \qquad H = -\sum_c p_c \log p_c

    The entropy is Shannon's (1948, "A mathematical theory of communication", section 6,
    https://doi.org/10.1002/j.1538-7305.1948.tb01338.x), of the observed frequencies.

    Arguments:
        predicted: (N,), whole numbers from 0 to classes - 1.
        classes: The number of classes.

    Raises:
        UserError: If `predicted` is empty, not (N,), not whole numbers, or out of range.
    """
    values = _whole_numbers(predicted, "predicted classes")
    if values.min() < 0 or values.max() >= classes:
        raise UserError(
            f"predicted classes from {values.min()} to {values.max()}",
            expected=f"0 to {classes - 1}",
        )
    shares = np.bincount(values, minlength=classes) / len(values)  # (classes,)
    occurring = shares[shares > 0]
    entropy = abs(float((occurring * np.log(occurring)).sum()))  # abs: not -0.0
    return ClassShares(shares, entropy, len(occurring), float(shares.max()))


def clustering_accuracy(labels: Tensor | NDArray, clusters: Tensor | NDArray) -> ClusteringAccuracy:
    r"""Returns the share of images in the cluster of their class, under the best assignment.

    .. math:: \max_m \frac1N \#\{i : y_i = m(c_i)\}

    over all one-to-one maps m of clusters to classes, by the Hungarian method: Xie, Girshick &
    Farhadi (2016), "Unsupervised deep embedding for clustering analysis", section 4.2,
    https://arxiv.org/abs/1511.06335. Where there are more clusters than classes the ones left
    over stand for no class, and their images count as wrong; where there are fewer, the images
    of the classes left over do.

    Arguments:
        labels: Classes (N,), whole numbers.
        clusters: (N,), whole numbers of any range.

    Raises:
        UserError: If they are empty, not whole numbers, or not of the same length.
    """
    truth, found = _pair(labels, clusters)
    classes, row = np.unique(truth, return_inverse=True)
    groups, column = np.unique(found, return_inverse=True)
    counts = np.zeros((len(groups), len(classes)), np.int64)  # (clusters, classes)
    np.add.at(counts, (column, row), 1)
    from scipy.optimize import linear_sum_assignment

    chosen, given = linear_sum_assignment(counts, maximize=True)
    mapping = {int(groups[c]): int(classes[g]) for c, g in zip(chosen, given, strict=True)}
    return ClusteringAccuracy(float(counts[chosen, given].sum() / len(truth)), mapping)


def clustering_scores(labels: Tensor | NDArray, clusters: Tensor | NDArray) -> ClusteringScores:
    r"""Returns accuracy, normalised mutual information and adjusted Rand index of clusters.

    .. math:: \mathrm{NMI} = \frac{I(Y; C)}{(H(Y) + H(C)) / 2}, \qquad
        \mathrm{ARI} = \frac{\mathrm{RI} - \mathrm{E}[\mathrm{RI}]}{1 - \mathrm{E}[\mathrm{RI}]}

    RI is the share of pairs of images that labels and clusters both put together or both put
    apart, and E[RI] what random clusters of these sizes would give; the NMI is not adjusted for
    chance. Vinh, Epps & Bailey (2010), "Information theoretic measures for clusterings
    comparison", JMLR 11, section 3, https://jmlr.org/papers/v11/vinh10a.html; Hubert & Arabie
    (1985), "Comparing partitions", https://doi.org/10.1007/BF01908075. Both by scikit-learn.

    Arguments and errors are those of `clustering_accuracy`, whose accuracy is the first score.
    """
    from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score

    truth, found = _pair(labels, clusters)
    return ClusteringScores(
        clustering_accuracy(truth, found).accuracy,
        float(normalized_mutual_info_score(truth, found)),
        float(adjusted_rand_score(truth, found)),
    )


def _pair(labels: Tensor | NDArray, clusters: Tensor | NDArray) -> tuple[NDArray, NDArray]:
    truth, found = _whole_numbers(labels, "labels"), _whole_numbers(clusters, "clusters")
    if len(truth) != len(found):
        raise UserError(
            f"{len(truth)} labels and {len(found)} clusters",
            expected="one label and one cluster for each image",
        )
    return truth, found


def _whole_numbers(values: Tensor | NDArray, name: str) -> NDArray[np.int64]:
    """Checks values and returns them as (N,), int64."""
    array = torch.as_tensor(values).detach().cpu().numpy()
    if array.ndim != 1 or not array.size:
        raise UserError(f"{name} of shape {array.shape}", expected="(N,), at least one image")
    if array.dtype.kind not in "iu":
        raise UserError(f"{name} of {array.dtype}", expected="whole numbers")
    return array.astype(np.int64)
