"""Reads files that may be damaged, or hostile: traces and images come from other people.

Every reader of pyvae keeps three rules. It executes nothing that a file holds. It fails with one of
`UNREADABLE`, which its caller turns into a `UserError` of one line. And it takes at most
`MEMORY_TIMES` the file's size, plus `MEMORY_BASE`. A file that may be compressed counts as the
largest array that `most_unpacked` lets it hold. tests/fuzz measures all three.
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
    "MEMORY_BASE",
    "MEMORY_TIMES",
    "UNREADABLE",
    "fill",
    "is_array_file",
    "most_unpacked",
    "open_file",
    "parse_numbers",
    "read_bytes",
    "read_json",
    "read_numbers",
    "read_rows",
    "says",
]

UNREADABLE = (  # what reading a damaged or hostile file can raise
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
MEMORY_TIMES = {  # memory that reading takes at most, as a multiple of the file's size
    "json": 64,
    "csv": 40,  # numbers
    "csv of text": 64,
    "safetensors": 40,
    "state dict": 40,  # of R or of PyTorch
    "idx": 9,  # labels of one byte become int64
    "npz": 3,
}
MEMORY_BASE = 2**20  # bytes, on top of that
MOST_JSON = 2**24  # bytes; pyvae writes a few thousand
MOST_COLUMNS = 10_000
CHUNK = 2**16  # bytes that are unpacked at once
# Honest images stay far below: MNIST's unpack to five times their file, and pixels of one bit each,
# written as float64, to a hundred times.
MOST_UNPACKED = 200  # times the file's size
ALWAYS_UNPACKED = 2**26  # bytes that any file may unpack to


def most_unpacked(size: int) -> int:
    """Returns how many bytes a compressed file of `size` bytes may unpack to."""
    return max(MOST_UNPACKED * size, ALWAYS_UNPACKED)


def is_array_file(name: str) -> bool:
    """Returns whether a name of data is that of a NumPy file.

    Example:
        >>> is_array_file("mine.NPZ"), is_array_file("mnist")
        (True, False)
    """
    return name.lower().endswith((".npz", ".npy"))


def open_file(path: Path) -> BinaryIO:
    """Opens a regular file for reading; reading a pipe or a device might never end.

    Raises:
        OSError: If it cannot be opened.
        ValueError: If it is a folder, a pipe or a device.
    """
    handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    try:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise ValueError(f"{path.name} is not a regular file")
        return os.fdopen(handle, "rb")
    except BaseException:
        os.close(handle)
        raise


def read_bytes(path: Path, most: int | None = None) -> bytes:
    """Reads all of a regular file.

    Raises:
        OSError, ValueError: As `open_file`; or if it has more than `most` bytes.
    """
    with open_file(path) as file:
        if most is not None and os.fstat(file.fileno()).st_size > most:
            raise ValueError(f"{path.name} has more than {most} bytes")
        return file.read()


def fill(file: BinaryIO, values: NDArray) -> None:
    """Fills a contiguous array with the next bytes of a file, which may be compressed.

    Raises:
        ValueError: If the file ends first.
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
    """Reads JSON strictly: no NaN, no double key, no number beyond a double, no lone surrogate.

    Raises:
        OSError, ValueError, RecursionError: If it cannot be read, or has more than 16 MiB.
    """
    value = json.loads(
        read_bytes(path, MOST_JSON).decode("utf-8-sig"),
        object_pairs_hook=_object,
        parse_float=_finite,
        parse_constant=_no_constant,
    )
    json.dumps(value, ensure_ascii=False).encode()  # raises where a text cannot be written again
    return value


def says(path: Path, name: str) -> bool:
    """Whether a file is JSON that has a name, by which one of ours is known."""
    try:
        about = read_json(path)
    except UNREADABLE:
        return False
    return isinstance(about, dict) and name in about


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise ValueError(f"key '{twice[:40]}' occurs twice")
    return found


def _finite(text: str) -> float:
    value = float(text)
    if value in (float("inf"), -float("inf")):
        raise ValueError(f"{text[:40]} is too large for a double")
    return value


def _no_constant(text: str) -> float:
    raise ValueError(f"{text} is not a number in JSON")


def read_rows(path: Path) -> Iterator[list[str]]:
    """Yields the rows of a CSV file, the names of its columns first. Empty lines are left out.

    Raises:
        OSError, ValueError: If it cannot be read, has no columns or more than 10,000, has two of
            one name, or has rows of different lengths.
    """
    with open_file(path) as file:
        yield from _rows(file, path.name)


def _rows(file: BinaryIO, name: str) -> Iterator[list[str]]:
    heads: list[str] | None = None
    with io.TextIOWrapper(file, "utf-8-sig", newline="") as text:
        try:
            for row in csv.reader(text, strict=True):
                if not row:
                    continue
                if heads is None:
                    heads = row
                    if len(heads) > MOST_COLUMNS:
                        raise ValueError(f"{name} has {len(heads)} columns")
                    if len(set(heads)) < len(heads):
                        raise ValueError(f"{name} has two columns of one name")
                elif len(row) != len(heads):
                    raise ValueError(
                        f"{name} has a row of {len(row)} cells for {len(heads)} columns"
                    )
                yield row
        except csv.Error as error:
            raise ValueError(f"{name}: {error}") from error
    if heads is None:
        raise ValueError(f"{name} is empty")


def read_numbers(path: Path, columns: Sequence[str] = ()) -> dict[str, NDArray[np.float64]]:
    """Reads columns of numbers from a CSV file, every bit as written.

    Arguments:
        path: The file.
        columns: The columns to read; all by default.

    Raises:
        OSError, ValueError: As `read_rows`; or if a cell is not a number.
        KeyError: If a column is missing.
    """
    return _numbers(read_rows(path), path.name, columns)


def parse_numbers(
    content: bytes, name: str, columns: Sequence[str] = ()
) -> dict[str, NDArray[np.float64]]:
    """Reads columns of numbers from the content of a CSV file, as `read_numbers`.

    Arguments:
        content: What the file holds.
        name: The file's name, for messages.
        columns: The columns to read; all by default.
    """
    return _numbers(_rows(io.BytesIO(content), name), name, columns)


def _numbers(
    rows: Iterator[list[str]], file: str, columns: Sequence[str]
) -> dict[str, NDArray[np.float64]]:
    heads = next(rows)
    columns = columns or heads
    for name in columns:
        if name not in heads:
            raise KeyError(f"column '{name[:40]}' in {file}")
    places = [heads.index(name) for name in columns]
    values = array("d")
    for row in rows:
        values.extend([_number(row[place]) for place in places])
    table = np.array(values, np.float64).reshape(-1, len(places))
    return {name: table[:, at].copy() for at, name in enumerate(columns)}


def _number(text: str) -> float:
    if "_" in text:  # which Python allows
        raise ValueError(f"'{text[:40]}' is not a number")
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"'{text[:40]}' is not a number") from None
