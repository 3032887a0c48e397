"""The results as tables: on the terminal, and as markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from benchmarks.measured.conv import SIDES
from benchmarks.sides.child import TITLES

__all__ = ["Table", "about_line", "markdown", "print_tables", "tables"]

NONE = "–"
GROWTH = {
    "batch_size": "batch size",
    "latent_dim": "latent dimensions",
    "images": "images",
    "threads": "threads",
}


@dataclass(frozen=True)
class Table:
    """What both kinds show."""

    title: str
    headers: Sequence[str]
    rows: Sequence[Sequence[str]]
    caption: str = ""


def tables(results: Mapping[str, Any]) -> list[Table]:
    """A table for each part that was measured."""
    made = []
    if results["conv"]:
        made.append(_conv(results["conv"]))
    if results["recipes"]:
        made.append(_recipes(results["recipes"]))
    waiting = _waiting(results)
    if waiting:
        made.append(Table("Commands, draws and the bridge to R", ("what", "how much"), waiting))
    for name, points in (results["growth"] or {}).items():
        if points:
            made.append(_growth(GROWTH[name], name, points))
    return made


def about_line(about: Mapping[str, Any]) -> str:
    """On what was measured, and when."""
    machine = about["machine"]
    memory = "" if machine["memory_gb"] is None else f", {machine['memory_gb']:.0f} GB"
    r = "no R" if about["r"] is None else f"R {about['r']} with {about['r_blas']}"
    r_torch = "no R torch"
    if about["r_torch"] is not None:
        r_torch = f"R torch {about['r_torch']} on LibTorch {about['libtorch_of_r']}"
    return (
        f"{about['date'][:10]}, {machine['cpu']}, {machine['cores']} cores{memory}; "
        f"threads of every side: {about['threads']}; images: {about['data']}; "
        f"Python {about['python']}, torch {about['torch']}, {r}, {r_torch}"
    )


def print_tables(results: Mapping[str, Any], console: Console) -> None:
    """All tables on the terminal."""
    console.print(about_line(results["about"]), soft_wrap=True)
    for table in tables(results):
        drawn = RichTable(
            title=Text(f"\n{table.title}", "bold"),
            caption=Text(table.caption) if table.caption else None,
            title_justify="left",
            caption_justify="left",
            box=box.SIMPLE_HEAD,
            pad_edge=False,
            padding=0,  # eight columns on a terminal of 80
        )
        for place, header in enumerate(table.headers):
            drawn.add_column(header, justify="right" if place else "left", no_wrap=True)
        for row in table.rows:
            drawn.add_row(*row)
        console.print(drawn)


def markdown(results: Mapping[str, Any]) -> str:
    """The same as markdown."""
    parts = [about_line(results["about"]) + "."]
    for table in tables(results):
        lines = [
            _row(table.headers),
            _row(["---", *["---:"] * (len(table.headers) - 1)]),
            *map(_row, table.rows),
        ]
        parts += [f"### {table.title}", "\n".join(lines), *([table.caption] * bool(table.caption))]
    return "\n\n".join(parts) + "\n"


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _conv(conv: Mapping[str, Any]) -> Table:
    rows = []
    for side in SIDES:
        if conv[f"{side}_ms"] is None:
            continue
        low, high = conv["range_ms"][side]
        rows.append(
            (
                TITLES[side],
                _number(conv[f"{side}_ms"]),
                f"{_number(low)}-{_number(high)}",
                _number(conv["images_per_second"][side]),
                _number(conv.get(f"ratio_{side}"), 2),
                _number(conv["page_faults_per_step"][side], 0),
                _number(conv["peak_mb"][side]),
                _number(conv["grown_mb"][side], 0),
            )
        )
    limit = conv["batch_size"] / conv["floor_ms"] * 1000
    rows.append(
        ("matrix products", _number(conv["floor_ms"]), NONE, _number(limit),
         _number(conv["ratio_floor"], 2), NONE, NONE, NONE)
    )  # fmt: skip
    return Table(
        f"Recipe conv, batch {conv['batch_size']}, {conv['latent_dim']} latent dimensions",
        ("", "ms", "range", "images/s", "pyvae/it", "faults", "peak MB", "grown"),
        rows,
        f"{conv['rounds']} rounds in turn. ms: a step, the median over all; pyvae/it: pyvae's time "
        f"to this one's, the median over the rounds of the quotient of both medians. faults: minor "
        f"page faults a step. peak: memory above what was there before the first step; grown: MB "
        f"from the first round to the last. A step's matrix products are "
        f"{conv['gflop_per_step']:.1f} GFLOP, a 2048x2048 product in the same rounds ran at "
        f"{_number(conv['gflop_per_second'])} GFLOP/s, a copy of 256 MB at "
        f"{_number(conv['copy_gb_per_second'])} GB/s: pyvae reaches "
        f"{100 * conv['share_of_limit']:.0f} % of what the products alone would allow.",
    )  # fmt: skip


def _recipes(recipes: Mapping[str, Any]) -> Table:
    each = [f"{name} {one['gflop_per_step']:.2g}" for name, one in recipes.items()]
    gflop = ", ".join(each)
    return Table(
        "The other recipes at their published settings",
        ("recipe", "batch", "pyvae ms", "plain ms", "pyvae/it", "floor ms", "pyvae/it"),
        [
            (name, str(one["batch_size"]), _number(one["pyvae_ms"]), _number(one["plain_ms"]),
             _number(one["ratio_plain"], 2), _number(one["floor_ms"]),
             _number(one["ratio_floor"], 2))
            for name, one in recipes.items()
        ],
        "ms: a step. plain: a plain loop around the same network, with torchvision's images one by "
        f"one and PyTorch's own draws. floor: the step's matrix products alone (GFLOP: {gflop}) at "
        "the speed of a 2048x2048 product in the same rounds.",
    )  # fmt: skip


def _waiting(results: Mapping[str, Any]) -> list[tuple[str, str]]:
    rows = []
    if results["startup"]:
        found = results["startup"]
        rows += [
            ("pyvae --help", f"{_number(found['help_s'], 2)} s"),
            ("pyvae train conv --steps 1", f"{_number(found['first_step_s'], 2)} s"),
            ("python -c 'import torch'", f"{_number(found['import_torch_s'], 2)} s"),
        ]
    if results["draws"]:
        found = results["draws"]
        size = _number(found["mb_per_step"], 1)
        rows.append(
            ("writing draws down", f"{_number(found['writing_ms'])} ms and {size} MB a step")
        )
        if found["more_ms_per_step"] is not None:
            more = f"{_number(found['more_ms_per_step'])} ms a step more"
            rows += [
                (f"pyvae trace --steps {found['steps']}", f"{_number(found['trace_s'], 1)} s"),
                ("the same with --draws", f"{_number(found['trace_with_draws_s'], 1)} s: {more}"),
            ]
    if results["bridge"]:
        found = results["bridge"]
        rows += [
            ("a bare call of R", f"{_number(found['call_ms'], 2)} ms"),
            ("250x784 doubles to R and back", f"{_number(found['array_ms'], 2)} ms"),
            ("a step's images and draws to R", f"{_number(found['step_bridge_ms'])} ms"),
        ]
        if found["share"] is not None:
            of = f"{100 * found['share']:.1f} % of {_number(found['step_ms'])} ms"
            rows.append(("which is of a step in base R", of))
    return rows


def _growth(title: str, name: str, points: Sequence[Mapping[str, Any]]) -> Table:
    columns: dict[str, tuple[str, int | None]] = {
        name: (title, 0),
        "pyvae_ms": ("pyvae ms", None),
        "images_per_second": ("images/s", None),
        "peak_mb": ("peak MB", None),
        "plain_ms": ("plain loop ms", None),
        "plain_peak_mb": ("its peak MB", None),
        "ratio_plain": ("pyvae/it", 2),
        "epoch_s": ("s an epoch", 1),
    }
    shown = {key: about for key, about in columns.items() if key in points[0]}
    return Table(
        f"Growth with {title}",
        [header for header, _ in shown.values()],
        [[_number(point[key], digits) for key, (_, digits) in shown.items()] for point in points],
    )


def _number(value: float | None, digits: int | None = None) -> str:
    """With so many digits after the point; by default as many as a number of its size needs."""
    if value is None:
        return NONE
    if digits is None:
        digits = 0 if abs(value) >= 100 else 1
    return f"{value:,.{digits}f}"
