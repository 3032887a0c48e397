"""Both engines in evaluation mode, from one state."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from comparisons.agreement.arrays import Agreement, compare_arrays
from comparisons.agreement.tolerances import EVALUATION_RULES, EXACT
from comparisons.steps.failures import Guarded
from comparisons.steps.pair import Pair
from pyvae.model.draws import Draws
from pyvae.model.stages import is_buffer
from pyvae.trace.trace import Trace
from pyvae.training.loop import start

__all__ = ["compare_in_evaluation_mode"]

SAMPLES = 16


def compare_in_evaluation_mode(pair: Pair, trace: Trace) -> Agreement:
    """Latent means and decoded images of both engines in evaluation mode.

    Arguments:
        pair: The engines, and the run.
        trace: Of the engine under test: both start from its final parameters and running
            statistics.

    Raises:
        EngineFailure: If one cannot compute them.
    """
    settings = pair.run.settings
    state: dict[str, NDArray] = {"step": np.array(1)}
    for name, value in trace.parameters.items():
        if is_buffer(name):
            state[f"buffer/{name}"] = value
            continue
        state[f"parameter/{name}"] = value
        state |= {f"{moment}/{name}": np.zeros_like(value) for moment in ("moment1", "moment2")}
    x = pair.run.data.batch(np.arange(settings.batch_size), settings.torch_dtype)
    z = Draws(settings.seed, settings.dtype).normal("samples", 0, (SAMPLES, settings.latent_dim))
    seen = []
    for engine in (Guarded(pair.under_test), Guarded(pair.reference)):
        start(engine, pair.run)
        engine.restore(state)
        means = engine.latent_means(x, None, training=False)
        seen.append({"mu": means, "decoded": engine.decode(z)})
    rule = EXACT if pair.exact else EVALUATION_RULES[settings.dtype]
    return compare_arrays(seen[0], seen[1], rule, settings.dtype)
