"""Reading files that may be damaged, or not be what their name says.

A reader takes no more memory than a stated multiple of the file's size, executes nothing, and
fails with one of `UNREADABLE`, which whoever called it tells the user in one line.
"""

from __future__ import annotations

import csv
import io
import json
import os
import stat
from array import array
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError

__all__ = [
    "UNREADABLE",
    "fill",
    "is_array_file",
    "open_file",
    "read_bytes",
    "read_json",
    "read_numbers",
    "read_rows",
]

UNREADABLE = (  # what files that are damaged, or something else, make of reading them
    OSError,
    EOFError,
    ValueError,
    KeyError,
    TypeError,
    AttributeError,
    OverflowError,
    RecursionError,
    MemoryError,
    SafetensorError,
)
MOST_JSON = 2**24  # bytes; what pyvae writes has a few thousand
MOST_COLUMNS = 10_000
CHUNK = 2**16  # bytes that are unpacked at once


def is_array_file(name: str) -> bool:
    """Whether data of this name is a file of arrays.

    Example:
        >>> is_array_file("mine.NPZ"), is_array_file("mnist")
        (True, False)
    """
    return name.lower().endswith((".npz", ".npy"))


def open_file(path: Path) -> BinaryIO:
    """Opens an ordinary file for reading. From a pipe or a device one could read for ever.

    Raises:
        OSError: If it cannot be opened.
        ValueError: If it is a folder, a pipe or a device.
    """
    handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    try:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise ValueError(f"{path.name} is no ordinary file")
        return os.fdopen(handle, "rb")
    except BaseException:
        os.close(handle)
        raise


def read_bytes(path: Path, most: int | None = None) -> bytes:
    """All of an ordinary file. Memory: its size.

    Raises:
        OSError, ValueError: As `open_file`; or if it has more bytes than `most`.
    """
    with open_file(path) as file:
        if most is not None and os.fstat(file.fileno()).st_size > most:
            raise ValueError(f"{path.name} has more than {most} bytes")
        return file.read()


def fill(file: BinaryIO, values: NDArray) -> None:
    """Fills an array, which is contiguous, with the next bytes of a file, which may be compressed.

    Memory: 1 MiB.

    Raises:
        ValueError: If the file ends before that.
    """
    if not values.nbytes:
        return
    content = values.reshape(-1).view(np.uint8)
    at = 0
    while at < len(content):
        part = file.read(min(CHUNK, len(content) - at))
        if not part:
            raise ValueError(f"it ends after {at} of {len(content)} bytes")
        content[at : at + len(part)] = np.frombuffer(part, np.uint8)
        at += len(part)


def read_json(path: Path) -> Any:
    """Reads JSON, as strictly as its standard has it: no NaN, no key twice in an object, no number
    that is infinite as a double, no half of a surrogate pair.

    Memory: 64 times the file's size, which is at most 16 MiB, and 1 MiB.

    Raises:
        OSError, ValueError, RecursionError: If it cannot be read.
    """
    value = json.loads(
        read_bytes(path, MOST_JSON).decode("utf-8-sig"),
        object_pairs_hook=_object,
        parse_float=_finite,
        parse_constant=_no_constant,
    )
    json.dumps(value, ensure_ascii=False).encode()  # raises where a text cannot be written again
    return value


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise ValueError(f"key '{twice[:40]}' is there twice")
    return found


def _finite(text: str) -> float:
    value = float(text)
    if value in (float("inf"), -float("inf")):
        raise ValueError(f"{text[:40]} is beyond the largest number")
    return value


def _no_constant(text: str) -> float:
    raise ValueError(f"{text} is no number in JSON")


def read_rows(path: Path) -> Iterator[list[str]]:
    """The rows of a CSV file, the heads of its columns first. Empty lines are left out.

    Memory: 40 times the size of the longest row, and 1 MiB.

    Raises:
        OSError, ValueError: If it cannot be read, has no heads or more than 10,000, one of them
            twice, or rows of other lengths.
    """
    with open_file(path) as file, io.TextIOWrapper(file, "utf-8-sig", newline="") as text:
        heads: list[str] | None = None
        try:
            for row in csv.reader(text, strict=True):
                if not row:
                    continue
                if heads is None:
                    heads = row
                    if len(heads) > MOST_COLUMNS:
                        raise ValueError(f"{path.name} has {len(heads)} columns")
                    if len(set(heads)) < len(heads):
                        raise ValueError(f"{path.name} has a column twice")
                elif len(row) != len(heads):
                    raise ValueError(
                        f"{path.name} has {len(row)} cells for {len(heads)} columns in a row"
                    )
                yield row
        except csv.Error as error:
            raise ValueError(f"{path.name}: {error}") from error
    if heads is None:
        raise ValueError(f"{path.name} is empty")


def read_numbers(path: Path, columns: Sequence[str] = ()) -> dict[str, NDArray[np.float64]]:
    """Columns of numbers of a CSV file, each to the bit that was written.

    Memory: 40 times the file's size, and 1 MiB.

    Arguments:
        path: The file.
        columns: Which; by default all.

    Raises:
        OSError, ValueError: As `read_rows`; or if a cell holds no number.
        KeyError: If there is no such column.
    """
    rows = read_rows(path)
    heads = next(rows)
    columns = columns or heads
    for name in columns:
        if name not in heads:
            raise KeyError(f"column '{name[:40]}' in {path.name}")
    places = [heads.index(name) for name in columns]
    values = array("d")
    for row in rows:
        values.extend([_number(row[place]) for place in places])
    table = np.array(values, np.float64).reshape(-1, len(places))
    return {name: table[:, at].copy() for at, name in enumerate(columns)}


def _number(text: str) -> float:
    if "_" in text:  # which Python allows
        raise ValueError(f"'{text[:40]}' is no number")
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"'{text[:40]}' is no number") from None
