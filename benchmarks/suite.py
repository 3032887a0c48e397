"""Everything that is measured, one part after the other."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks.conv import measure_conv
from benchmarks.images import image_folder
from benchmarks.machine import about, cores
from pyvae.errors import UserError, choose
from pyvae.files import output_folder, write_file
from r_bridge.r_torch import find_r_torch
from r_bridge.worker import check_r

__all__ = ["PARTS", "Plan", "run_suite", "write_results"]

PARTS = ("conv", "recipes", "startup", "draws", "bridge", "growth")


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
                raise UserError(f"--{name} {number}", "1 to 1000")
        return cls(parts, quick, threads or cores(), rounds or (3 if quick else 12))


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
    measures: dict[str, Callable[[], Any]] = {
        "conv": lambda: measure_conv(
            images.folder, plan.threads, plan.rounds, 3 if plan.quick else 6,
            with_r=with_r, with_r_torch=with_r_torch, say=say,
        ),
    }  # fmt: skip
    for part in plan.parts:
        results[part] = measures[part]()
        write_results(results, out / "results.json")


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
        say(f"without R's torch: {problem[0]}")
    return True, problem is None
