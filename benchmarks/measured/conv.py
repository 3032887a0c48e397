"""The R article's network at its published settings: pyvae beside the plain loops, base R and the
machine's limits."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from benchmarks.given.case import Case
from benchmarks.limits.flops import step_flop
from benchmarks.limits.limits import gflop_per_second, gigabytes_per_second
from benchmarks.sides.arithmetic import Series, median_quotient, ratio, rounded
from benchmarks.sides.child import start_python, start_r_torch
from benchmarks.sides.rounds import Pace, in_rounds, running

__all__ = ["SIDES", "measure_conv", "summary"]

SIDES = ("pyvae", "plain", "rtorch", "base_r")


def measure_conv(
    folder: Path,
    threads: int,
    rounds: int,
    steps: int,
    *,
    seconds: float = math.inf,
    with_r: bool,
    with_r_torch: bool,
    case: Case | None = None,
    say: Callable[[str], object] = lambda line: None,
) -> dict[str, Any]:
    """Measures all sides in turn.

    Arguments:
        folder: Of MNIST, in torchvision's layout.
        threads: Of every side.
        rounds: How often each side has its turn.
        steps: What counts of a turn; of base R a third of it.
        seconds: After which no further round begins.
        with_r, with_r_torch: Whether R, and R's torch, are there.
        case: Another batch size or latent dimension than the published ones.
        say: Told what is done.

    Raises:
        UserError: If a side cannot be started, or ends.
    """
    case = case or Case()
    cases = {"conv": case}
    children = [start_python("pyvae", cases, folder, threads)]
    children.append(start_python("plain", cases, folder, threads))
    if with_r_torch:
        children.append(start_r_torch(case, folder, threads))
    if with_r:
        children.append(start_python("base_r", cases, folder, threads))
    children.append(start_python("limits", {}, folder, threads))
    paces = {side: [Pace("conv", steps)] for side in SIDES}
    paces["base_r"] = [Pace("conv", max(1, steps // 3), skip=0, warm=1)]  # the slowest by far
    paces["limits"] = [Pace("product", 2 * steps), Pace("copy", 2 * steps)]
    with running(children) as ready:
        return summary(in_rounds(ready, paces, rounds, say, seconds), case)


def summary(found: Mapping[tuple[str, str], Series], case: Case) -> dict[str, Any]:
    """What was measured, as it is written down: times are medians over all steps, ratios those of
    `benchmarks.sides.arithmetic.ratio`, pyvae's time divided by the other's."""
    recipe, settings = case.chosen()
    flop = step_flop(recipe, settings.batch_size, settings.latent_dim)
    there = {side: found[side, "conv"] for side in SIDES if (side, "conv") in found}
    product, copy = found["limits", "product"], found["limits", "copy"]
    floors = [flop / gflop_per_second(ms) / 1e6 for ms in product.by_round]
    mine = there["pyvae"]
    floor = flop / gflop_per_second(product.ms) / 1e6
    over_floor = median_quotient(mine.by_round, floors)

    def each(of: Callable[[Series], float | None]) -> dict[str, float | None]:
        return {side: rounded(of(there[side])) if side in there else None for side in SIDES}

    return {
        "batch_size": settings.batch_size,
        "latent_dim": settings.latent_dim,
        "rounds": len(mine.turns),
        "steps": {side: len(there[side].steps) if side in there else 0 for side in SIDES},
        **{f"{side}_ms": ms for side, ms in each(lambda one: one.ms).items()},
        "floor_ms": rounded(floor),
        **{
            f"ratio_{side}": rounded(ratio(mine, there[side])) if side in there else None
            for side in SIDES[1:]
        },
        "ratio_floor": rounded(over_floor),
        "share_of_limit": rounded(1 / over_floor),
        "range_ms": {
            side: [rounded(ms) for ms in there[side].range_ms] if side in there else None
            for side in SIDES
        },
        "images_per_second": each(lambda one: settings.batch_size / one.ms * 1000),
        "page_faults_per_step": each(lambda one: one.faults),
        "peak_mb": each(lambda one: one.peak_mb),
        "grown_mb": each(lambda one: one.grown_mb),
        "gflop_per_step": rounded(flop / 1e9),
        "gflop_per_second": rounded(gflop_per_second(product.ms)),
        "copy_gb_per_second": rounded(gigabytes_per_second(copy.ms)),
    }
