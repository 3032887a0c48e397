"""Loads a user's own images from NumPy's files: .npz (several arrays) or .npy (one)."""

from __future__ import annotations

import math
import warnings
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import IO, BinaryIO, NamedTuple, cast

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray
from torch import Tensor

from pyvae.data.pixels import DIGITS, as_labels, as_pixels, expected_images
from pyvae.errors import UserError
from pyvae.files.reading import CHUNK, MOST_UNPACKED, fill, most_unpacked, open_file

__all__ = ["load_arrays", "load_test_arrays", "read_npz"]

# names of images and their labels: pyvae's, those of keras' mnist.npz, of MedMNIST
TRAINING = (("images", "labels"), ("x_train", "y_train"), ("train_images", "train_labels"))
TEST = (("x_test", "y_test"), ("test_images", "test_labels"))


class Names(NamedTuple):
    """The names of the arrays to load."""

    images: str
    labels: str | None


def load_arrays(path: Path, shape: tuple[int, ...] = DIGITS) -> tuple[Tensor, Tensor | None]:
    """Loads images and, if there are any, their labels.

    Their names are `images` and `labels`, `x_train` and `y_train`, or `train_images` and
    `train_labels`, in any case; a single array of any name is taken for images. The size that an
    array's header promises is checked before the array is read.

    Arguments:
        path: The file.
        shape: What an image is to be: (channels, height, width).

    Returns:
        Pixels (N, 784), or as many numbers as the shape has, uint8 or floats in [0, 1], and labels,
        int64, or None.

    Raises:
        UserError: If the file is absent, damaged, or holds anything else.
    """
    loaded = _load(path, TRAINING, shape)
    if isinstance(loaded, list):
        found = f"the arrays {', '.join(loaded[:20])}" if loaded else "no arrays"
        code = f"a = np.load({str(path)!r}); np.savez('images.npz', images=a[NAME])"
        remedy = f"to convert it, run `{code}` in Python" if loaded else ""
        raise UserError(
            f"data file '{path}' holds {found}", remedy, expected=expected_images(shape)
        )
    return loaded


def load_test_arrays(path: Path) -> tuple[Tensor, Tensor | None] | None:
    """Loads `x_test` and `y_test`, or `test_images` and `test_labels`; None if there are none."""
    loaded = _load(path, TEST, DIGITS, alone=False)
    return None if isinstance(loaded, list) else loaded


def read_npz(path: Path) -> dict[str, NDArray]:
    """Reads all arrays of a .npz file, by name.

    Raises:
        UserError: If it holds Python objects.
        Exception: Of any kind, if it is damaged.
    """
    with open_file(path) as file, zipfile.ZipFile(file) as archive:
        members = {_stem(info): info for info in archive.infolist()}
        return _read_members(archive, members, members, most_unpacked(file.seek(0, 2)))


def _load(
    path: Path, wanted: Iterable[tuple[str, str]], shape: tuple[int, ...], alone: bool = True
) -> tuple[Tensor, Tensor | None] | list[str]:
    """Loads images and labels; returns the names of all arrays if the wanted ones are not there."""
    if not path.is_file():
        raise UserError(f"data file '{path}' does not exist", "check the path")
    try:
        with open_file(path) as file:
            size = file.seek(0, 2)
            if path.suffix.lower() == ".npy":
                if not alone:
                    return []
                file.seek(0)
                arrays, names = {"": _read_array(file, path.name, size)}, Names("", None)
            else:
                with zipfile.ZipFile(file) as archive:
                    members = {_stem(info): info for info in archive.infolist()}
                    found = _choose(members, wanted, alone)
                    if found is None:
                        return list(members)
                    room = most_unpacked(size)
                    arrays, names = _read_members(archive, members, found, room), found
    except UserError as error:
        raise UserError(
            f"data file '{path}': {error.problem}",
            error.remedy,
            expected=error.expected,
        ) from None
    except Exception as error:  # zipfile and NumPy's parser of headers raise a dozen kinds
        raise UserError(
            f"data file '{path}' cannot be read ({error or type(error).__name__})",
            f"save it again with np.savez: {expected_images(shape)}",
        ) from error
    images = arrays[names.images]
    pixels = as_pixels(images, path, names.images, names.labels, shape)
    if names.labels is None:
        return pixels, None
    return pixels, as_labels(arrays[names.labels], len(images), path, names.images, names.labels)


def _stem(info: zipfile.ZipInfo) -> str:
    return info.filename.removesuffix(".npy")


def _choose(members: Iterable[str], wanted: Iterable[tuple[str, str]], alone: bool) -> Names | None:
    """Chooses the members that are the images and their labels."""
    names = list(members)
    small = {name.lower(): name for name in reversed(names)}
    for images, labels in wanted:
        if images in small:
            return Names(small[images], small.get(labels))
    return Names(names[0], None) if alone and len(names) == 1 else None


def _read_members(
    archive: zipfile.ZipFile,
    members: Mapping[str, zipfile.ZipInfo],
    names: Iterable[str | None],
    room: int,
) -> dict[str, NDArray]:
    """Reads arrays of an archive; together they may take `room` bytes."""
    found: dict[str, NDArray] = {}
    for name in names:
        if name is not None:
            found[name] = _read_member(archive, members[name], room)
            room -= found[name].nbytes
    return found


def _read_member(archive: zipfile.ZipFile, info: zipfile.ZipInfo, room: int) -> NDArray:
    """Reads one array, after checking that its header promises what is there, and not too much."""
    # other compressions unpack any amount at once
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise ValueError(f"{info.filename} is compressed by a method that NumPy does not use")
    if info.file_size > room:
        raise ValueError(
            f"{info.filename} would unpack to {info.file_size} bytes, more than {MOST_UNPACKED} "
            "times the file's size; np.savez writes files without compression"
        )
    with archive.open(info) as member:
        return _read_array(cast(BinaryIO, member), info.filename, info.file_size)


def _read_array(file: BinaryIO, name: str, size: int) -> NDArray:
    """Reads an array in NumPy's format from a file of `size` bytes."""
    shape, by_column, dtype = _header(file)
    if dtype.hasobject:
        raise UserError(
            f"{name} holds Python objects, which pyvae never unpickles",
            "save it as numbers: `np.savez('images.npz', images=np.array(images.tolist()))`",
        )
    count, there = math.prod(shape), size - file.tell()
    if min(shape, default=0) < 0 or count * dtype.itemsize != there:
        raise ValueError(
            f"{name} has {there} bytes, but its header promises {count * dtype.itemsize}"
        )
    values = np.empty(count, dtype)
    fill(file, values)
    return values.reshape(shape, order="F" if by_column else "C")


def _header(member: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype]:
    """Reads the shape, the order (whether column-major) and the type of an array."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about headers that Python 2 wrote
        version = npy.read_magic(member)
        if version == (1, 0):
            return npy.read_array_header_1_0(member)
        if version == (2, 0):
            length = int.from_bytes(member.read(4), "little")
            if length > CHUNK:  # NumPy would read all of it first
                raise ValueError(f"its header has {length} bytes")
            member.seek(-4, 1)
            return npy.read_array_header_2_0(member)
    raise ValueError(f"it has version {version} of NumPy's format")
