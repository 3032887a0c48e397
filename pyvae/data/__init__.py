"""Loads images and points to train on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyvae.exports import lazy_exports

if TYPE_CHECKING:
    from pyvae.data.images import ImageData, load_data, load_split
    from pyvae.data.split import hold_out

__all__ = ["ImageData", "hold_out", "load_data", "load_split"]
__getattr__ = lazy_exports(
    __name__,
    {
        "ImageData": "pyvae.data.images",
        "hold_out": "pyvae.data.split",
        "load_data": "pyvae.data.images",
        "load_split": "pyvae.data.images",
    },
)
