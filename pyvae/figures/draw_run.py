"""Draws the figures of a trained run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pyvae.errors import UserError, print_error

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from pyvae.data.images import ImageData
    from pyvae.trace.trace import Trace

__all__ = [
    "draw_run",
    "trace_interpolation_figure",
    "trace_latents_figure",
    "trace_reconstructions_figure",
    "trace_samples_figure",
]

RECONSTRUCTED = 12  # images beside their reconstructions
LEAST, MOST = 100, 1000  # images in the picture of the latents


def draw_run(run: Path, required: bool = False, data: ImageData | None = None) -> None:
    """Draws loss history, samples, latents and reconstructions of all traces of a run.

    Arguments:
        run: The run's folder.
        required: Whether a figure that cannot be drawn is an error; if not, it is a line on
            standard error.
        data: What the run was trained on; by default it is loaded again. Where it is not there,
            latents and reconstructions are left out, and a line says so.

    Raises:
        UserError: If the run is not there or not complete.
    """
    from pyvae.figures import runs, style
    from pyvae.runs.trained.network import load_traces

    traces = load_traces(run)
    for trace in traces:
        if "training" not in trace.latent_means:
            raise UserError(
                f"'{trace.folder}' has no latent means in training mode",
                "write them into latents.safetensors as docs/reference/trace-format.md describes",
            )
    figures: dict[str, Callable[[], Figure]] = {
        "loss_history": lambda: runs.loss_history_figure(traces),
        "latent_means": lambda: runs.latent_means_figure(traces),
    }
    for trace in traces:
        if trace.samples is not None:
            figures[f"samples_{trace.settings.objective}"] = partial(
                trace_samples_figure, trace.samples, trace, "N(0, I)"
            )
    try:
        figures |= _of_images(traces, data)
    except UserError as error:
        print_error(f"latents and reconstructions are not drawn: {error}")
    for name, make in figures.items():
        path = run / f"{name}.png"
        if required:
            style.draw_figure(make, path)
        else:
            style.draw_or_log(make, path, print_error)


def _of_images(traces: Sequence[Trace], data: ImageData | None) -> dict[str, Callable[[], Figure]]:
    """The figures that need the images; raises UserError if they are not there, or do not fit."""
    from pyvae.runs.trained.posterior import encode, reconstruct
    from pyvae.runs.verify import load_run_data

    figures: dict[str, Callable[[], Figure]] = {}
    for trace in traces:
        name = trace.settings.objective
        if data is None:
            data = load_run_data(trace, print_error)
        seen = trace.steps * trace.settings.batch_size
        few = _spread(len(data), RECONSTRUCTED)
        many = _spread(len(data), min(MOST, max(LEAST, seen)))  # a short run is drawn soon
        figures[f"reconstructions_{name}"] = partial(
            trace_reconstructions_figure, trace, data, few, reconstruct(trace, data, few),
            reconstruct(trace, data, few, seed=trace.settings.seed),
        )  # fmt: skip
        figures[f"latents_{name}"] = partial(
            trace_latents_figure, trace, data, many, encode(trace, data, many).mu
        )
    return figures


def _spread(images: int, most: int) -> list[int]:
    """At most so many rows, evenly spaced: a user's images may be sorted by their class."""
    return np.linspace(0, images - 1, min(images, most)).round().astype(int).tolist()


def trace_reconstructions_figure(
    trace: Trace, data: ImageData, rows: Sequence[int], of_means: NDArray, of_draws: NDArray
) -> Figure:
    """Draws images (or points) beside their reconstructions.

    Arguments:
        trace: Of the run.
        data: The images.
        rows: Which of them, counted from 0.
        of_means, of_draws: What their posterior means, and draws from the posterior, decode to.
    """
    from pyvae.figures.reconstructions import reconstructions_figure

    originals = data.batch(np.asarray(rows), trace.settings.torch_dtype).numpy()
    title = f"{_title(trace)}: {_which(data, rows)} and their reconstructions"
    return reconstructions_figure(
        originals, of_means, of_draws, title, trace.settings.objective, trace.image_shape
    )


def trace_latents_figure(trace: Trace, data: ImageData, rows: Sequence[int], mu: NDArray) -> Figure:
    """Draws the posterior means of images in the plane, a colour for each label.

    Arguments:
        trace: Of the run.
        data: The images.
        rows: Which of them, counted from 0.
        mu: Their means, (N, L).
    """
    from pyvae.figures.latent_map import latent_map
    from pyvae.figures.latents import PRIOR_UNIT

    unit = "" if "clusters" in trace.settings.hyper else PRIOR_UNIT
    labels = None if data.labels is None else data.labels[np.asarray(rows)].numpy()
    title = f"{_title(trace)}: posterior means of {_which(data, rows)}"
    return latent_map(mu, labels, title, trace.settings.objective, unit)


def trace_interpolation_figure(
    trace: Trace, data: ImageData, rows: Sequence[int], pixels: NDArray
) -> Figure:
    """Draws the way from one image (or point) to another.

    Arguments:
        trace: Of the run.
        data: The images.
        rows: The first and the last one, counted from 0.
        pixels: The images on the way, both ends included.
    """
    from pyvae.figures.reconstructions import interpolation_figure

    first, last = (f"{_one(data)} {row + 1:,}" for row in rows)
    title = f"{_title(trace)}: {len(pixels)} images from {first} of {data.name} to {last}"
    return interpolation_figure(pixels, title, (first, last), trace.image_shape)


def trace_samples_figure(samples: NDArray, trace: Trace, prior: str) -> Figure:
    """Draws a trace's samples: images in a grid, or points in the plane."""
    from pyvae.figures.points import points_figure
    from pyvae.figures.runs import samples_figure

    title = _title(trace)
    if samples.shape[1] == 2:
        return points_figure(samples, None, f"{title}: {len(samples)} points from {prior}")
    return samples_figure(
        samples, f"{title}: {len(samples)} images from {prior}", shape=trace.image_shape
    )


def _title(trace: Trace) -> str:
    from pyvae.model.objectives import OBJECTIVES

    return OBJECTIVES[trace.settings.objective].title


def _which(data: ImageData, rows: Sequence[int]) -> str:
    """How many images of which data."""
    count = f"{len(rows):,}" if len(rows) == len(data) else f"{len(rows):,} of {len(data):,}"
    return f"{count} {_one(data)}{'' if len(rows) == 1 else 's'} of {data.name}"


def _one(data: ImageData) -> str:
    return "point" if data.shape == (2,) else "image"
