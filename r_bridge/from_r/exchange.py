"""What goes between R and Python: arrays, and errors in R's words."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray

from pyvae.data.images import ImageData
from pyvae.errors import UserError

__all__ = ["Packed", "answers", "images_from_r", "in_r", "pack", "unpack"]

Packed: TypeAlias = Mapping[str, Any]  # {"bytes", "dim", "type"}, numbers in column-major order
# What a message calls by its name in Python
R_NAMES = {
    "with .stop() of what record returned": "with stop_recording()",
    "record({'a': model, 'b': other}, [optimizer, other_optimizer], ...)": (
        "record(list(a = model, b = other), list(optimizer, other_optimizer), ...)"
    ),
}
TYPES = {"uint8": np.uint8, "int32": np.int32, "float64": np.float64}


def unpack(packed: Packed) -> NDArray:
    """Returns the array that R sent."""
    numbers = np.frombuffer(packed["bytes"], TYPES[packed["type"]])
    return numbers.reshape([int(n) for n in packed["dim"]], order="F")


def pack(array: NDArray) -> dict[str, Any]:
    """Packs an array for R. Numbers other than bytes and 32-bit integers become doubles."""
    if array.dtype not in (np.uint8, np.int32):
        array = array.astype(np.float64)
    # bytearray, because reticulate converts no bytes
    data = bytearray(array.tobytes(order="F"))
    return {"bytes": data, "dim": list(array.shape), "type": array.dtype.name}


def images_from_r(x: Mapping[str, Any], labels: Packed | None = None) -> ImageData:
    """Reads images (or points) from R: whole numbers from 0 to 255, or numbers in [0, 1].

    Arguments:
        x: An array (N, P) with its name and, if they are not 28x28, the `shape` of the images:
            (channels, height, width).
        labels: (N,), or None.
    """
    pixels = np.ascontiguousarray(unpack(x))
    return ImageData(
        x["name"],
        torch.from_numpy(pixels),
        None if labels is None else torch.from_numpy(unpack(labels).astype(np.int64)),
        f"from R, {pixels.shape[0]} x {pixels.shape[1]}",
        tuple(int(size) for size in x.get("shape") or ()),
    )


def answers(function: Callable[..., Any]) -> Callable[..., dict[str, Any]]:
    """Makes a function return its value, or the `UserError` that it raises, as a dict."""

    @wraps(function)
    def answer(*arguments: Any, **named: Any) -> dict[str, Any]:
        try:
            return {"value": function(*arguments, **named)}
        except UserError as error:
            parts = {
                "problem": error.problem, "expected": error.expected, "remedy": error.remedy
            }  # fmt: skip
            return {"error": {name: in_r(text) for name, text in parts.items()}}

    return answer


def in_r(text: str) -> str:
    """Replaces the command line's options in a message by the arguments of the R functions, and
    what it calls by its name in Python."""
    for name, ours in R_NAMES.items():
        text = text.replace(name, ours)
    text = re.sub(r"--set (\w+)=(\S+)", r"hyper = list(\1 = \2)", " ".join(text.split()))
    text = re.sub(r"--data ([\w-]+)", r'x = "\1"', text)
    return re.sub(r"--([a-z][a-z-]*)", lambda found: _argument(found[1]), text)


def _argument(option: str) -> str:
    """Returns the R argument for an option of the command line."""
    return {"data": "x", "out": "folder", "set": "hyper"}.get(option, option.replace("-", "_"))
