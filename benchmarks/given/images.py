"""The images that all sides read, as files: MNIST where it is, else the digits written down in
MNIST's own format, so that nothing but the folder differs."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pyvae.data.images import ImageData, data_root, load_data
from pyvae.data.mnist import is_present
from pyvae.errors import UserError

__all__ = ["Images", "image_folder", "write_idx_files"]

COUNT = 60_000  # of MNIST's training set


class Images(NamedTuple):
    """What is trained on.

    Attributes:
        name: `mnist` or `digits`.
        size: How many.
        folder: Where they lie, in torchvision's layout.
    """

    name: str
    size: int
    folder: Path


def image_folder(name: str, spare: Path, say: Callable[[str], object] = print) -> Images:
    """Images by name.

    Arguments:
        name: `auto` (MNIST where it is or can be had, else the digits), `mnist` or `digits`.
        spare: An empty folder, for the digits.
        say: Told, in a line, where the digits had to be taken.

    Raises:
        UserError: If the name is another, or MNIST is asked for and cannot be had.
    """
    if name not in ("auto", "mnist", "digits"):
        raise UserError(f"--data {name}", expected="auto, mnist or digits")
    if name != "digits" and is_present("MNIST", data_root()):
        return Images("mnist", COUNT, data_root().resolve())
    data = load_data(name, say)
    if data.name == "mnist" and is_present("MNIST", data_root()):  # it was downloaded
        return Images("mnist", len(data), data_root().resolve())
    write_idx_files(data, spare)
    return Images(data.name, len(data), spare)


def write_idx_files(data: ImageData, folder: Path) -> None:
    """Writes images as MNIST was published (LeCun, Cortes & Burges, "The MNIST database of
    handwritten digits", file formats), as training and as test set.

    Arguments:
        data: With pixels as bytes; labels that it has not are 0.
        folder: Gets MNIST/raw.
    """
    raw = folder / "MNIST" / "raw"
    raw.mkdir(parents=True)
    labels = np.zeros(len(data)) if data.labels is None else data.labels.numpy()
    for part in ("train", "t10k"):
        _write_idx(raw / f"{part}-images-idx3-ubyte", data.pixels.reshape(-1, 28, 28).numpy())
        _write_idx(raw / f"{part}-labels-idx1-ubyte", labels)


def _write_idx(path: Path, values: NDArray) -> None:
    head = bytes([0, 0, 8, values.ndim]) + struct.pack(f">{values.ndim}I", *values.shape)
    path.write_bytes(head + values.astype(np.uint8).tobytes())
