"""Files in LeCun's IDX format, in which MNIST was published: where they are, and what is in them.

The rules are those of r_bridge/rpackage/R/idx.R; tests/mnist_layouts.py lists what both find.
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
from pyvae.files.reading import fill, open_file

__all__ = ["damaged", "find_idx", "find_idx_in", "read_idx"]

FOLDERS = {  # by what torchvision calls the data set: how else its folder may be called
    "MNIST": ("mnist",),
    "FashionMNIST": ("fashionmnist", "fashion"),
    "KMNIST": ("kmnist", "kuzushijimnist"),
}
MOST_DIMENSIONS = 8  # images have three
MOST_INFLATED = 200  # times the file's size; MNIST's images take five times theirs
ALWAYS_ALLOWED = 2**26  # bytes


def find_idx(dataset: str, root: Path, name: str) -> Path | None:
    """The file of this name, such as `train-images-idx3-ubyte`, of `MNIST`, `FashionMNIST` or
    `KMNIST`; None where there is none.

    It may lie in DATASET/raw, in DATASET, in raw or in the folder itself, in this order; as
    `-idx3-ubyte` or `.idx3-ubyte`, plain or as .gz. All three data sets call their files alike:
    a folder that is called as another one of them is left alone.
    """
    folders = [root / dataset / "raw", root / dataset]
    if not _is_of_another(root, dataset):
        folders += [root / "raw", root]
    found = (find_idx_in(folder, name) for folder in folders)
    return next((path for path in found if path is not None), None)


def find_idx_in(
    folder: Path, name: str, is_there: Callable[[Path], bool] = os.path.isfile
) -> Path | None:
    """The file of this name in a folder, or None: also with a dot, also as .gz."""
    paths = (
        folder / (one + end) for one in (name, name.replace("-idx", ".idx")) for end in ("", ".gz")
    )
    return next((path for path in paths if is_there(path)), None)


def _is_of_another(folder: Path, dataset: str) -> bool:
    folder = Path(os.path.realpath(folder))
    called = folder.parent.name if folder.name == "raw" else folder.name
    letters = "".join(letter for letter in called.lower() if letter.isalnum())
    return any(letters in names for other, names in FOLDERS.items() if other != dataset)


def read_idx(path: Path) -> NDArray[np.uint8]:
    """Bytes in LeCun's IDX format: four bytes that say what is in it, the last of them the number
    of dimensions, the dimensions (big-endian), the bytes. Compressed by gzip or not, whatever the
    file is called.

    Memory: the array's size, and 1 MiB. That is the file's size, or, where it is compressed, at
    most 200 times that, or 64 MiB where that is more. What the header promises is looked at
    before it is read.

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
    """What an IDX file holds. Its size is not known where it is compressed."""
    head = file.read(4)
    if len(head) < 4 or head[:3] != b"\0\0\x08":
        raise damaged(path, "it does not begin as an IDX file of bytes")
    if head[3] > MOST_DIMENSIONS:
        raise damaged(path, f"it promises an array of {head[3]} dimensions")
    lengths = file.read(4 * head[3])
    if len(lengths) < 4 * head[3]:
        raise damaged(path, f"it ends after {4 + len(lengths)} bytes")
    shape = struct.unpack(f">{head[3]}I", lengths)
    promised = 4 + len(lengths) + math.prod(shape)
    if size is not None and size != promised:
        raise damaged(path, f"it has {size} bytes where its header promises {promised}")
    if size is None and promised > max(MOST_INFLATED * packed_size, ALWAYS_ALLOWED):
        raise damaged(
            path,
            f"its header promises {promised} bytes, over {MOST_INFLATED} times the file's size",
        )
    values = np.empty(math.prod(shape), np.uint8)
    fill(file, values)
    if file.read(1):
        raise damaged(path, f"it has more bytes than the {promised} that its header promises")
    return values.reshape(shape)


def damaged(path: Path, why: str) -> UserError:
    """What is said of a file, or a folder of files, that does not hold what it should."""
    return UserError(
        f"data file '{path}' is damaged: {why}",
        "delete it to have it downloaded again",
        expected="the file as it was published",
    )
