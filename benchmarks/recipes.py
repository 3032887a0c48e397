"""The other recipes at their published settings: pyvae beside a plain loop around the same
network."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.arithmetic import ratio, rounded
from benchmarks.case import Case
from benchmarks.child import start_python
from benchmarks.rounds import Pace, in_rounds, running

__all__ = ["OTHERS", "measure_recipes"]

OTHERS = ("mlp", "strided-conv", "beta", "clustering")


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
        By recipe its batch size, milliseconds a step, images a second, and the ratio.

    Raises:
        UserError: If a side cannot be started, or ends.
    """
    cases = {name: Case(name) for name in names}
    children = [start_python(side, cases, folder, threads) for side in ("pyvae", "plain")]
    paces = [Pace(name, steps) for name in names]
    with running(children) as ready:
        found = in_rounds(ready, {"pyvae": paces, "plain": paces}, rounds, say, seconds)
    measured = {}
    for name, case in cases.items():
        mine, plain = found["pyvae", name], found["plain", name]
        batch = case.chosen()[1].batch_size
        measured[name] = {
            "batch_size": batch,
            "pyvae_ms": rounded(mine.ms),
            "plain_ms": rounded(plain.ms),
            "ratio_plain": rounded(ratio(mine, plain)),
            "images_per_second": rounded(batch / mine.ms * 1000),
        }
    return measured
