"""PyTorch inside R's process."""

from __future__ import annotations

import os
import sys

__all__ = ["import_torch"]


def import_torch() -> bool:
    """Imports PyTorch so that it multiplies matrices with its own BLAS.

    R has its BLAS loaded where every library finds it first: PyTorch's `sgemm_` would become
    R's, slower and with other last digits than in a Python of its own. RTLD_DEEPBIND lets
    PyTorch's libraries look into themselves first. (macOS has no such flag and needs none: there
    a symbol belongs to its library.)

    Returns:
        Whether that was possible; it is not where something else has imported PyTorch before.
    """
    if "torch" in sys.modules:
        return bool(getattr(sys.modules["torch"], "_pyvae_deep_bound", False))
    deep = getattr(os, "RTLD_DEEPBIND", 0)
    flags = sys.getdlopenflags() if hasattr(sys, "getdlopenflags") else 0
    if deep:
        sys.setdlopenflags(flags | deep)
    try:
        import torch
    finally:
        if deep:
            sys.setdlopenflags(flags)
    torch._pyvae_deep_bound = True  # type: ignore[attr-defined]
    return True
