"""New images from a trained network: from the prior, and between two images."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from pyvae.data.images import ImageData
from pyvae.errors import UserError
from pyvae.model.draws import Draws
from pyvae.runs.trained.network import load_network
from pyvae.runs.trained.posterior import encode
from pyvae.trace.trace import Trace

__all__ = ["Interpolation", "interpolate", "sample"]

MOST = 10_000


@torch.no_grad()
def sample(trace: Trace, n: int, seed: int) -> NDArray:
    """Decodes n latents drawn from the prior: N(0, I), or p(z|y) of the clusters in turn.

    Arguments:
        trace: Of a finished run.
        n: 1 to 10,000.
        seed: Of the draws.

    Returns:
        Pixels (n, 784) in [0, 1], or as many numbers as the recipe's inputs have.

    Raises:
        UserError: If the trace's parameters do not fit its recipe and settings, or if `n` is out of
            its range.
    """
    if not 1 <= n <= MOST:
        raise UserError(f"n={n}", expected=f"1 to {MOST}")
    settings = trace.settings
    network = load_network(trace)
    noise = Draws(seed, settings.dtype).normal("samples", 0, (n, settings.latent_dim))
    return network.decode(network.from_prior(torch.from_numpy(noise))).numpy()


class Interpolation(NamedTuple):
    """A way through latent space, by L latent dimensions."""

    z: NDArray  # (n, L)
    pixels: NDArray  # (n, 784) in [0, 1], or as the recipe's inputs: what they decode to


def interpolate(trace: Trace, data: ImageData, first: int, last: int, n: int = 12) -> Interpolation:
    """Goes from one image to another in n even steps of the latents, both ends included.

    Arguments:
        trace: Of a finished run.
        data: The images.
        first, last: The two images, counted from 0. The ends are their posterior means, decoded.
        n: 2 to 10,000.

    Raises:
        UserError: As `encode`, or if `n` is out of its range.
    """
    if not 2 <= n <= MOST:
        raise UserError(f"n={n}", expected=f"2 to {MOST}")
    start, end = encode(trace, data, [first, last]).mu
    z = np.linspace(start, end, n, dtype=start.dtype)
    with torch.no_grad():
        return Interpolation(z, load_network(trace).decode(torch.from_numpy(z)).numpy())
