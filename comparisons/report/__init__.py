"""Tables, figures and the page of a comparison."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyvae.exports import lazy_exports

if TYPE_CHECKING:
    from comparisons.report.html import write_report
    from comparisons.report.tables import print_comparison
    from comparisons.report.write import conclude

__all__ = ["conclude", "print_comparison", "write_report"]

__getattr__ = lazy_exports(
    __name__,
    {
        "conclude": "comparisons.report.write",
        "print_comparison": "comparisons.report.tables",
        "write_report": "comparisons.report.html",
    },
)
