"""Measurements that several write-ups share."""

from __future__ import annotations

from pyvae.metrics.latents import knn_accuracy
from pyvae.reproduction.measured import Measured

__all__ = ["neighbours"]


def neighbours(measured: Measured, key: str, index: int) -> float:
    """Accuracy of 10 nearest neighbours among the posterior means: one half of the test images
    is classified by the other."""
    mu = measured.posterior(key, index).mu
    half = len(mu) // 2
    labels = measured.labels
    return knn_accuracy(mu[:half], labels[:half], mu[half:], labels[half:])
