"""Draws Gumbel-softmax samples beside those of the categorical distribution they approximate."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import ArrayLike, NDArray

from pyvae.errors import UserError
from pyvae.figures.style import add_note, whole_numbers
from pyvae.model.draws import gumbel_of_uniform
from pyvae.model.modules import GumbelSoftmax

__all__ = ["gumbel_samples", "gumbel_softmax_figure"]


def gumbel_samples(
    pi: ArrayLike, temperatures: Sequence[float], samples: int, seed: int
) -> tuple[NDArray[np.float64], list[NDArray[np.float64]]]:
    r"""Draws one-hot samples and Gumbel-softmax samples from the same noise.

    .. math:: y = \mathrm{onehot}(\arg\max_k \log \pi_k + g_k), \quad
        y_\tau = \mathrm{softmax}((\log \pi + g) / \tau)

    Maddison, Tarlow & Minka (2014), "A* sampling", section 2 (the Gumbel-max trick).

    Arguments:
        pi: Probabilities (K,).
        temperatures: Numbers above 0.
        samples: The number of samples, N.
        seed: The seed of the noise.

    Returns:
        One-hot samples (N, K), and for each temperature (N, K).

    Raises:
        UserError: If `pi` is not a distribution, or a temperature is not above 0.
    """
    probabilities = torch.as_tensor(np.asarray(pi, dtype=np.float64))
    fits = probabilities.ndim == 1 and abs(float(probabilities.sum()) - 1) <= 1e-6
    if not fits or bool((probabilities < 0).any()):
        raise UserError(
            f"pi is {probabilities.tolist()}", expected="probabilities (K,) that sum to 1"
        )
    if not all(temperature > 0 for temperature in temperatures):
        raise UserError(f"temperatures {list(temperatures)}", expected="numbers above 0")
    generator = torch.Generator().manual_seed(seed)
    shape = (samples, len(probabilities))
    noise = gumbel_of_uniform(
        torch.rand(shape, generator=generator, dtype=torch.float64), torch.log
    )
    rows = probabilities.expand(shape)
    winners = (torch.log(rows + 1e-20) + noise).argmax(1)
    one_hot = torch.eye(len(probabilities), dtype=torch.float64)[winners]
    return one_hot.numpy(), [GumbelSoftmax(tau)(rows, noise).numpy() for tau in temperatures]


def gumbel_softmax_figure(
    pi: ArrayLike,
    temperatures: Sequence[float],
    samples: int = 100,
    seed: int = 0,
    note: str = "",
) -> Figure:
    """Draws a die's probabilities, the counts of its rolls, and Gumbel-softmax samples of it.

    At the left are the probabilities above and the counts below. At the right each row is a sample
    and each column a category: one-hot for the die itself, and softer at higher temperatures.
    Rows of all panels use the same noise.

    Arguments:
        pi: Probabilities (K,).
        temperatures: The temperatures, a panel for each.
        samples: The number of rolls.
        seed: The seed of the noise.
        note: Small text at the bottom.

    Raises:
        UserError: If `pi` is not a distribution, or a temperature is not above 0.
    """
    one_hot, softened = gumbel_samples(pi, temperatures, samples, seed)
    categories = np.arange(1, one_hot.shape[1] + 1)
    panels = [("categorical\n(one-hot)", one_hot)]
    panels += [
        (f"Gumbel-softmax\ntau = {tau:g}", drawn)
        for tau, drawn in zip(temperatures, softened, strict=True)
    ]
    figure = Figure(figsize=(3.8 + 1.7 * len(panels), 5.4), layout="constrained")
    ratios = (3.2, 1.7 * len(panels) + 0.6)
    left, right = figure.subfigures(1, 2, squeeze=False, width_ratios=ratios)[0]
    upper, lower = left.subplots(2, 1)
    upper.bar(categories, np.asarray(pi), color="black")
    upper.set_title("the die", fontsize=10)
    upper.set_ylabel("probability")
    lower.bar(categories, one_hot.sum(0), color="gray")
    lower.set_title(f"{samples} rolls", fontsize=10)
    lower.set_ylabel("count")
    whole_numbers(lower.yaxis)
    images = right.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    extent = (0.5, len(categories) + 0.5, samples + 0.5, 0.5)
    for axes, (title, drawn) in zip(images, panels, strict=True):
        shown = axes.imshow(
            drawn, cmap="viridis", vmin=0, vmax=1, aspect="auto", extent=extent,
            interpolation="nearest",
        )  # fmt: skip
        axes.set_title(title, fontsize=10)
    images[0].set_ylabel("sample")
    whole_numbers(images[0].yaxis)
    for axes in (upper, lower, *images):
        axes.set_xlabel("category")
        axes.set_xticks(categories)
    right.colorbar(shown, ax=list(images), label="component of the sample (each row sums to 1)")
    add_note(figure, note)
    return figure
