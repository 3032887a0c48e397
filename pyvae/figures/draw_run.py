"""Draws the figures of a trained run."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from pyvae.errors import UserError, print_error

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from pyvae.trace.trace import Trace

__all__ = ["draw_run", "trace_samples_figure"]


def draw_run(run: Path, required: bool = False) -> None:
    """Draws loss history, samples and latent means of all traces of a run.

    Arguments:
        run: The run's folder.
        required: Whether a figure that cannot be drawn is an error; if not, it is a line on
            standard error.

    Raises:
        UserError: If the run is not there or not complete.
    """
    from pyvae.figures import runs, style
    from pyvae.runs.trained import load_traces

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
    for name, make in figures.items():
        path = run / f"{name}.png"
        if required:
            style.draw_figure(make, path)
        else:
            style.draw_or_log(make, path, print_error)


def trace_samples_figure(samples: NDArray, trace: Trace, prior: str) -> Figure:
    """Draws a trace's samples: images in a grid, or points in the plane."""
    from pyvae.figures.points import points_figure
    from pyvae.figures.runs import samples_figure
    from pyvae.model.objectives import OBJECTIVES

    title = OBJECTIVES[trace.settings.objective].title
    if samples.shape[1] == 2:
        return points_figure(samples, None, f"{title}: {len(samples)} points from {prior}")
    return samples_figure(
        samples, f"{title}: {len(samples)} images from {prior}", shape=trace.image_shape
    )
