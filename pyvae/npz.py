"""A user's own images from an .npz file."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path

import numpy as np
import torch
from numpy.lib.npyio import NpzFile
from numpy.typing import NDArray
from torch import Tensor

from pyvae.errors import UserError

__all__ = ["load_npz"]

# What NumPy raises on files that are cut, damaged, encrypted or not what their name says.
UNREADABLE = (
    OSError,
    EOFError,
    ValueError,
    KeyError,
    RuntimeError,
    zipfile.BadZipFile,
    zlib.error,
)
EXPECTED = "`images` (N, 28, 28) or (N, 784), uint8 or floats in [0, 1]"


def load_npz(path: Path) -> tuple[Tensor, Tensor | None]:
    """Reads `images` and, where there are, `labels` (N,).

    Returns:
        Pixels (N, 784), uint8 or floats in [0, 1], and labels, int64, or None.

    Raises:
        UserError: If the file is absent, damaged, or holds anything else.
    """
    if not path.is_file():
        raise UserError(f"data file '{path}' does not exist", f"an .npz file with {EXPECTED}")
    try:
        archive = np.load(path, allow_pickle=False)
        if not isinstance(archive, NpzFile):
            raise UserError(f"data file '{path}' is no .npz archive", f"an archive with {EXPECTED}")
        with archive:
            if "images" not in archive:
                found = ", ".join(archive.files) or "nothing"
                raise UserError(f"data file '{path}' holds {found}", EXPECTED)
            images = archive["images"]
            labels = archive.get("labels")
    except UNREADABLE as error:
        raise UserError(
            f"data file '{path}' cannot be read ({error})", f"a whole .npz file with {EXPECTED}"
        ) from error
    for name, array in (("images", images), ("labels", labels)):
        if array is not None and not isinstance(array, np.ndarray):
            raise UserError(f"data file '{path}': {name} is no array", EXPECTED)
    _check_images(path, images)
    if labels is not None and labels.shape != (len(images),):
        raise UserError(
            f"data file '{path}': labels of shape {labels.shape}", f"shape ({len(images)},)"
        )
    if labels is not None and not np.issubdtype(labels.dtype, np.integer):
        raise UserError(f"data file '{path}': labels of type {labels.dtype}", "integers")
    pixels = torch.from_numpy(images.reshape(len(images), 784))
    return pixels, None if labels is None else torch.from_numpy(labels.astype(np.int64))


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
        at = tuple(int(i) for i in np.argwhere(np.isnan(images))[0])
        raise UserError(
            f"data file '{path}': {np.isnan(images).sum()} NaN among the pixels, the first at {at}",
            "floats in [0, 1]",
        )
    low, high = images.min(), images.max()
    if low < 0 or high > 1:
        raise UserError(
            f"data file '{path}': pixels from {low:g} to {high:g}",
            "floats in [0, 1] (or uint8, 0 to 255)",
            "divide by 255 first" if 1 < high <= 255 and low >= 0 else "",
        )
