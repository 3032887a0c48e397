"""One activation too many."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from comparisons.ports.expected.table import LAYERS
from comparisons.ports.mistakes.mistake import Call, mistake

FURTHER = ("relu", "tanh", "sigmoid", "softplus", "exp")
WEIGHTED = (
    "linear", "conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d",
    "conv_transpose3d",
)  # fmt: skip


@mistake(WEIGHTED)
def activation_around(call: Call) -> Iterator[tuple[str, Any]]:
    for other in FURTHER:
        activation = LAYERS[other]
        yield f"a {other} after it", activation(call())
        yield f"a {other} before it", call(activation(call.inputs[0]))
