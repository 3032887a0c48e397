"""What a trained run is good for: latents of images, reconstructions, new images."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyvae.exports import lazy_exports

if TYPE_CHECKING:
    from pyvae.runs.trained.generated import interpolate, sample
    from pyvae.runs.trained.network import load_network, load_trace, load_traces
    from pyvae.runs.trained.posterior import Posterior, encode, reconstruct

__all__ = [
    "Posterior",
    "encode",
    "interpolate",
    "load_network",
    "load_trace",
    "load_traces",
    "reconstruct",
    "sample",
]
__getattr__ = lazy_exports(
    __name__,
    {
        "Posterior": "pyvae.runs.trained.posterior",
        "encode": "pyvae.runs.trained.posterior",
        "interpolate": "pyvae.runs.trained.generated",
        "load_network": "pyvae.runs.trained.network",
        "load_trace": "pyvae.runs.trained.network",
        "load_traces": "pyvae.runs.trained.network",
        "reconstruct": "pyvae.runs.trained.posterior",
        "sample": "pyvae.runs.trained.generated",
    },
)
