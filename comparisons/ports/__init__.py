"""Two recorded programs, held against each other: any network, any language."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyvae.exports import lazy_exports

if TYPE_CHECKING:
    from comparisons.ports.compare import compare_programs
    from comparisons.ports.result import PortComparison

__all__ = ["PortComparison", "compare_programs"]

__getattr__ = lazy_exports(
    __name__,
    {
        "PortComparison": "comparisons.ports.result",
        "compare_programs": "comparisons.ports.compare",
    },
)
