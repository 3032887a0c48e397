"""Recorded masks, fed to a layer that draws them within itself."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from torch import Tensor

from comparisons.ports.expected.call import NotRecomputableError
from pyvae.recording.seen.masks_within import DrawnWithin

__all__ = ["with_masks"]


@contextmanager
def with_masks(p: float, masks: Iterable[Tensor]) -> Iterator[None]:
    """Has what is computed within it use recorded masks, and draw none.

    Arguments:
        p: The probability to drop.
        masks: In the order in which they are used, 1 to keep and 0 to drop.

    Raises:
        NotRecomputableError: If they are not as many as are used, or of another size.
    """
    if not p:
        yield
        return
    waiting = list(masks)

    def put(drawn: Tensor) -> None:
        if not waiting or waiting[0].numel() != drawn.numel():
            raise NotRecomputableError("masks that were not recorded")
        drawn.copy_(waiting.pop(0).reshape(drawn.shape))

    with DrawnWithin(p, put, drawing=False):
        yield
    if waiting:
        raise NotRecomputableError("more masks than are used")
