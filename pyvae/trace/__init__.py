"""Traces: what happened in a run, saved to be compared later."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyvae.exports import lazy_exports

if TYPE_CHECKING:
    from pyvae.trace.trace import Trace

__all__ = ["Trace"]
__getattr__ = lazy_exports(
    __name__,
    {
        "Trace": "pyvae.trace.trace",
    },
)
