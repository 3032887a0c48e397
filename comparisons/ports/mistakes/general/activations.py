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
        activation, article = LAYERS[other], "an" if other[0] in "aeiou" else "a"
        yield f"{article} {other} after it", activation(call())
        yield f"{article} {other} before it", call(activation(call.inputs[0]))
