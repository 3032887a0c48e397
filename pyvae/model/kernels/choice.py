"""Whether layers and terms of the loss may compute in a faster way that rounds otherwise."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

__all__ = ["KERNELS", "fast_kernels", "is_fast"]

KERNELS = ("fast", "torch")  # what an engine can be asked for

_FAST: ContextVar[bool] = ContextVar("fast kernels", default=False)


def is_fast() -> bool:
    """Whether kernels that round otherwise than PyTorch's are wanted here."""
    return _FAST.get()


@contextmanager
def fast_kernels(wanted: bool) -> Iterator[None]:
    """Lets layers and terms of the loss take faster kernels, or not, within the block."""
    before = _FAST.set(wanted)
    try:
        yield
    finally:
        _FAST.reset(before)
