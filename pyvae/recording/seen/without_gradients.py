"""What is computed without gradients from parameters: what a teacher returns that follows the
model, or a network that is frozen. It is not recorded, and not a tensor from outside either."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from torch import Tensor, nn
from torch.multiprocessing.reductions import StorageWeakRef

from pyvae.recording.seen.values import tensors_in

__all__ = ["WithoutGradients"]

ENOUGH = 1000  # that are known before those are forgotten that are not in use any more


class WithoutGradients:
    """Knows the memory that holds what was computed from parameters, as long as it is in use."""

    def __init__(self) -> None:
        self._held: dict[int, StorageWeakRef] = {}
        self._enough = ENOUGH

    def add(self, tensors: Iterable[Tensor]) -> None:
        for one in tensors:
            storage = _storage(one)
            if storage is not None:
                self._held[storage.cdata] = storage
        if len(self._held) > self._enough:
            self._held = {key: one for key, one in self._held.items() if not one.expired()}
            self._enough = 2 * len(self._held) + ENOUGH

    def has(self, tensor: Tensor) -> bool:
        """Whether a tensor was computed without gradients from parameters, or is one of them."""
        storage = _storage(tensor)
        known = None if storage is None else self._held.get(storage.cdata)
        if known is None:
            return False
        if known.expired():  # other memory has its place now
            del self._held[known.cdata]
            return False
        return True

    def follow(
        self, given: object, returned: object, is_of_model: Callable[[Tensor], bool]
    ) -> None:
        """Notes a function that was called: what it returned was computed from parameters if one of
        its arguments was, or is one. A function in place returns what it changed.

        Arguments:
            given: Its arguments.
            returned: What it returned; None for a function of lists (`_foreach_add_`), which
                changes its first argument.
            is_of_model: Whether a tensor was recorded as the model's.
        """
        tensors = [one for _, one in tensors_in(given)]
        if not any(
            isinstance(one, nn.Parameter) or self.has(one) or is_of_model(one) for one in tensors
        ):
            return
        if returned is None and isinstance(given, list | tuple) and given:
            first = given[0]
            returned = first[0] if isinstance(first, tuple) and first else first
        self.add(one for _, one in tensors_in(returned))

    def follow_on(self, given: object, returned: object) -> None:
        """Notes a function that was called with gradients: what it returned has none, as all that
        it was given, and was computed from parameters if some of that was.

        Arguments:
            given, returned: As above.
        """
        tensors = [one for _, one in tensors_in(given)]
        if any(one.requires_grad for one in tensors) or not any(map(self.has, tensors)):
            return
        self.add(one for _, one in tensors_in(returned))


def _storage(tensor: Tensor) -> StorageWeakRef | None:
    try:
        return StorageWeakRef(tensor.untyped_storage())
    except (NotImplementedError, RuntimeError):  # sparse, or of another kind
        return None
