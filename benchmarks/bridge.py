"""What the bridge to R costs: a call, an array there and back, and the part of a step in base R
that is not R's work."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from statistics import median
from typing import Any

import numpy as np

from benchmarks.arithmetic import rounded
from pyvae.data import load_data
from pyvae.recipes import get_recipe
from pyvae.settings import Settings
from pyvae.training import batches, start
from r_bridge.engines import BaseREngine

__all__ = ["measure_bridge"]

NOTHING = "benchmark_nothing <- function(session, x, draws) numeric(3)\nNULL"
SHAPE = (250, 784)  # a batch of images


def measure_bridge(name: str, threads: int, calls: int, steps: int) -> dict[str, Any]:
    """Medians, in milliseconds.

    Arguments:
        name: Of the images.
        threads: Of R's BLAS.
        calls: How many of each small kind.
        steps: Training steps in base R, after one that does not count. After each of them R is
            called once more with the same arguments, and does nothing with them: that is what of a
            step is the bridge.

    Raises:
        UserError: If R cannot be used.
    """
    recipe = get_recipe("conv")
    settings = Settings.of_recipe(recipe, steps=steps + 1)
    data = load_data(name)
    array = np.random.default_rng(1).random(SHAPE)
    with BaseREngine(threads) as engine:
        r = engine.process
        bare = _median_ms(lambda: r.call("nargs"), calls)
        there_and_back = _median_ms(lambda: r.call("identity", x=array), calls)
        r.evaluate(NOTHING)
        start(engine, recipe, settings)
        whole, bridge = [], []
        for _, x, draws in batches(recipe, settings, data):
            whole.append(_ms(partial(engine.step, x, draws)))
            given: dict[str, Any] = {
                "session": engine.session,
                "x": x.double().numpy(),
                "draws": {name: draw.reshape(len(draw), -1) for name, draw in draws.items()},
            }
            bridge.append(_ms(partial(r.call, "benchmark_nothing", **given)))
    step, of_it = median(whole[1:]), median(bridge[1:])
    return {
        "call_ms": rounded(bare),
        "array_ms": rounded(there_and_back),
        "array_mb": rounded(array.nbytes / 1e6),
        "step_ms": rounded(step),
        "step_bridge_ms": rounded(of_it),
        "share": rounded(of_it / step),
    }


def _median_ms(do: Callable[[], object], times: int) -> float:
    do()  # the first one makes what the others find
    return median(_ms(do) for _ in range(times))


def _ms(do: Callable[[], object]) -> float:
    began = time.perf_counter()
    do()
    return (time.perf_counter() - began) * 1000
