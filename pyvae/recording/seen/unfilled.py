"""Memory that no function has filled yet, as `torch.empty` returns it: two runs of one program find
other numbers there. A trace has zeros in their place."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from dataclasses import dataclass

import torch
from numpy.typing import NDArray
from torch import Tensor

from pyvae.recording.seen.values import unseen, version_of

__all__ = ["Unfilled"]


@dataclass
class _Memory:
    """A tensor, how often it had been changed, and which of its elements were set since."""

    tensor: Callable[[], Tensor | None]
    version: int
    filled: Tensor | None = None


class Unfilled:
    """The tensors of a step that functions fill one part after the other."""

    def __init__(self) -> None:
        self._known: dict[int, _Memory] = {}

    def __bool__(self) -> bool:
        return bool(self._known)

    def add(self, tensor: Tensor) -> None:
        """A function has returned memory as it was."""
        self._known[id(tensor)] = _Memory(weakref.ref(tensor), version_of(tensor))

    def _find(self, tensor: Tensor, changes: int = 0) -> _Memory | None:
        """What is known of a tensor that was changed so many times since."""
        known = self._known.get(id(tensor))
        if known is None or known.tensor() is not tensor:
            return None
        return known if known.version + changes == version_of(tensor) else None

    def is_empty(self, tensor: Tensor) -> bool:
        """Whether nobody has set any of its elements."""
        known = self._find(tensor)
        return known is not None and known.filled is None

    def fill(self, tensor: Tensor, places: object) -> None:
        """`tensor[places]` was set."""
        known = self._find(tensor, changes=1)
        if known is None:
            return
        with unseen():
            if known.filled is None:
                known.filled = torch.zeros_like(tensor, dtype=torch.bool, requires_grad=False)
            known.filled[places] = True  # type: ignore[index]
        known.version = version_of(tensor)

    def without_chance(self, tensor: Tensor, array: NDArray | None) -> NDArray | None:
        """The values of a tensor, with zeros where nobody has set any."""
        known = self._find(tensor) if array is not None and self._known else None
        if array is None or known is None or known.filled is None:
            return array
        with unseen():
            array[~known.filled.cpu().numpy()] = 0
        return array
