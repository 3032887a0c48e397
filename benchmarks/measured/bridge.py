"""What the bridge to R costs: a call, an array there and back, and the part of a step in base R
that is not R's work."""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median
from typing import Any

import numpy as np

from benchmarks.sides.arithmetic import rounded
from pyvae.data.images import load_data
from pyvae.model.run import Run
from pyvae.recipes import get_recipe
from pyvae.training.feeds import batches
from r_bridge.process.client import RProcess

__all__ = ["measure_bridge"]

NOTHING = "benchmark_nothing <- function(x, draws) numeric(3)\nNULL"
SHAPE = (250, 784)  # a batch of images


def measure_bridge(
    name: str, threads: int, calls: int, steps: int, step_ms: float | None
) -> dict[str, Any]:
    """Medians, in milliseconds.

    Arguments:
        name: Of the images.
        threads: Of R's BLAS.
        calls: How many of each small kind.
        steps: How often R is called with what a training step in base R is given, to do nothing
            with it: that is what of a step is the bridge.
        step_ms: The whole step, where it was measured.

    Raises:
        UserError: If R cannot be used.
    """
    array = np.random.default_rng(1).random(SHAPE)
    settings = get_recipe("conv").settings(steps=1)
    ((_, x, draws),) = batches(Run(get_recipe("conv"), settings, load_data(name)))
    images = x.double().numpy()
    flat = {name: draw.reshape(len(draw), -1) for name, draw in draws.items()}
    with RProcess(threads=threads) as r:
        r.evaluate(NOTHING)
        bare = _median_ms(lambda: r.call("nargs"), calls)
        there_and_back = _median_ms(lambda: r.call("identity", x=array), calls)
        of_step = _median_ms(lambda: r.call("benchmark_nothing", x=images, draws=flat), steps)
    return {
        "call_ms": rounded(bare),
        "array_ms": rounded(there_and_back),
        "array_mb": rounded(array.nbytes / 1e6),
        "step_ms": step_ms,
        "step_bridge_ms": rounded(of_step),
        "share": None if step_ms is None else rounded(of_step / step_ms),
    }


def _median_ms(do: Callable[[], object], times: int) -> float:
    do()  # the first one makes what the others find
    return median(_ms(do) for _ in range(times))


def _ms(do: Callable[[], object]) -> float:
    began = time.perf_counter()
    do()
    return (time.perf_counter() - began) * 1000
