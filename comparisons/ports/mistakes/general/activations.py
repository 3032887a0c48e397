"""One activation for another, and one too many."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

from comparisons.ports.expected.table import LAYERS
from comparisons.ports.mistakes.mistake import Call, mistake

ACTIVATIONS = (
    "relu", "leaky_relu", "elu", "gelu", "silu", "tanh", "sigmoid", "softplus", "relu6", "hardtanh",
    "hardswish", "selu",
)  # fmt: skip
FURTHER = ("relu", "tanh", "sigmoid", "softplus", "exp")
WEIGHTED = (
    "linear", "conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d",
    "conv_transpose3d",
)  # fmt: skip


@mistake(ACTIVATIONS)
def another_activation(call: Call) -> Iterator[tuple[str, Any]]:
    for other in ACTIVATIONS:
        if other != call.layer:
            yield f"{other} where it is {call.layer}", partial(LAYERS[other], call.inputs[0])


@mistake(WEIGHTED)
def activation_around(call: Call) -> Iterator[tuple[str, Any]]:
    for other in FURTHER:
        activation, article = LAYERS[other], "an" if other[0] in "aeiou" else "a"
        yield f"{article} {other} after it", activation(call())
        yield f"{article} {other} before it", call(activation(call.inputs[0]))
