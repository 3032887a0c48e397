"""How far two arrays may differ."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyvae.exports import lazy_exports

if TYPE_CHECKING:
    from comparisons.agreement.arrays import Agreement, compare_arrays
    from comparisons.agreement.stage import StageAgreement
    from comparisons.agreement.tolerances import Rule

__all__ = ["Agreement", "Rule", "StageAgreement", "compare_arrays"]

__getattr__ = lazy_exports(
    __name__,
    {
        "Agreement": "comparisons.agreement.arrays",
        "Rule": "comparisons.agreement.tolerances",
        "StageAgreement": "comparisons.agreement.stage",
        "compare_arrays": "comparisons.agreement.arrays",
    },
)
