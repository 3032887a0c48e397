"""The functions that the R package `pyvae` calls.

Arguments and results are bytes, numbers, strings, lists and dicts only. Every reticulate since 1.28
converts these; older versions convert neither NumPy 2 arrays nor pandas 3 data frames.

An array is a dict `{"bytes", "dim", "type"}` with its numbers in R's column-major order: x[2, 1, 3]
in R is x[1, 0, 2] here. Types are `uint8`, `int32` and `float64`.

Each function returns `{"value": ...}`, or `{"error": {"problem", "expected", "remedy"}}` with the
parts of a `UserError`.
"""

from __future__ import annotations

from r_bridge.from_r.asked import describe, save_images
from r_bridge.from_r.exchange import pack, unpack
from r_bridge.from_r.trained import dimensions, generate, predict
from r_bridge.from_r.training import Training

__all__ = [
    "Training",
    "describe",
    "dimensions",
    "generate",
    "pack",
    "predict",
    "save_images",
    "unpack",
]
