"""Two engines through the same run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyvae.exports import lazy_exports

if TYPE_CHECKING:
    from comparisons.runs.comparison import Comparison
    from comparisons.runs.live import CompareOptions, compare
    from comparisons.runs.pair import Pair
    from comparisons.runs.saved import compare_traces
    from comparisons.runs.saved_pairs import load_pairs
    from comparisons.runs.sides import Sides, choose_sides

__all__ = [
    "CompareOptions",
    "Comparison",
    "Pair",
    "Sides",
    "choose_sides",
    "compare",
    "compare_traces",
    "load_pairs",
]

__getattr__ = lazy_exports(
    __name__,
    {
        "CompareOptions": "comparisons.runs.live",
        "Comparison": "comparisons.runs.comparison",
        "Pair": "comparisons.runs.pair",
        "Sides": "comparisons.runs.sides",
        "choose_sides": "comparisons.runs.sides",
        "compare": "comparisons.runs.live",
        "compare_traces": "comparisons.runs.saved",
        "load_pairs": "comparisons.runs.saved_pairs",
    },
)
