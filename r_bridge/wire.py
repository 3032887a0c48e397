"""Messages between Python and the R process: a JSON head, then the arrays' own bytes.

A frame is the head's length (4 bytes), the head, and the bytes of each array that the head
describes, in its order. Arrays are neither copied nor converted on the way: those in column-major
order (R's) arrive in column-major order. Values are None, bool, int, float, str, NumPy arrays,
lists and dicts of these, and `Kept`.
"""

from __future__ import annotations

import json
import socket
import struct
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["ClosedError", "Kept", "receive", "send"]

_LENGTH = struct.Struct(">I")


class ClosedError(Exception):
    """The other side closed the connection."""


@dataclass(frozen=True)
class Kept:
    """An object that stays in R, by name."""

    name: str


def send(connection: socket.socket, value: Any) -> None:
    """Sends one value.

    Raises:
        OSError: If the other side is gone.
    """
    arrays: list[NDArray] = []
    head = json.dumps(_pack(value, arrays)).encode()
    connection.sendall(_LENGTH.pack(len(head)) + head)
    for array in arrays:
        if array.size:
            connection.sendall(array.data.cast("B"))


def receive(connection: socket.socket) -> Any:
    """Receives one value; waits as long as the connection's time-out says.

    Raises:
        ClosedError: If the other side closed the connection.
        TimeoutError: If the time-out passed without a byte.
    """
    length = bytearray(_LENGTH.size)
    _read(connection, memoryview(length))
    head = bytearray(_LENGTH.unpack(length)[0])
    _read(connection, memoryview(head))
    return _unpack(json.loads(head), connection)


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
    ((kind, value),) = packed.items()
    if kind == "array":
        dtype, shape, order = value
        array = np.empty(shape, dtype, order=order)
        if array.size:
            _read(connection, (array.T if order == "F" else array).data.cast("B"))
        return array
    if kind == "kept":
        return Kept(value)
    if kind == "dict":
        return {name: _unpack(item, connection) for name, item in value.items()}
    return [_unpack(item, connection) for item in value]
