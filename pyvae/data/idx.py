"""Finds and reads files in LeCun's IDX format, in which MNIST was published.

r_bridge/rpackage/R/idx.R has the same rules; tests/written_files/mnist_layouts.py lists what both
find.
"""

from __future__ import annotations

import gzip
import math
import os
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np
from numpy.typing import NDArray

from pyvae.errors import UserError
from pyvae.files.reading import MOST_UNPACKED, fill, most_unpacked, open_file

__all__ = ["damaged", "find_idx", "find_idx_in", "read_idx"]

FOLDERS = {  # other names for the folder of a data set, by torchvision's name
    "MNIST": ("mnist",),
    "FashionMNIST": ("fashionmnist", "fashion"),
    "KMNIST": ("kmnist", "kuzushijimnist"),
}
MOST_DIMENSIONS = 8  # images have three


def find_idx(dataset: str, root: Path, name: str) -> Path | None:
    """Finds a file of MNIST, FashionMNIST or KMNIST, such as `train-images-idx3-ubyte`.

    Looks in DATASET/raw, in DATASET, in raw and in the folder itself, in this order, for
    `-idx3-ubyte` and `.idx3-ubyte`, plain and as .gz. The three data sets use the same file names,
    so that a folder with the name of another data set is skipped.

    Returns:
        The file's path, or None.
    """
    folders = [root / dataset / "raw", root / dataset]
    if not _belongs_to_another(root, dataset):
        folders += [root / "raw", root]
    found = (find_idx_in(folder, name) for folder in folders)
    return next((path for path in found if path is not None), None)


def find_idx_in(
    folder: Path, name: str, is_there: Callable[[Path], bool] = os.path.isfile
) -> Path | None:
    """Finds a file in a folder, also by its name with a dot, also as .gz; None if there is none."""
    paths = (
        folder / (one + end) for one in (name, name.replace("-idx", ".idx")) for end in ("", ".gz")
    )
    return next((path for path in paths if is_there(path)), None)


def _belongs_to_another(folder: Path, dataset: str) -> bool:
    folder = Path(os.path.realpath(folder))
    called = folder.parent.name if folder.name == "raw" else folder.name
    letters = "".join(letter for letter in called.lower() if letter.isalnum())
    return any(letters in names for other, names in FOLDERS.items() if other != dataset)


def read_idx(path: Path) -> NDArray[np.uint8]:
    """Reads an array of bytes in IDX format, compressed by gzip or not, whatever the file's name.

    The format is four bytes, the last of them the number of dimensions, then the dimensions
    (big-endian), then the bytes. The header is checked against the file's size before anything
    else is read.

    Raises:
        UserError: If it cannot be read.
    """
    try:
        with open_file(path) as file:
            size = file.seek(0, 2)
            file.seek(0)
            packed = file.read(2) == b"\x1f\x8b"
            file.seek(0)
            if not packed:
                return _read_array(path, file, size)
            with gzip.GzipFile(fileobj=file) as unpacked:
                return _read_array(path, cast(BinaryIO, unpacked), None, size)
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise damaged(path, str(error)) from error


def _read_array(
    path: Path, file: BinaryIO, size: int | None, packed_size: int = 0
) -> NDArray[np.uint8]:
    """Reads an opened IDX file; `size` is None if the file is compressed."""
    head = file.read(4)
    if len(head) < 4 or head[:3] != b"\0\0\x08":
        raise damaged(path, "it is not an IDX file of bytes")
    if head[3] > MOST_DIMENSIONS:
        raise damaged(path, f"its header promises an array of {head[3]} dimensions")
    lengths = file.read(4 * head[3])
    if len(lengths) < 4 * head[3]:
        raise damaged(path, f"it ends after {4 + len(lengths)} bytes")
    shape = struct.unpack(f">{head[3]}I", lengths)
    promised = 4 + len(lengths) + math.prod(shape)
    if size is not None and size != promised:
        raise damaged(path, f"it has {size} bytes, but its header promises {promised}")
    if size is None and promised > most_unpacked(packed_size):
        raise damaged(
            path,
            f"its header promises {promised} bytes, over {MOST_UNPACKED} times the file's size",
        )
    values = np.empty(math.prod(shape), np.uint8)
    fill(file, values)
    if file.read(1):
        raise damaged(path, f"it has more bytes than the {promised} that its header promises")
    return values.reshape(shape)


def damaged(path: Path, why: str) -> UserError:
    """Makes the error for a file of images or labels that does not hold what it should."""
    return UserError(
        f"data file '{path}' is damaged: {why}",
        "replace it by the file as published, or delete it: pyvae then downloads it again",
    )
