"""Every layer and function that can be recomputed, by the name that a trace has for it.

A trace comes from anyone: a name is looked up here and nowhere else.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from comparisons.ports.expected.functions.arithmetic import ARITHMETIC
from comparisons.ports.expected.functions.indexing import INDEXING
from comparisons.ports.expected.functions.linear_algebra import LINEAR_ALGEBRA
from comparisons.ports.expected.functions.reductions import REDUCTIONS
from comparisons.ports.expected.functions.shapes import SHAPES
from comparisons.ports.expected.layers.activations import ACTIVATIONS
from comparisons.ports.expected.layers.attention import ATTENTION
from comparisons.ports.expected.layers.losses import LOSSES
from comparisons.ports.expected.layers.normalisation import NORMALISATION
from comparisons.ports.expected.layers.pooling import POOLING
from comparisons.ports.expected.layers.recurrent import RECURRENT
from comparisons.ports.expected.layers.weighted import WEIGHTED

__all__ = ["LAYERS"]

LAYERS: Mapping[str, Callable[..., Any]] = {
    **WEIGHTED,
    **NORMALISATION,
    **POOLING,
    **ACTIVATIONS,
    **RECURRENT,
    **ATTENTION,
    **LOSSES,
    **ARITHMETIC,
    **LINEAR_ALGEBRA,
    **REDUCTIONS,
    **SHAPES,
    **INDEXING,
}
