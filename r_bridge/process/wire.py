"""Messages between Python and the R process: a JSON head, then the arrays' own bytes.

A frame is the head's length (4 bytes), the head, and the bytes of each array that the head
describes, in its order. Arrays are neither copied nor converted on the way: those in column-major
order (R's) arrive in column-major order. Values are None, bool, int, float, str, NumPy arrays of
these, lists and dicts, and `Kept`.
"""

from __future__ import annotations

import json
import math
import socket
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["ClosedError", "FrameError", "Kept", "frame", "receive", "send"]

LARGEST_HEAD = 2**28  # bytes: names, numbers and texts; what is longer is no head
NUMBERS = "biuf"  # kinds of NumPy's dtypes
_LENGTH = struct.Struct(">I")


class ClosedError(Exception):
    """The other side closed the connection."""


class FrameError(Exception):
    """What arrived is no frame: what comes after it cannot be read either."""


@dataclass(frozen=True)
class Kept:
    """An object that stays in R, by name."""

    name: str


def frame(value: Any) -> list[bytes | memoryview]:
    """Lists the bytes to send for one value; arrays are not copied.

    Raises:
        TypeError, ValueError: If a frame cannot hold it.
    """
    arrays: list[NDArray] = []
    head = json.dumps(_pack(value, arrays)).encode()
    if len(head) > LARGEST_HEAD:
        raise ValueError(f"{len(head)} bytes of text, of {LARGEST_HEAD} at most")
    parts = [array.data.cast("B") for array in arrays if array.size]
    return [_LENGTH.pack(len(head)) + head, *parts]


def send(connection: socket.socket, value: Any) -> None:
    """Sends one value.

    Raises:
        OSError: If the other side is gone.
        TypeError, ValueError: If a frame cannot hold it; nothing has been sent then.
    """
    for part in frame(value):
        connection.sendall(part)


def receive(connection: socket.socket) -> Any:
    """Receives one value; waits as long as the connection's time-out says.

    Raises:
        ClosedError: If the other side closed the connection.
        TimeoutError: If the time-out passed without a byte.
        FrameError: If what arrives is no frame.
        MemoryError: If there is no memory for it.
    """
    start = bytearray(_LENGTH.size)
    _read(connection, memoryview(start))
    (length,) = _LENGTH.unpack(start)
    if length > LARGEST_HEAD:
        raise FrameError(f"a head of {length} bytes")
    head = bytearray(length)
    _read(connection, memoryview(head))
    try:
        packed = json.loads(head)
    except (ValueError, RecursionError) as error:
        raise FrameError(f"a head that is no JSON ({error})") from error
    return _unpack(packed, connection)


def _read(connection: socket.socket, view: memoryview) -> None:
    while len(view):
        try:
            count = connection.recv_into(view)
        except ConnectionResetError:
            count = 0
        if count == 0:
            raise ClosedError
        view = view[count:]


def _pack(value: Any, arrays: list[NDArray]) -> Any:
    if isinstance(value, np.ndarray):
        if value.dtype.kind not in NUMBERS:
            raise TypeError(f"no frame holds an array of {value.dtype}")
        column_major = value.flags.f_contiguous and not value.flags.c_contiguous
        arrays.append(value.T if column_major else np.ascontiguousarray(value))
        return {"array": [value.dtype.str, value.shape, "F" if column_major else "C"]}
    if isinstance(value, Kept):
        return {"kept": value.name}
    if isinstance(value, dict):
        return {"dict": {name: _pack(item, arrays) for name, item in value.items()}}
    if isinstance(value, list | tuple):
        return {"list": [_pack(item, arrays) for item in value]}
    return value


def _unpack(packed: Any, connection: socket.socket) -> Any:
    """Rebuilds a value; its arrays are read in the order in which `_pack` met them."""
    if not isinstance(packed, dict):
        return packed
    kind, value = next(iter(packed.items()), ("nothing", None))
    if kind == "array" and isinstance(value, list) and len(value) == 3:
        array = _empty(*value)
        if array.size:
            _read(connection, (array.T if value[2] == "F" else array).data.cast("B"))
        return array
    if kind == "kept" and isinstance(value, str):
        return Kept(value)
    if kind == "dict" and isinstance(value, dict):
        return {name: _unpack(item, connection) for name, item in value.items()}
    if kind == "list" and isinstance(value, list):
        return [_unpack(item, connection) for item in value]
    raise FrameError(f"{json.dumps(packed)[:100]} in its head")


def _empty(name: str, shape: Sequence[int], order: str) -> NDArray:
    """An empty array for the values that are about to arrive."""
    try:
        dtype = np.dtype(name)
        if dtype.kind not in NUMBERS or order not in ("C", "F"):
            raise ValueError(f"{name}, order {order}")
        if math.prod(shape) * dtype.itemsize >= 2**63:
            raise ValueError(f"shape {shape}")
        return np.empty(shape, dtype, order=order)  # type: ignore[call-overload]
    except (TypeError, ValueError) as error:
        raise FrameError(f"an array of {error}") from error
