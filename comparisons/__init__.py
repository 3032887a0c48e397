"""Comparing runs of two engines: do they agree, and where do they part?

The main functions are imported on first use:

- `compare` trains with two engines on the same draws, and compares;
- `compare_traces` compares two traces that were written before;
- `compare_programs` compares two recorded programs, of any network, in any language;
- `equivalence` trains both over many seeds, each with its own randomness, and tests whether they
  are equivalent.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyvae.exports import lazy_exports

if TYPE_CHECKING:
    from comparisons.ports.compare import compare_programs
    from comparisons.ports.result import PortComparison
    from comparisons.runs.live import CompareOptions, compare
    from comparisons.saved.compare import compare_traces
    from comparisons.seeds.compare import equivalence
    from comparisons.seeds.equivalence import Margins
    from comparisons.seeds.many_seeds import SeedOptions
    from comparisons.steps.comparison import Comparison
    from pyvae.version import __version__

__all__ = [
    "CompareOptions",
    "Comparison",
    "Margins",
    "PortComparison",
    "SeedOptions",
    "__version__",
    "compare",
    "compare_programs",
    "compare_traces",
    "equivalence",
]

_HOMES = {
    "CompareOptions": "comparisons.runs.live",
    "Comparison": "comparisons.steps.comparison",
    "Margins": "comparisons.seeds.equivalence",
    "PortComparison": "comparisons.ports.result",
    "SeedOptions": "comparisons.seeds.many_seeds",
    "__version__": "pyvae.version",
    "compare": "comparisons.runs.live",
    "compare_programs": "comparisons.ports.compare",
    "compare_traces": "comparisons.saved.compare",
    "equivalence": "comparisons.seeds.compare",
}

__getattr__ = lazy_exports(__name__, _HOMES)
