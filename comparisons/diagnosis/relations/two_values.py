"""Two tensors of one quantity, and whether what is made of the first is the second."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from comparisons.diagnosis.closeness import REST, distance, magnitude, same

__all__ = ["FEWEST", "TwoValues"]

FEWEST = 5  # of numbers: a straight line runs through any two
PROBES = 200  # elements that are looked at before all are


@dataclass(frozen=True)
class TwoValues:
    """Two tensors of one shape.

    Attributes:
        names: Of the two sides.
        a, b: Their values, float64.
        rtol: What counts as equal, relative to the largest magnitude.
    """

    names: tuple[str, str]
    a: Tensor
    b: Tensor
    rtol: float

    @cached_property
    def allowed(self) -> float:
        """What may be left of b: rounding, and a small part of the difference."""
        return min(self.rtol * magnitude(self.b), REST * self.size)

    @cached_property
    def size(self) -> float:
        """The largest difference."""
        return distance(self.a, self.b)

    @cached_property
    def exchanged(self) -> TwoValues:
        """The same, the second side first."""
        return TwoValues(self.names[::-1], self.b, self.a, self.rtol)

    @cached_property
    def are_constant(self) -> bool:
        """Whether both sides are one number throughout: any relation holds between such."""
        flat = (x.flatten() for x in (self.a, self.b))
        return all(same(x, x[:1].expand_as(x), self.rtol) for x in flat)

    def both_ways(self) -> Iterator[TwoValues]:
        yield self
        yield self.exchanged

    def is_b(self, value: Tensor) -> bool:
        """Whether a value is the second side's."""
        if value.shape != self.b.shape:
            return False
        if self.b.numel() > PROBES and distance(value[self._probes], self._probed) > self.allowed:
            return False
        return distance(value, self.b) <= self.allowed

    def makes_b(self, function: Callable[[Tensor], Tensor]) -> bool:
        """Whether a function of each element makes the second side's of the first's."""
        if self.b.numel() > PROBES:
            some = function(self.a[self._probes])
            if distance(some, self._probed) > self.allowed:
                return False
        return self.is_b(function(self.a))

    @cached_property
    def _probes(self) -> tuple[Tensor, ...]:
        places = torch.linspace(0, self.b.numel() - 1, PROBES, dtype=torch.float64).to(torch.int64)
        return torch.unravel_index(places, self.b.shape)

    @cached_property
    def _probed(self) -> Tensor:
        return self.b[self._probes]
