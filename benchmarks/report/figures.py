"""Pictures of the results. A side has the same colour everywhere, and none that an objective has
in pyvae's other figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter

from benchmarks.measured.conv import SIDES
from benchmarks.report.tables import GROWTH
from benchmarks.sides.child import TITLES

__all__ = ["COLOURS", "growth_figure", "performance_figure"]

COLOURS = {
    "pyvae": "midnightblue",
    "plain": "goldenrod",
    "rtorch": "mediumorchid",
    "base_r": "darkgray",
}
LIMIT = "black"
FLOOR = "white"  # on pyvae's bar: nothing is faster
THOUSANDS = FuncFormatter(lambda value, place: f"{value:,.0f}")


def performance_figure(results: Mapping[str, Any]) -> Figure | None:
    """Speed and memory of recipe conv, and the other recipes beside their plain loops; None if
    neither was measured."""
    conv, recipes = results["conv"], results["recipes"]
    panels = 2 * bool(conv) + bool(recipes)
    if not panels:
        return None
    figure = Figure(figsize=(7.5, 0.6 + 2.5 * panels), layout="constrained")
    figure.set_layout_engine("constrained", h_pad=0.1)
    axes = list(figure.subplots(panels, 1, squeeze=False).ravel())
    if conv:
        _draw_speed(axes.pop(0), conv)
        _draw_memory(axes.pop(0), conv)
    if recipes:
        _draw_recipes(axes.pop(0), recipes)
    about = results["about"]
    figure.suptitle(
        f"{about['machine']['cpu']}, {about['threads']} threads, {about['data']}, "
        f"{about['date'][:10]}",
        fontsize=10,
    )
    return figure


def _draw_speed(axes: Axes, conv: Mapping[str, Any]) -> None:
    there = [side for side in SIDES if conv[f"{side}_ms"] is not None]
    batch = conv["batch_size"]
    speeds = [conv["images_per_second"][side] for side in there]
    limit = batch / conv["floor_ms"] * 1000
    fastest = max(batch / conv["range_ms"][side][0] * 1000 for side in there)
    _bars(axes, there, speeds)
    for place, side in enumerate(there):
        fast, slow = (batch / ms * 1000 for ms in conv["range_ms"][side])
        axes.plot([slow, fast], [place, place], color="black", linewidth=1, marker="|")
    names = [f"{TITLES[side]}\n{conv[f'{side}_ms']:,.0f} ms a step" for side in there]
    axes.set_yticks(range(len(there)), names, fontsize=9)
    axes.axvline(limit, color=LIMIT, linestyle="--", linewidth=1)
    axes.annotate(
        "matrix products alone", (limit, len(there) - 0.45), (4, 0), textcoords="offset points",
        ha="left", va="bottom", fontsize=8,
    )  # fmt: skip
    axes.set_ylim(len(there) - 0.3, -0.6)
    axes.set_xlim(0, 1.3 * max(limit, fastest))
    axes.set_xlabel("images a second: median, and the slowest and the fastest step")
    axes.set_title(
        f"Recipe conv, batch {batch}, {conv['latent_dim']} latent dimensions", fontsize=10
    )


def _draw_memory(axes: Axes, conv: Mapping[str, Any]) -> None:
    there = [side for side in SIDES if conv["peak_mb"][side] is not None]
    peaks = [conv["peak_mb"][side] for side in there]
    _bars(axes, there, peaks)
    for place, peak in enumerate(peaks):
        _label(axes, peak, place, f"{peak:,.0f} MB")
    axes.set_xlim(0, 1.2 * max(peaks, default=1))
    axes.set_xlabel("most memory held, above imports and images (MB)")
    axes.set_title("Memory of the same runs", fontsize=10)


def _draw_recipes(axes: Axes, recipes: Mapping[str, Any]) -> None:
    names = list(recipes)
    ratios = [recipes[name]["ratio_plain"] for name in names]
    axes.barh(names, ratios, color=COLOURS["pyvae"], height=0.6)
    for place, name in enumerate(names):
        one = recipes[name]
        text = f"{one['pyvae_ms']:,.1f} ms, plain loop {one['plain_ms']:,.1f} ms"
        floor = one["floor_ms"] / one["plain_ms"]
        axes.plot([floor, floor], [place - 0.3, place + 0.3], color=FLOOR, linewidth=1.5)
        _label(axes, max(1, ratios[place]), place, text)
    axes.axvline(1, color=COLOURS["plain"], linewidth=2)
    axes.invert_yaxis()
    axes.set_xlim(0, 1.6 * max(1, *ratios))
    axes.set_xlabel(
        "pyvae's time a step, the plain PyTorch loop's being 1\n"
        "(white line: that of the matrix products alone)"
    )
    axes.set_title("The other recipes at their published settings", fontsize=10)
    _bare(axes)


def _bars(axes: Axes, sides: Sequence[str], values: Sequence[float]) -> None:
    axes.barh(
        [TITLES[side] for side in sides], values, color=[COLOURS[side] for side in sides],
        height=0.6,
    )  # fmt: skip
    axes.invert_yaxis()
    axes.xaxis.set_major_formatter(THOUSANDS)
    _bare(axes)


def _label(axes: Axes, x: float, y: float, text: str) -> None:
    """Words to the right of a bar's end."""
    axes.annotate(
        text, (x, y), (6, 0), textcoords="offset points", va="center", fontsize=8,
        bbox={"facecolor": "white", "edgecolor": "none", "pad": 1},
    )  # fmt: skip


def _bare(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)


def growth_figure(results: Mapping[str, Any]) -> Figure | None:
    """How speed and memory go with what is asked for; None if it was not measured."""
    growth = results["growth"] or {}
    drawn = {name: points for name, points in growth.items() if len(points) > 1}
    panels: list[tuple[str, str, str]] = [
        (name, "images_per_second", "images a second") for name in drawn
    ]
    if "peak_mb" in drawn.get("batch_size", [{}])[0]:
        panels.insert(1, ("batch_size", "peak_mb", "most memory held (MB)"))
    if not panels:
        return None
    columns = min(2, len(panels))
    rows = -(-len(panels) // columns)
    figure = Figure(figsize=(4.2 * columns, 3.1 * rows), layout="constrained")
    axes = list(figure.subplots(rows, columns, squeeze=False).ravel())
    for one, (name, key, label) in zip(axes, panels, strict=False):
        _draw_growth(one, name, drawn[name], key, label)
    for one in axes[len(panels) :]:
        one.remove()
    figure.suptitle("Recipe conv, everything else as published", fontsize=10)
    legends = [one.get_legend_handles_labels() for one in figure.axes]
    lines, names = max(legends, key=lambda found: len(found[1]))  # the plain loop is not in all
    figure.legend(lines, names, loc="outside lower center", ncols=2, fontsize=8)
    return figure


def _draw_growth(
    axes: Axes, name: str, points: Sequence[Mapping[str, Any]], key: str, label: str
) -> None:
    x = [point[name] for point in points]
    axes.plot(x, [point[key] for point in points], "o-", color=COLOURS["pyvae"], label="pyvae")
    if "plain_ms" in points[0]:
        batches = [point.get("batch_size", 250) for point in points]
        plain = [
            point["plain_peak_mb"] if key == "peak_mb" else batch / point["plain_ms"] * 1000
            for point, batch in zip(points, batches, strict=True)
        ]
        axes.plot(x, plain, "s-", color=COLOURS["plain"], label=TITLES["plain"])
    axes.set_xscale("log")
    axes.set_xticks(x, [f"{value:,}" for value in x], fontsize=8)
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.minorticks_off()
    axes.set_ylim(0, 1.1 * axes.get_ylim()[1])
    axes.yaxis.set_major_formatter(THOUSANDS)
    axes.set_xlabel(GROWTH[name])
    axes.set_ylabel(label)
    _bare(axes)
