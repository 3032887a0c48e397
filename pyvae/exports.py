"""Names that a package offers and imports on first use."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Mapping
from typing import Any

__all__ = ["lazy_exports"]


def lazy_exports(package: str, homes: Mapping[str, str]) -> Callable[[str], Any]:
    """Returns a module's `__getattr__` that imports a name when it is first used.

    PyTorch and matplotlib take seconds to import; `pyvae --help` and R's process need neither. The
    module also gets a `__dir__`, so that `dir()` and the Tab key show these names (PEP 562).

    Arguments:
        package: The package's `__name__`.
        homes: The module that defines each name.
    """

    def load(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module '{package}' has no attribute '{name}'")
        return getattr(importlib.import_module(homes[name]), name)

    module = vars(sys.modules[package])
    module["__dir__"] = lambda: sorted({*module, *homes})
    return load
