"""Images through a trained network: their latents, and what these decode to."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from pyvae.data.images import ImageData
from pyvae.errors import UserError
from pyvae.model.draws import Draws
from pyvae.recipes import get_recipe
from pyvae.runs.trained.network import load_network
from pyvae.trace.trace import Trace
from pyvae.training.inputs import check_data

__all__ = ["BATCH", "Posterior", "encode", "reconstruct"]

BATCH = 500  # images that go through the network at once


class Posterior(NamedTuple):
    """The posterior of N images, by L latent dimensions."""

    mu: NDArray  # (N, L), means
    log_var: NDArray  # (N, L), logarithms of the variances

    def to_pandas(self) -> pd.DataFrame:
        """Returns a table with a row for each image: mu_1, mu_2, ..., log_var_1, ..."""
        dimensions = range(1, self.mu.shape[1] + 1)
        names = [f"{name}_{number}" for name in self._fields for number in dimensions]
        return pd.DataFrame(np.concatenate(self, axis=1), columns=names)


def encode(trace: Trace, data: ImageData, rows: Sequence[int] | None = None) -> Posterior:
    """Returns the posterior of images, in evaluation mode: without dropout, and nothing is drawn.

    Arguments:
        trace: Of a finished run.
        data: The images.
        rows: Which of them, counted from 0; by default all.

    Raises:
        UserError: If the trace's parameters do not fit its recipe, or the recipe cannot take these
            images.

    Example:
        >>> trace = pyvae.Trace.load(Path("runs/conv/vae"))  # doctest: +SKIP
        >>> pyvae.encode(trace, pyvae.load_data("digits")).mu.shape  # doctest: +SKIP
        (1797, 30)
    """
    network = load_network(trace)
    with torch.no_grad():
        parts = [network.posterior(x) for x in _batches(trace, data, rows)]
    mu, log_var = (torch.cat(part).numpy() for part in zip(*parts, strict=True))
    return Posterior(mu, log_var)


def reconstruct(
    trace: Trace, data: ImageData, rows: Sequence[int] | None = None, *, seed: int | None = None
) -> NDArray:
    """Returns what the posterior of images decodes to, in evaluation mode.

    Arguments:
        trace, data, rows: As for `encode`.
        seed: Of a draw from each posterior, which is decoded; None: the posterior means are. A
            network that keeps an image in its log-variances, as EMAE's does, shows it in draws.

    Returns:
        Pixels (N, 784) in [0, 1], or as many numbers as the recipe's inputs have.

    Raises:
        UserError: As `encode`.
    """
    z, log_var = map(torch.from_numpy, encode(trace, data, rows))
    if seed is not None:
        noise = Draws(seed, trace.settings.dtype).normal("reconstructions", 0, tuple(z.shape))
        z = z + torch.exp(0.5 * log_var) * torch.from_numpy(noise)
    network = load_network(trace)
    with torch.no_grad():
        return torch.cat([network.decode(part) for part in z.split(BATCH)]).numpy()


def _batches(trace: Trace, data: ImageData, rows: Sequence[int] | None) -> Iterator[Tensor]:
    check_data(get_recipe(trace.recipe), data)
    chosen = torch.arange(len(data)) if rows is None else torch.as_tensor(list(rows))
    if not len(chosen):
        raise UserError("no images", "choose at least one")
    if not 0 <= int(chosen.min()) <= int(chosen.max()) < len(data):
        raise UserError(f"rows {rows} of {len(data)} images", expected=f"0 to {len(data) - 1}")
    for part in chosen.split(BATCH):
        yield data.batch(part, trace.settings.torch_dtype)
