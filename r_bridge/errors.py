"""What goes wrong in R."""

from __future__ import annotations

from pyvae.errors import UserError

__all__ = ["RError", "RProcessError"]


class RError(UserError):
    """An error raised in R: R's own text, the call and the place in the R sources."""


class RProcessError(UserError):
    """The R process did not start, died, or did not answer in time."""
