"""What a side that is wrong computes, as if it had been declared otherwise.

Options of the stage are exchanged for usual ones, one at a time, and the quantity is computed
again: what then is what was recorded is a name for the mistake. (Optimisers are in
`comparisons.ports.updates`.)
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from comparisons.ports.expected.recompute import recompute
from comparisons.ports.judging.own import Own, distance
from pyvae.trace.program import ProgramStage

__all__ = ["as_if_stage"]

# other values that options usually have
USUAL: dict[str, tuple[Any, ...]] = {
    "alpha": (1.0, 0.1, 0.2, 0.3),
    "align_corners": (True, False),
    "approximate": ("none", "tanh"),
    "beta": (1.0, 0.5),
    "ceil_mode": (True, False),
    "count_include_pad": (True, False),
    "dilation": (1, 2),
    "dim": (-1, 0, 1, 2),
    "eps": (0.0, 1e-3, 1e-5, 1e-6, 1e-7, 1e-8, 1e-12),
    "keepdim": (True, False),
    "label_smoothing": (0.0, 0.1),
    "momentum": (0.1, 0.9, 0.01, 0.99),
    "negative_slope": (0.01, 0.1, 0.2, 0.3, 0.0),
    "padding": (0, 1, 2),
    "reduction": ("mean", "sum", "none"),
    "threshold": (20.0,),
    "unbiased": (True, False),
}
ACTIVATIONS = (
    "relu", "leaky_relu", "elu", "gelu", "silu", "tanh", "sigmoid", "softplus", "relu6", "hardtanh",
    "hardswish", "selu",
)  # fmt: skip


def as_if_stage(own: Own, stage: ProgramStage, kind: str, name: str) -> Iterator[str]:
    """Yields what a stage computed its output, or a buffer, as if it had been.

    Arguments:
        own: What the side should return.
        stage: The stage.
        kind: `forward` or `buffer`.
        name: Of the output or buffer.
    """
    recorded = own.step.arrays[f"{kind}/{name}"]
    base = own.step.side.trace.index_base
    for words, other in _other_stages(stage):
        found = recompute(other, own.arrays, base)
        if found is None:
            continue
        values = found.outputs if kind == "forward" else found.buffers
        if name in values and _is_near(values[name].numpy(), recorded, own.rtol):
            yield words


def _other_stages(stage: ProgramStage) -> Iterator[tuple[str, ProgramStage]]:
    for option, values in USUAL.items():
        if option in stage.options:
            for value in values:
                if value != stage.options[option]:
                    changed = {**stage.options, option: value}
                    yield f"as if {option} were {_shown(value)}", replace(stage, options=changed)
    if "bias" in stage.parameters:
        rest = {role: name for role, name in stage.parameters.items() if role != "bias"}
        yield "as if it had no bias", replace(stage, parameters=rest)
    other = "evaluation" if stage.training else "training"
    yield f"as if it were in {other} mode", replace(stage, training=not stage.training)
    if stage.layer in ACTIVATIONS:
        for layer in ACTIVATIONS:
            if layer != stage.layer:
                yield f"as if it were {layer}", replace(stage, layer=layer, options={})


def _is_near(expected: NDArray, recorded: NDArray, rtol: float) -> bool:
    if expected.size != recorded.size:
        return False
    largest = float(np.abs(recorded.astype(np.float64)).max(initial=0))
    apart = distance(expected.reshape(recorded.shape), recorded.astype(np.float64))
    return apart <= rtol * largest


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else str(value)
