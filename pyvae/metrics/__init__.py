"""Measures of a trained model."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyvae.exports import lazy_exports

if TYPE_CHECKING:
    from pyvae.metrics.clusters import class_shares, clustering_accuracy, clustering_scores
    from pyvae.metrics.digit_classifier import DigitClassifier
    from pyvae.metrics.elbo import elbo_parts, importance_weighted_bound, reconstruction_at
    from pyvae.metrics.held_out import evaluate
    from pyvae.metrics.latents import (
        active_units,
        kl_by_dimension,
        knn_accuracy,
        marked_gap,
        posterior_spread,
    )

__all__ = [
    "DigitClassifier",
    "active_units",
    "class_shares",
    "clustering_accuracy",
    "clustering_scores",
    "elbo_parts",
    "evaluate",
    "importance_weighted_bound",
    "kl_by_dimension",
    "knn_accuracy",
    "marked_gap",
    "posterior_spread",
    "reconstruction_at",
]
__getattr__ = lazy_exports(
    __name__,
    {
        "DigitClassifier": "pyvae.metrics.digit_classifier",
        "active_units": "pyvae.metrics.latents",
        "class_shares": "pyvae.metrics.clusters",
        "clustering_accuracy": "pyvae.metrics.clusters",
        "clustering_scores": "pyvae.metrics.clusters",
        "elbo_parts": "pyvae.metrics.elbo",
        "evaluate": "pyvae.metrics.held_out",
        "importance_weighted_bound": "pyvae.metrics.elbo",
        "kl_by_dimension": "pyvae.metrics.latents",
        "knn_accuracy": "pyvae.metrics.latents",
        "marked_gap": "pyvae.metrics.latents",
        "posterior_spread": "pyvae.metrics.latents",
        "reconstruction_at": "pyvae.metrics.elbo",
    },
)
