"""Two engines through the same run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyvae.exports import lazy_exports

if TYPE_CHECKING:
    from comparisons.runs.live import CompareOptions, compare
    from comparisons.runs.sides import Sides, choose_sides

__all__ = ["CompareOptions", "Sides", "choose_sides", "compare"]

__getattr__ = lazy_exports(
    __name__,
    {
        "CompareOptions": "comparisons.runs.live",
        "Sides": "comparisons.runs.sides",
        "choose_sides": "comparisons.runs.sides",
        "compare": "comparisons.runs.live",
    },
)
