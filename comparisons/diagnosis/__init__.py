"""Where two runs part, and which mistake it looks like."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyvae.exports import lazy_exports

if TYPE_CHECKING:
    from comparisons.diagnosis.first_divergence import Divergence
    from comparisons.diagnosis.place import InspectedStep, Place
    from comparisons.diagnosis.recognise import Finding

__all__ = ["Divergence", "Finding", "InspectedStep", "Place"]

__getattr__ = lazy_exports(
    __name__,
    {
        "Divergence": "comparisons.diagnosis.first_divergence",
        "Finding": "comparisons.diagnosis.recognise",
        "InspectedStep": "comparisons.diagnosis.place",
        "Place": "comparisons.diagnosis.place",
    },
)
