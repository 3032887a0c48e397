"""Everything that is measured, one part after the other."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks.given.images import Images, image_folder
from benchmarks.measured.bridge import measure_bridge
from benchmarks.measured.conv import measure_conv
from benchmarks.measured.draws import measure_draws
from benchmarks.measured.growth import Sizes, measure_growth, thread_counts
from benchmarks.measured.recipes import OTHERS, measure_recipes
from benchmarks.measured.startup import measure_startup
from benchmarks.report.figures import growth_figure, performance_figure
from benchmarks.report.machine import about, cores
from benchmarks.report.tables import markdown as as_markdown
from benchmarks.report.tables import print_tables
from pyvae.errors import UserError, choose
from pyvae.figures.style import own_style, save_figure
from pyvae.files.writing import output_folder, write_file
from r_bridge.installed.r_torch import find_r_torch
from r_bridge.installed.rpy2 import check_r

__all__ = ["PARTS", "Plan", "run_suite", "write_results"]

PARTS = ("conv", "recipes", "startup", "draws", "bridge", "growth")
QUICK_RECIPES = OTHERS[:3]  # a step of the last one takes as long as dozens of the others


@dataclass(frozen=True)
class Plan:
    """What is to be measured, and how long.

    Attributes:
        parts: Of `PARTS`.
        quick: Less of everything.
        threads: Of every side.
        rounds: Turns of each side.
    """

    parts: tuple[str, ...]
    quick: bool
    threads: int
    rounds: int

    @classmethod
    def of(cls, quick: bool, only: str | None, threads: int | None, rounds: int | None) -> Plan:
        """The plan that was asked for.

        Raises:
            UserError: If there is no such part, or a number is out of its range.
        """
        parts = PARTS if only is None else tuple(only.split(","))
        for part in parts:
            choose("part", part, PARTS)
        for name, number in (("threads", threads), ("rounds", rounds)):
            if number is not None and not 1 <= number <= 1000:
                raise UserError(f"--{name} {number}", expected="1 to 1000")
        return cls(parts, quick, threads or cores(), rounds or (3 if quick else 10))


def run_suite(plan: Plan, data: str, spare: Path, out: Path, markdown: Path | None) -> None:
    """Measures, prints and writes; what was measured is written after every part.

    Arguments:
        plan: What.
        data: `auto`, `mnist` or `digits`.
        spare: An empty folder.
        out: Where results.json and the pictures go.
        markdown: Where the tables go, too.

    Raises:
        UserError: If something cannot be had, or a side ends.
    """
    console = Console(markup=False, highlight=False)

    def say(line: str) -> None:
        console.print(line, soft_wrap=True)

    output_folder(out)
    images = image_folder(data, spare / "images", say)
    with_r, with_r_torch = _what_there_is_of_r(say)
    results: dict[str, Any] = {"about": about(plan.threads, images.name)}
    results |= dict.fromkeys(PARTS)
    measures = _measures(plan, images, with_r, with_r_torch, results, say)
    for part in plan.parts:
        say(f"{part} ...")
        results[part] = measures[part]()
        write_results(results, out / "results.json")
    print_tables(results, console)
    with own_style():
        for name, figure in (
            ("performance.png", performance_figure(results)),
            ("growth.png", growth_figure(results)),
        ):
            if figure is not None:
                save_figure(figure, out / name)
    if markdown is not None:
        write_file(markdown, as_markdown(results))
    say(f"written: {out}")


def _measures(
    plan: Plan,
    images: Images,
    with_r: bool,
    with_r_torch: bool,
    results: dict[str, Any],
    say: Callable[[str], object],
) -> dict[str, Callable[[], Any]]:
    """What measures each part, given the results of those before."""
    folder, threads, rounds, quick = images.folder, plan.threads, plan.rounds, plan.quick
    sizes = (
        Sizes((50, 250, 500), beside_plain=False)
        if quick
        else Sizes(
            (50, 100, 250, 500, 1000, 2000, 4000),
            (2, 30, 128),
            (1_000, 10_000, 60_000),
            thread_counts(threads),
        )
    )
    return {
        "conv": lambda: measure_conv(
            folder, threads, rounds, 2 if quick else 6, seconds=9 if quick else 100,
            with_r=with_r, with_r_torch=with_r_torch, say=say,
        ),
        "recipes": lambda: measure_recipes(
            folder, threads, 2 if quick else rounds, 3 if quick else 5,
            QUICK_RECIPES if quick else OTHERS, 3 if quick else 60, say,
        ),
        "startup": lambda: measure_startup(folder, threads, 1 if quick else 5, say),
        "draws": lambda: measure_draws(
            folder, images.name, threads, 4 if quick else 20, 0 if quick else 3, say
        ),
        "bridge": lambda: (
            measure_bridge(
                images.name, threads, 50 if quick else 500, 10 if quick else 50,
                (results["conv"] or {}).get("base_r_ms"),
            )
            if with_r
            else None
        ),
        "growth": lambda: measure_growth(
            images, threads, sizes, 1 if quick else 3, 1 if quick else 4, say
        ),
    }  # fmt: skip


def write_results(results: dict[str, Any], path: Path) -> None:
    """As JSON, in which there is no NaN and no infinity."""
    write_file(path, json.dumps(results, indent=2, allow_nan=False) + "\n")


def _what_there_is_of_r(say: Callable[[str], object]) -> tuple[bool, bool]:
    """Whether base R and R's torch can be measured; what cannot is said."""
    try:
        check_r()
    except UserError as error:
        say(f"without R: {error}")
        return False, False
    problem = find_r_torch().problem()
    if problem is not None:
        say(f"without R's torch: {problem}")
    return True, problem is None
