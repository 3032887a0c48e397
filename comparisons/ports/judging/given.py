"""What a program does to a gradient between backward and the update: clipping, mostly."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Change", "change_of"]


@dataclass(frozen=True)
class Change:
    """What was done to a gradient.

    Attributes:
        kind: `none`, `zero`, `scaled`, `clamped`, or `other`, which is not known.
        number: The factor of a scaled one, the bound of a clamped one.
    """

    kind: str
    number: float = 1.0

    def __str__(self) -> str:
        return {
            "none": "does not change it",
            "zero": "sets it to zero before the update",
            "scaled": f"multiplies it by {self.number:.6g} before the update",
            "clamped": f"clamps it to {self.number:.6g} before the update",
            "other": "changes it before the update",
        }[self.kind]

    def is_like(self, other: Change, rtol: float) -> bool:
        """Whether two sides do the same to their gradients, up to rounding."""
        if "other" in (self.kind, other.kind) or {"clamped"} < {self.kind, other.kind}:
            return False
        return abs(self.number - other.number) <= rtol * max(abs(self.number), abs(other.number))


def change_of(before: NDArray, after: NDArray, rtol: float) -> Change:
    """Finds what was done to a gradient.

    Arguments:
        before: As backward left it.
        after: As the optimiser got it.
        rtol: What may be off, relative to the largest magnitude.
    """
    if before.shape != after.shape:
        return Change("other")
    u, v = (x.astype(np.float64).ravel() for x in (before, after))
    largest = np.abs(v).max(initial=0)
    if np.abs(u - v).max(initial=0) <= rtol * largest:
        return Change("none")
    if not v.any():
        return Change("zero", 0.0)
    if not (np.isfinite(u).all() and np.isfinite(v).all() and u.any()):
        return Change("other")
    scale = np.abs(u).max()
    factor = float((u / scale) @ v) / float((u / scale) @ (u / scale)) / scale
    if np.abs(factor * u - v).max() <= rtol * largest:
        return Change("scaled", factor)
    if np.abs(np.clip(u, -largest, largest) - v).max() <= rtol * largest:
        return Change("clamped", float(largest))
    return Change("other")
