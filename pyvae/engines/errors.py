"""What goes wrong in an engine. Without PyTorch, which the caller's side of R does not load."""

from __future__ import annotations

from pyvae.errors import UserError

__all__ = ["EngineError", "EngineMissingError", "is_outage"]

NO_MEMORY = ("out of memory", "can't allocate memory")  # in PyTorch's words


class EngineError(UserError):
    """Something is wrong in an engine.

    Attributes:
        outage: Whether it says nothing about the network that was computed: the engine is not
            there, its process died or did not answer, or there was no memory.
    """

    outage = False


class EngineMissingError(EngineError):
    """An engine, or something that it cannot do without, is not installed."""

    outage = True


def is_outage(error: Exception) -> bool:
    """Whether an engine's error says nothing about the network that was computed; see
    `EngineError.outage`."""
    if isinstance(error, EngineError):
        return error.outage
    return isinstance(error, MemoryError) or any(words in str(error) for words in NO_MEMORY)
