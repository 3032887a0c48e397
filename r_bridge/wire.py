"""Messages between Python and the R process: a JSON head and arrays as safetensors.

A frame is the head's length (4 bytes), the arrays' length (8 bytes), the head, the arrays.
Values are None, bool, int, float, str, NumPy arrays, lists and dicts of these, and `Kept`.
"""

from __future__ import annotations

import json
import socket
import struct
from dataclasses import dataclass
from typing import Any

import numpy as np
import safetensors.numpy
from numpy.typing import NDArray

__all__ = ["ClosedError", "Kept", "receive", "send"]

_LENGTHS = struct.Struct(">IQ")


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
    arrays: dict[str, NDArray] = {}
    head = json.dumps(_pack(value, arrays)).encode()
    body = safetensors.numpy.save(arrays) if arrays else b""
    connection.sendall(_LENGTHS.pack(len(head), len(body)) + head)
    connection.sendall(body)


def receive(connection: socket.socket) -> Any:
    """Receives one value; waits as long as the connection's time-out says.

    Raises:
        ClosedError: If the other side closed the connection.
        TimeoutError: If the time-out passed without a byte.
    """
    head_length, body_length = _LENGTHS.unpack(_read(connection, _LENGTHS.size))
    head = json.loads(bytes(_read(connection, head_length)))
    body = _read(connection, body_length)
    return _unpack(head, safetensors.numpy.load(bytes(body)) if body_length else {})


def _read(connection: socket.socket, size: int) -> bytearray:
    content = bytearray(size)
    view = memoryview(content)
    while len(view):
        try:
            count = connection.recv_into(view)
        except ConnectionResetError:
            count = 0
        if count == 0:
            raise ClosedError
        view = view[count:]
    return content


def _pack(value: Any, arrays: dict[str, NDArray]) -> Any:
    if isinstance(value, np.ndarray):
        name = str(len(arrays))
        arrays[name] = np.ascontiguousarray(value)
        return {"array": name}
    if isinstance(value, Kept):
        return {"kept": value.name}
    if isinstance(value, dict):
        return {"dict": {name: _pack(item, arrays) for name, item in value.items()}}
    if isinstance(value, list | tuple):
        return {"list": [_pack(item, arrays) for item in value]}
    return value


def _unpack(packed: Any, arrays: dict[str, NDArray]) -> Any:
    if not isinstance(packed, dict):
        return packed
    ((kind, value),) = packed.items()
    if kind == "array":
        return arrays[value]
    if kind == "kept":
        return Kept(value)
    if kind == "dict":
        return {name: _unpack(item, arrays) for name, item in value.items()}
    return [_unpack(item, arrays) for item in value]
