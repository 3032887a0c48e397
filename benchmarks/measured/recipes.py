"""The other recipes at their published settings: pyvae beside a plain loop around the same network,
and the floor that its matrix products are."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.given.case import Case
from benchmarks.limits.flops import step_flop
from benchmarks.limits.limits import gflop_per_second
from benchmarks.sides.arithmetic import Series, median_quotient, ratio, rounded
from benchmarks.sides.child import start_python
from benchmarks.sides.rounds import Pace, in_rounds, running

__all__ = ["OTHERS", "measure_recipes", "summary"]

OTHERS = ("mlp", "strided-conv", "beta", "clustering", "clustering-semi-supervised")


def measure_recipes(
    folder: Path,
    threads: int,
    rounds: int,
    steps: int,
    names: Sequence[str] = OTHERS,
    seconds: float = math.inf,
    say: Callable[[str], object] = lambda line: None,
) -> dict[str, Any]:
    """Measures both sides in turn, recipe by recipe.

    Arguments:
        folder: Of MNIST, in torchvision's layout.
        threads: Of both sides.
        rounds: How often each side has its turn.
        steps: What counts of a turn.
        names: Of the recipes.
        seconds: After which no further round begins.
        say: Told what is done.

    Returns:
        What `summary` says of each recipe.

    Raises:
        UserError: If a side cannot be started, or ends.
    """
    cases = {name: Case(name) for name in names}
    children = [start_python(side, cases, folder, threads) for side in ("pyvae", "plain")]
    children.append(start_python("limits", {}, folder, threads))
    trained = [Pace(name, steps) for name in names]
    paces = {"pyvae": trained, "plain": trained, "limits": [Pace("product", 2 * steps)]}
    with running(children) as ready:
        return summary(in_rounds(ready, paces, rounds, say, seconds), cases)


def summary(
    found: Mapping[tuple[str, str], Series], cases: Mapping[str, Case]
) -> dict[str, dict[str, Any]]:
    """By recipe its batch size, milliseconds a step of both sides and of the matrix products alone,
    images a second, and the ratios of pyvae's time to the others."""
    product = found["limits", "product"]
    measured = {}
    for name, case in cases.items():
        mine, plain = found["pyvae", name], found["plain", name]
        recipe, settings = case.chosen()
        flop = step_flop(recipe, settings.batch_size, settings.latent_dim, **settings.hyper)
        floors = [flop / gflop_per_second(ms) / 1e6 for ms in product.by_round]
        measured[name] = {
            "batch_size": settings.batch_size,
            "pyvae_ms": rounded(mine.ms),
            "plain_ms": rounded(plain.ms),
            "floor_ms": rounded(flop / gflop_per_second(product.ms) / 1e6),
            "ratio_plain": rounded(ratio(mine, plain)),
            "ratio_floor": rounded(median_quotient(mine.by_round, floors)),
            "images_per_second": rounded(settings.batch_size / mine.ms * 1000),
            "gflop_per_step": rounded(flop / 1e9),
        }
    return measured
