"""How two tensors of the same quantity are related, where they are not equal.

`relation` asks one question after the other, from the plainest to the most special: by a sign or a
constant factor, a constant that is added, a known normalisation; by the order of axes, images that
are turned or shifted, rows or channels that are others; by rounding, limits or a usual function;
by the order of the same numbers. What it says is how the one tensor is made from the other, up to
rounding and to a thousandth of their difference.
"""

from __future__ import annotations

from comparisons.diagnosis.relations.relate import relation, shape_relation

__all__ = ["relation", "shape_relation"]
