"""What goes wrong in R."""

from __future__ import annotations

from pyvae.engines.errors import EngineError

__all__ = ["RError", "RProcessError"]

NO_MEMORY = ("cannot allocate", "out of memory", "MemoryError")  # R's words, ours, Python's


class RError(EngineError):
    """R raised an error: R's own text, the call and the place in the R sources.

    Arguments:
        message: All of it, in a line.
    """

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.outage = any(words in message for words in NO_MEMORY)


class RProcessError(EngineError):
    """The R process did not start, died, or did not answer in time."""

    outage = True
