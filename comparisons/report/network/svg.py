"""Drawings of the page, as plain SVG: lines between stages, histograms and maps."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator

import matplotlib
import matplotlib.image
import numpy as np
from markupsafe import Markup

from comparisons.agreement.spread import Plane, Spread
from comparisons.report.network.rows import Drawing, Line

__all__ = ["BOX", "LANE", "ROW", "gutter_of", "histogram", "lines_svg", "map_svg"]

ROW, BOX, LANE = 48, 40, 12  # sixteenths of an rem: the height of a row and its box, a lane's width
WIDTH, HEIGHT, LEFT = 300, 110, 6  # of a histogram
LEAST = 1e-6  # of the largest difference: what a map's lightest colour stands for


def gutter_of(drawing: Drawing) -> int:
    """The room to the left of the boxes, in sixteenths of an rem."""
    return drawing.lanes * LANE + 12 if drawing.lanes else 2


def lines_svg(drawing: Drawing) -> Markup:
    """The lines between the rows; decoration, the text says the same."""
    gutter, height = gutter_of(drawing), len(drawing.rows) * ROW
    width = gutter + 40
    parts = [_line(line, gutter) for line in drawing.lines]
    return Markup(
        '<svg class="lines" aria-hidden="true" width="{}rem" height="{}rem" viewBox="0 0 {} {}">'
        "{}</svg>"
    ).format(width / 16, height / 16, width, height, Markup("").join(parts))


def _line(line: Line, gutter: int) -> Markup:
    top, bottom = line.start * ROW, line.end * ROW
    if not line.lane:
        x = gutter + 24
        y = top + (ROW + BOX) // 2
        return Markup('<path d="M{} {}V{}"/><path class="head" d="M{} {}l-4 -5h8z"/>').format(
            x, y, bottom, x, bottom + (ROW - BOX) // 2
        )
    x, out, into = gutter - 4 - line.lane * LANE, top + ROW // 2 + 8, bottom + ROW // 2 - 8
    return Markup(
        '<path d="M{} {}H{}q-6 0 -6 6V{}q0 6 6 6H{}"/><path class="head" d="M{} {}l-6 -4v8z"/>'
    ).format(gutter, out, x + 6, into - 6, gutter - 5, gutter, into)


def histogram(spread: Spread) -> Markup:
    """The histogram of a difference, with a logarithmic scale of counts; empty if there is none."""
    counts = np.asarray(spread.counts, float)
    if not counts.size:
        return Markup("")
    most = counts.max()
    heights = np.where(counts > 0, 4 + (HEIGHT - 34) * np.log1p(counts) / np.log1p(most), 0.0)
    step = (WIDTH - 2 * LEFT) / counts.size
    floor = HEIGHT - 18
    bars = Markup("").join(
        Markup('<rect x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}"/>').format(
            LEFT + i * step, floor - height, step - 1, height
        )
        for i, height in enumerate(heights)
        if height
    )
    middle, edge = WIDTH / 2, f"{spread.largest:.1e}"
    return Markup(
        '<svg class="histogram" role="img" aria-label="{}" viewBox="0 0 {} {}">{}'
        '<path d="M{} {}H{}M{} {}v4"/><text x="{}" y="{}">−{}</text>'
        '<text x="{}" y="{}" text-anchor="middle">0</text>'
        '<text x="{}" y="{}" text-anchor="end">{}</text>'
        '<text x="{}" y="10">largest bar: {:,}</text></svg>'
    ).format(
        f"Histogram of the difference, from -{edge} to {edge}", WIDTH, HEIGHT, bars,
        LEFT, floor, WIDTH - LEFT, middle, floor, LEFT, HEIGHT - 4, edge,
        middle, HEIGHT - 4, WIDTH - LEFT, HEIGHT - 4, edge, LEFT, int(most),
    )  # fmt: skip


def map_svg(plane: Plane, allowed: float, base: int) -> Markup:
    """A map of where two sides differ: the darker, the more.

    Arguments:
        plane: The sizes of the difference.
        allowed: What is allowed of it; what is below is drawn pale.
        base: From what indices are counted.
    """
    rows, columns = plane.sizes.shape
    side = 240.0
    tall = min(max(side * rows / columns, 16.0), 300.0)
    wide = side if not plane.is_image else min(side, tall * columns / rows)
    left = 14 + 7 * len(str(plane.rows[1])) if plane.rows[0] else 4
    label = f"Map of the difference: {_axis(plane.columns)} to the right"
    label += f", {_axis(plane.rows)} downwards" if plane.rows[0] else ""
    texts = Markup("").join(_ticks(plane, base, left, wide, tall))
    return Markup(
        '<svg class="map" role="img" aria-label="{}" viewBox="0 0 {:.0f} {:.0f}" '
        'width="{:.0f}"><image href="{}" x="{}" y="1" width="{:.1f}" height="{:.1f}" '
        'preserveAspectRatio="none"/><rect x="{}" y="1" width="{:.1f}" height="{:.1f}"/>{}</svg>'
    ).format(
        label, left + wide + 4, tall + 32, left + wide + 4, _png(plane, allowed), left, wide, tall,
        left, wide, tall, texts,
    )  # fmt: skip


def _axis(axis: tuple[str, int]) -> str:
    name, number = axis
    return f"{number} {name}{'' if number == 1 else 's'}"


def _ticks(plane: Plane, base: int, left: int, wide: float, tall: float) -> Iterator[Markup]:
    text = Markup('<text x="{:.1f}" y="{:.1f}" text-anchor="{}">{}</text>')
    name, number = plane.columns
    yield text.format(left, tall + 13, "start", base)
    yield text.format(left + wide, tall + 13, "end", number - 1 + base)
    yield text.format(left, tall + 27, "start", f"{name} →")
    if plane.rows[0]:
        name, number = plane.rows
        yield text.format(left - 4, 11, "end", base)
        if tall > 30:
            yield text.format(left - 4, tall, "end", number - 1 + base)
        yield text.format(left + wide, tall + 27, "end", f"↓ {name}")


def _png(plane: Plane, allowed: float) -> str:
    """The map's pixels as a data: address."""
    sizes = plane.sizes
    finite = sizes[np.isfinite(sizes)]
    most = float(finite.max()) if finite.size else 0.0
    least = max(allowed, most * LEAST) if most > allowed else most * LEAST
    colours = np.empty((*sizes.shape, 4))
    colours[:] = matplotlib.colors.to_rgba("#e6f3f0")  # equal
    shown = (sizes > 0) & np.isfinite(sizes)
    if most > 0 and shown.any():
        span = np.log(most / least) if 0 < least < most else 1.0
        levels = np.log(np.maximum(sizes[shown], least) / most) / span + 1  # 0 to 1
        colours[shown] = matplotlib.colormaps["YlOrBr"](0.15 + 0.85 * np.clip(levels, 0, 1))
        if most > allowed:
            colours[shown & (sizes <= allowed)] = matplotlib.colors.to_rgba("#b5dcd4")  # within
    colours[~np.isfinite(sizes)] = (0, 0, 0, 1)
    content = io.BytesIO()
    matplotlib.image.imsave(content, colours, format="png")
    return "data:image/png;base64," + base64.b64encode(content.getvalue()).decode()
