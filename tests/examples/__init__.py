"""Small networks with one layer of interest each, in which mistakes of that layer are planted.

Each module of this package has a list `EXAMPLES`; all are found by themselves.
"""

from __future__ import annotations

import importlib
import pkgutil

from examples.example import Example, Planted, planted_in

__all__ = ["EXAMPLES", "Example", "Planted", "planted_in"]

EXAMPLES: list[Example] = [
    example
    for found in pkgutil.iter_modules(__path__)
    if hasattr(importlib.import_module(f"{__name__}.{found.name}"), "EXAMPLES")
    for example in importlib.import_module(f"{__name__}.{found.name}").EXAMPLES
]
