"""Many seeds with independent randomness: equivalence."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyvae.exports import lazy_exports

if TYPE_CHECKING:
    from comparisons.seeds.equivalence import Equivalence, Margins
    from comparisons.seeds.many_seeds import ManySeeds, SeedOptions
    from comparisons.seeds.measures import RunOutcome

__all__ = ["Equivalence", "ManySeeds", "Margins", "RunOutcome", "SeedOptions"]

__getattr__ = lazy_exports(
    __name__,
    {
        "Equivalence": "comparisons.seeds.equivalence",
        "ManySeeds": "comparisons.seeds.many_seeds",
        "Margins": "comparisons.seeds.equivalence",
        "RunOutcome": "comparisons.seeds.measures",
        "SeedOptions": "comparisons.seeds.many_seeds",
    },
)
