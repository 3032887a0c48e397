"""Reads and writes named arrays as safetensors files.

A safetensors file is a length, a header in JSON, and the numbers. Nothing in it is executed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy
from numpy.typing import NDArray

from pyvae.files.reading import open_file
from pyvae.files.writing import write_file

__all__ = ["StoredArrays", "array_bytes", "checksum", "parse_arrays", "read_arrays", "write_arrays"]


TYPES = {"F64": "float64", "F32": "float32", "F16": "float16"}


def array_bytes(arrays: Mapping[str, NDArray], metadata: dict[str, str] | None = None) -> bytes:
    """Returns arrays as the content of a safetensors file.

    Arrays in column-major order, such as R's, are brought into row-major order first: safetensors
    does not check the order.
    """
    # not np.ascontiguousarray: that makes (1,) of a scalar's shape ()
    contiguous = {name: np.asarray(value, order="C") for name, value in arrays.items()}
    return safetensors.numpy.save(contiguous, metadata)


def parse_arrays(content: bytes) -> dict[str, NDArray]:
    """Parses the content of a safetensors file.

    Raises:
        SafetensorError, ValueError: If it is damaged, or holds a type of number that NumPy lacks.
    """
    return _numbers(safetensors.numpy.load, content)


def read_arrays(path: Path) -> dict[str, NDArray]:
    """Reads a safetensors file.

    Raises:
        OSError, ValueError: As `pyvae.files.reading.open_file`; or if it holds a type of number
            that NumPy lacks.
        SafetensorError: If it is damaged.
    """
    open_file(path).close()  # safetensors would wait at a pipe
    return _numbers(safetensors.numpy.load_file, path)


class StoredArrays(Mapping[str, NDArray]):
    """The arrays of a safetensors file, each read when it is asked for, and not kept.

    Arguments:
        path: The file.

    Raises:
        OSError, ValueError, SafetensorError: As `read_arrays`; of an array that NumPy lacks when it
            is asked for.
    """

    def __init__(self, path: Path) -> None:
        open_file(path).close()
        self.path = path
        # kept open: its header is parsed once, and not for each array
        self._file = file = safetensors.safe_open(path, "numpy")
        self._types = {name: file.get_slice(name).get_dtype() for name in sorted(file.keys())}

    def __getitem__(self, name: str) -> NDArray:
        if name not in self._types:
            raise KeyError(name)
        return _numbers(lambda key: {key: self._file.get_tensor(key)}, name)[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._types)

    def __len__(self) -> int:
        return len(self._types)

    def __contains__(self, name: object) -> bool:
        return name in self._types

    def type_of(self, name: str) -> str:
        """The type of an array's numbers, such as `float32`, without reading them; the format's
        name of one that NumPy lacks."""
        stored = self._types[name]
        return TYPES.get(stored, stored)


def _numbers(
    load: Callable[[Any], dict[str, NDArray]], source: bytes | Path | str
) -> dict[str, NDArray]:
    try:
        arrays = load(source)
    except KeyError as error:
        raise ValueError(f"it has numbers of type {error}, which NumPy lacks") from error
    for name, value in arrays.items():
        if value.dtype.kind not in "fiub":
            raise ValueError(f"'{name[:80]}' has values of type {value.dtype}")
    return arrays


def checksum(arrays: Mapping[str, NDArray]) -> str:
    """Returns the SHA-256 of the names, types, shapes and numbers of arrays."""
    found = hashlib.sha256()
    for name in sorted(arrays):
        value = np.asarray(arrays[name], order="C")
        found.update(f"{name}\0{value.dtype.str}{value.shape}\0".encode())
        found.update(value.tobytes())
    return found.hexdigest()


def write_arrays(
    path: Path, arrays: dict[str, NDArray], metadata: dict[str, str] | None = None
) -> None:
    """Writes named arrays, and text about them, as a safetensors file."""
    write_file(path, array_bytes(arrays, metadata))
