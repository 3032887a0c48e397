"""Arrays by name, as safetensors: a length, a header in JSON, and the numbers. Nothing in such a
file is executed.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pyvae.files.writing import write_file

if TYPE_CHECKING:
    pass

from collections.abc import Mapping

import safetensors.numpy

from pyvae.files.reading import open_file

__all__ = ["array_bytes", "arrays_of_bytes", "checksum", "read_arrays", "write_arrays"]


def array_bytes(arrays: Mapping[str, NDArray], metadata: dict[str, str] | None = None) -> bytes:
    """Arrays as the content of a file. R's arrays are in column-major order, which safetensors
    does not look at: they are brought into row-major order first."""
    # not np.ascontiguousarray: that makes (1,) of a scalar's shape ()
    contiguous = {name: np.asarray(value, order="C") for name, value in arrays.items()}
    return safetensors.numpy.save(contiguous, metadata)


def arrays_of_bytes(content: bytes) -> dict[str, NDArray]:
    """Arrays from the content of a file. Memory: 40 times its size, and 1 MiB (twice its size
    where an array has hundreds of numbers or more).

    Raises:
        SafetensorError, ValueError, KeyError: If it is damaged, or has numbers of a type that
            NumPy lacks.
    """
    return _numbers(safetensors.numpy.load(content))


def read_arrays(path: Path) -> dict[str, NDArray]:
    """Reads a file of arrays. Memory: 40 times its size, and 1 MiB (its size where an array has
    hundreds of numbers or more).

    Raises:
        OSError, ValueError: As `pyvae.files.reading.open_file`.
        SafetensorError, KeyError: If it is damaged, or has numbers of a type that NumPy lacks.
    """
    open_file(path).close()  # safetensors would wait at a pipe
    return _numbers(safetensors.numpy.load_file(path))


def _numbers(arrays: dict[str, NDArray]) -> dict[str, NDArray]:
    for name, value in arrays.items():
        if value.dtype.kind not in "fiub":
            raise ValueError(f"'{name[:80]}' has values of type {value.dtype}")
    return arrays


def checksum(arrays: Mapping[str, NDArray]) -> str:
    """SHA-256 of names, types, shapes and numbers."""
    found = hashlib.sha256()
    for name in sorted(arrays):
        value = np.asarray(arrays[name], order="C")
        found.update(f"{name}\0{value.dtype.str}{value.shape}\0".encode())
        found.update(value.tobytes())
    return found.hexdigest()


def write_arrays(
    path: Path, arrays: dict[str, NDArray], metadata: dict[str, str] | None = None
) -> None:
    """Writes arrays by name as safetensors, and text about them."""
    write_file(path, array_bytes(arrays, metadata))
