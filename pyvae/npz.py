"""A user's own images from an .npz file."""

from __future__ import annotations

import math
import warnings
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import IO

import numpy as np
import torch
from numpy.lib import format as npy
from numpy.typing import NDArray
from torch import Tensor

from pyvae.errors import UserError
from pyvae.reading import open_file

__all__ = ["load_npz", "read_npz"]

# An .npz file is a zip archive: a member may take a thousand times its size in the file, and its
# header may promise any number of elements. Images hold more than that: pixels of one bit each,
# written as float64, shrink to a hundredth.
MOST_INFLATED = 200  # times the file's size
ALWAYS_ALLOWED = 2**26  # bytes
MOST_CLASSES = 10_000
CHUNK = 2**16  # bytes that are unpacked at once
EXPECTED = "`images` (N, 28, 28) or (N, 784), uint8 or floats in [0, 1]"


def load_npz(path: Path) -> tuple[Tensor, Tensor | None]:
    """Reads `images` and, where there are, `labels` (N,).

    Memory: three times what the arrays take, which is at most 200 times the file's size, or
    64 MiB where that is more; and 1 MiB. What an array takes is known from its header, and checked
    before it is read.

    Returns:
        Pixels (N, 784), uint8 or floats in [0, 1], and labels, int64, or None.

    Raises:
        UserError: If the file is absent, damaged, or holds anything else.
    """
    if not path.is_file():
        raise UserError(f"data file '{path}' does not exist", f"an .npz file with {EXPECTED}")
    try:
        arrays, names = read_npz(path, ("images", "labels"))
    except Exception as error:  # zipfile and NumPy's parser of headers raise a dozen kinds
        raise UserError(
            f"data file '{path}' cannot be read ({error or type(error).__name__})",
            f"a whole .npz file with {EXPECTED}",
        ) from error
    if "images" not in arrays:
        found = ", ".join(names[:20]) or "nothing"
        raise UserError(f"data file '{path}' holds {found}", EXPECTED)
    images, labels = arrays["images"], arrays.get("labels")
    _check_images(path, images)
    if labels is not None:
        _check_labels(path, labels, len(images))
    pixels = torch.from_numpy(images.reshape(len(images), 784))
    return pixels, None if labels is None else torch.from_numpy(labels.astype(np.int64))


def read_npz(path: Path, wanted: Sequence[str]) -> tuple[dict[str, NDArray], list[str]]:
    """Reads those arrays of an .npz file that are wanted.

    Memory: what they take, at most 200 times the file's size, or 64 MiB where that is more; and
    20 times the size of the archive's table of contents.

    Returns:
        The arrays that are there, and the names of all arrays in the file.

    Raises:
        Exception: Of a dozen kinds, if the file cannot be read, an array would take more, or
            holds Python objects.
    """
    with open_file(path) as file:
        size = file.seek(0, 2)
        with zipfile.ZipFile(file) as archive:
            room = max(MOST_INFLATED * size, ALWAYS_ALLOWED)
            members = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
            found = {}
            for name in (name for name in wanted if name in members):
                found[name] = _read_member(archive, members[name], room)
                room -= found[name].nbytes
            return found, list(members)


def _read_member(archive: zipfile.ZipFile, info: zipfile.ZipInfo, room: int) -> NDArray:
    """One array, after checking that what its header promises is there and not too much."""
    # of other compressions any amount would be unpacked at once
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise ValueError(f"{info.filename} is compressed in a way that NumPy does not write")
    if info.file_size > room:
        raise ValueError(
            f"{info.filename} would take {info.file_size} bytes, more than {MOST_INFLATED} times "
            "the file's size, as np.savez, which does not compress, never writes it"
        )
    with archive.open(info) as member:
        shape, by_column, dtype = _header(member)
        count = math.prod(shape)
        if min(shape, default=0) < 0 or count * dtype.itemsize != info.file_size - member.tell():
            raise ValueError(
                f"{info.filename} has {info.file_size - member.tell()} bytes where its header "
                f"promises {count * dtype.itemsize}"
            )
        if dtype.hasobject:
            raise ValueError(f"{info.filename} holds Python objects, which are never unpickled")
        values = np.empty(count, dtype)
        if values.nbytes:
            content = values.view(np.uint8)
            at = 0
            while at < len(content):
                part = member.read(min(CHUNK, len(content) - at))
                if not part:
                    raise ValueError(f"{info.filename} ends after {at} bytes")
                content[at : at + len(part)] = np.frombuffer(part, np.uint8)
                at += len(part)
    return values.reshape(shape, order="F" if by_column else "C")


def _header(member: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype]:
    """Shape, whether in column-major order, and type of an array in NumPy's format."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of headers that Python 2 wrote
        version = npy.read_magic(member)
        if version == (1, 0):
            return npy.read_array_header_1_0(member)
        if version == (2, 0):
            length = int.from_bytes(member.read(4), "little")
            if length > CHUNK:  # NumPy would read all of it first
                raise ValueError(f"its header has {length} bytes")
            member.seek(-4, 1)
            return npy.read_array_header_2_0(member)
    raise ValueError(f"version {version} of NumPy's format")


def _check_images(path: Path, images: NDArray) -> None:
    if images.ndim < 2 or images.shape[1:] not in {(28, 28), (784,)}:
        raise UserError(f"data file '{path}': images of shape {images.shape}", EXPECTED)
    if len(images) == 0:
        raise UserError(f"data file '{path}' holds no images", EXPECTED)
    if images.dtype == np.uint8:
        return
    if images.dtype not in (np.float32, np.float64):
        raise UserError(f"data file '{path}': images of type {images.dtype}", EXPECTED)
    if np.isnan(images).any():
        wrong = np.isnan(images)
        at = tuple(int(i) for i in np.unravel_index(wrong.argmax(), wrong.shape))
        raise UserError(
            f"data file '{path}': {wrong.sum()} NaN among the pixels, the first at {at}",
            "floats in [0, 1]",
        )
    low, high = images.min(), images.max()
    if low < 0 or high > 1:
        raise UserError(
            f"data file '{path}': pixels from {low:g} to {high:g}",
            "floats in [0, 1] (or uint8, 0 to 255)",
            "divide by 255 first" if 1 < high <= 255 and low >= 0 else "",
        )


def _check_labels(path: Path, labels: NDArray, images: int) -> None:
    if labels.shape != (images,):
        raise UserError(f"data file '{path}': labels of shape {labels.shape}", f"shape ({images},)")
    if not np.issubdtype(labels.dtype, np.integer):
        raise UserError(f"data file '{path}': labels of type {labels.dtype}", "integers")
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or high >= MOST_CLASSES:
        raise UserError(
            f"data file '{path}': labels from {low} to {high}", f"classes, 0 to {MOST_CLASSES - 1}"
        )
