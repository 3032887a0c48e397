"""The R reference: engines that compute in R, in a process of its own.

Importing this package imports neither rpy2 nor torch; the R process imports rpy2 alone.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pyvae.exports import lazy_exports

if TYPE_CHECKING:
    from pyvae.version import __version__

__all__ = ["R_FILES", "__version__"]

R_FILES = Path(__file__).parent / "R"

__getattr__ = lazy_exports(__name__, {"__version__": "pyvae.version"})
