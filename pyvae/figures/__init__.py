"""Figures, drawn from arrays or traces."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyvae.exports import lazy_exports

if TYPE_CHECKING:
    from pyvae.figures.images import generated_figure, rows_figure
    from pyvae.figures.latents import latent_scatter, manifold_figure, tsne_scatter
    from pyvae.figures.losses import losses_figure, terms_figure, train_test_figure
    from pyvae.figures.runs import latent_means_figure, loss_history_figure, samples_figure
    from pyvae.figures.style import draw_figure, draw_or_log, save_figure

__all__ = [
    "draw_figure",
    "draw_or_log",
    "generated_figure",
    "latent_means_figure",
    "latent_scatter",
    "loss_history_figure",
    "losses_figure",
    "manifold_figure",
    "rows_figure",
    "samples_figure",
    "save_figure",
    "terms_figure",
    "train_test_figure",
    "tsne_scatter",
]
__getattr__ = lazy_exports(
    __name__,
    {
        "draw_figure": "pyvae.figures.style",
        "draw_or_log": "pyvae.figures.style",
        "generated_figure": "pyvae.figures.images",
        "latent_means_figure": "pyvae.figures.runs",
        "latent_scatter": "pyvae.figures.latents",
        "loss_history_figure": "pyvae.figures.runs",
        "losses_figure": "pyvae.figures.losses",
        "manifold_figure": "pyvae.figures.latents",
        "rows_figure": "pyvae.figures.images",
        "samples_figure": "pyvae.figures.runs",
        "save_figure": "pyvae.figures.style",
        "terms_figure": "pyvae.figures.losses",
        "train_test_figure": "pyvae.figures.losses",
        "tsne_scatter": "pyvae.figures.latents",
    },
)
