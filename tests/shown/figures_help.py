"""For tests of figures: whether one can be read, and traces that were never trained."""

from __future__ import annotations

from itertools import combinations

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox

from pyvae.recipes import get_recipe
from pyvae.trace.trace import Trace

__all__ = ["assert_readable", "finished_trace", "made_trace", "note_of", "words_of"]

PIXEL = 2.0  # rounding of boxes


def assert_readable(figure: Figure) -> None:
    """Draws a figure; nothing may stick out of it, and what stands side by side not overlap."""
    renderer = FigureCanvasAgg(figure).get_renderer()
    figure.draw(renderer)
    whole = figure.bbox
    parts: list[tuple[str, Bbox]] = [
        (f"panel {number}", axes.get_tightbbox(renderer)) for number, axes in enumerate(figure.axes)
    ]
    parts += [("legend", legend.get_window_extent(renderer)) for legend in figure.legends]
    parts += [
        (repr(text.get_text()), text.get_window_extent(renderer))
        for text in (figure._supxlabel, figure._suptitle)
        if text is not None
    ]
    for name, box in parts:
        assert box.x0 >= -PIXEL, (name, "left", box.x0)
        assert box.y0 >= -PIXEL, (name, "bottom", box.y0)
        assert box.x1 <= whole.x1 + PIXEL, (name, "right", box.x1 - whole.x1)
        assert box.y1 <= whole.y1 + PIXEL, (name, "top", box.y1 - whole.y1)
    for (first, a), (second, b) in combinations(parts, 2):
        width = min(a.x1, b.x1) - max(a.x0, b.x0)
        height = min(a.y1, b.y1) - max(a.y0, b.y0)
        assert width <= PIXEL or height <= PIXEL, (first, second, width, height)


def note_of(figure: Figure) -> str:
    """What stands small at the bottom, in one line."""
    return " ".join(figure.get_supxlabel().split())


def words_of(legend) -> list[str]:
    return [text.get_text() for text in legend.get_texts()]


def made_trace(recipe: str, epochs: int = 3, steps: int = 4, **changes) -> Trace:
    """A trace with falling losses of all terms, so many steps in each epoch."""
    found = get_recipe(recipe)
    settings = found.settings(**changes)
    trace = Trace("pytorch", recipe, settings, {"name": "mnist"}, {})
    count = epochs * steps
    rng = np.random.default_rng(settings.seed)
    fall = 100 * (1 + np.exp(-np.arange(count) / count)) + rng.uniform(size=count)
    trace.losses = fall[:, None] * np.arange(1, len(trace.terms) + 1)
    trace.epochs = np.repeat(np.arange(1, epochs + 1), steps)
    return trace


def finished_trace(recipe: str, epochs: int = 1, steps: int = 3, **changes) -> Trace:
    """A trace as `made_trace`, with random parameters, latent means and samples."""
    trace = made_trace(recipe, epochs, steps, **changes)
    rng, settings = np.random.default_rng(7), trace.settings
    for mode in ("training", "evaluation"):
        means = rng.normal(size=(settings.batch_size, settings.latent_dim))
        trace.latent_means[mode] = means.astype(settings.dtype)
    trace.samples = rng.uniform(size=(16, get_recipe(recipe).features)).astype(settings.dtype)
    trace.parameters = {"encoder.weight": rng.normal(size=(3, 5)), "encoder.bias": np.float32([2])}
    return trace
