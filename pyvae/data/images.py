"""Loads images to train on into one tensor in memory.

MNIST, Fashion-MNIST and KMNIST come through torchvision, the small handwritten digits from
scikit-learn's wheel, a user's own images from an .npz or .npy file.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

import numpy as np
import platformdirs
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from pyvae.data.mnist import DownloadError, load_mnist_family
from pyvae.data.npz import load_arrays, load_test_arrays
from pyvae.data.pixels import DIGITS
from pyvae.errors import UserError, choose, printable
from pyvae.files.reading import is_array_file

__all__ = [
    "DATA_NAMES",
    "ImageData",
    "data_root",
    "load_data",
    "load_digits",
    "load_split",
    "load_toy",
]

TORCHVISION = {"mnist": "MNIST", "fashion-mnist": "FashionMNIST", "kmnist": "KMNIST"}
DATA_NAMES = ("auto", *TORCHVISION, "digits", "toy")


@dataclass(frozen=True)
class ImageData:
    """Images, or points.

    Attributes:
        name: `mnist`, ..., or the file's name, printable.
        pixels: (N, 784), uint8 (0 to 255) or floats in [0, 1]; of points (N, 2), floats; of images
            of another shape as many numbers as it has.
        labels: (N,), int64, or None.
        source: Where they came from.
        shape: The shape of an image, (channels, height, width); of points (2,).
    """

    name: str
    pixels: Tensor
    labels: Tensor | None
    source: str
    shape: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if not self.shape:
            features = tuple(self.pixels.shape[1:])
            object.__setattr__(self, "shape", DIGITS if features == (784,) else features)
        # a file may have any name, and names are printed in lines, titles and tables
        object.__setattr__(self, "name", printable(self.name))

    def __len__(self) -> int:
        return len(self.pixels)

    def batch(self, index: NDArray[np.int64] | Tensor, dtype: torch.dtype) -> Tensor:
        """Returns images by index, (B, 784), pixels in [0, 1] (uint8 divided by 255)."""
        # whole rows: `self.pixels[index]` takes 6 times as long
        chosen = self.pixels.index_select(0, torch.as_tensor(index).to(self.pixels.device))
        if chosen.dtype == torch.uint8:
            return chosen.to(dtype).div_(255)
        return chosen.to(dtype)

    def to(self, device: torch.device) -> ImageData:
        """Returns the same images in a device's memory."""
        return replace(self, pixels=self.pixels.to(device)) if device.type != "cpu" else self

    def check_counted_from_0(self, classes: int) -> None:
        """Raises UserError if the labels are 1 to `classes`, as R counts."""
        labels = self.labels
        if labels is not None and (int(labels.min()), int(labels.max())) == (1, classes):
            raise UserError(
                f"the labels of {self.name} are 1 to {classes}",
                "subtract 1 from every label",
                expected=f"0 to {classes - 1}",
            )

    def describe(self) -> dict[str, Any]:
        """Returns the name, the number of images, the source and a checksum of the pixels, and the
        shape of images that are not 28x28."""
        about: dict[str, Any] = {"name": self.name, "images": len(self), "source": self.source}
        if len(self.shape) == 3 and self.shape != DIGITS:
            about["shape"] = list(self.shape)
        return about | {"sha256": self.checksum}

    @cached_property
    def checksum(self) -> str:
        """The SHA-256 of the pixels as they are held in memory."""
        return hashlib.sha256(self.pixels.contiguous().numpy().data).hexdigest()


def data_root() -> Path:
    """Returns the folder of MNIST, Fashion-MNIST and KMNIST: $PYVAE_DATA, or one in the cache."""
    given = os.environ.get("PYVAE_DATA")
    if not given:
        return Path(platformdirs.user_cache_dir("pyvae"))
    try:
        return Path(given).expanduser()
    except RuntimeError as error:
        raise UserError(
            f"PYVAE_DATA is '{given}', but that user has no home folder", "give the full path"
        ) from error


def load_data(
    name: str | os.PathLike[str],
    log: Callable[[str], object] = print,
    shape: tuple[int, ...] = DIGITS,
) -> ImageData:
    """Loads images by name.

    Arguments:
        name: `auto`, `mnist`, `fashion-mnist`, `kmnist`, `digits`, or the path of an .npz or
            .npy file (see `pyvae.data.npz.load_arrays` and `pyvae.data.pixels`). `auto` is MNIST
            if it is there or can be downloaded, else the digits.
        log: Called with one line if `auto` falls back to the digits.
        shape: What an image of a file is to be: (channels, height, width).

    Raises:
        UserError: If the name is unknown, or the data cannot be read or downloaded.
    """
    if not isinstance(name, str | os.PathLike):
        raise UserError(
            f"load_data() was given a {type(name).__name__}",
            "write images to a file first, with np.savez('images.npz', images=...)",
            expected="a name or the path of a file",
        )
    name = os.fspath(name)
    if is_array_file(name):
        pixels, labels = load_arrays(Path(name), shape)
        return ImageData(Path(name).name, pixels, labels, f"file {Path(name).resolve()}", shape)
    if name not in DATA_NAMES:
        if os.path.exists(name):  # noqa: PTH110 (Path.exists raises if a name is too long)
            kind = "a folder" if Path(name).is_dir() else "a file of an unknown type"
            raise UserError(
                f"--data '{name}' is {kind}",
                "to use MNIST's own files, set PYVAE_DATA to their folder and give --data mnist",
                expected=f"one of {', '.join(DATA_NAMES)}, or a file that ends in .npz or .npy",
            )
        choose("data", name, (*DATA_NAMES, "a FILE.npz"))
    if name == "digits":
        return load_digits()
    if name == "toy":
        return load_toy()
    family = "mnist" if name == "auto" else name
    root = data_root()
    try:
        pixels, labels = load_mnist_family(TORCHVISION[family], root)
    except DownloadError as error:
        if name == "auto":
            log(
                f"data: MNIST is not in {root} and could not be downloaded ({error}); "
                "using scikit-learn's 1,797 handwritten digits at 28x28 instead"
            )
            return load_digits()
        raise UserError(
            f"{TORCHVISION[family]} is not in {root} and could not be downloaded ({error})",
            "set PYVAE_DATA to the folder of train-images-idx3-ubyte (plain or .gz), or use "
            "--data digits",
        ) from error
    without = "" if labels is not None else ", without labels"
    source = f"{TORCHVISION[family]} training set, torchvision{without}"
    return ImageData(family, pixels, labels, source)


def load_split(name: str, log: Callable[[str], object] = print) -> tuple[ImageData, ImageData]:
    """Loads images to train on and images to test with.

    They are the two sets of MNIST, Fashion-MNIST and KMNIST, or of an .npz file that has both.
    Other data is split at random, always in the same way: four fifths and the rest.

    Raises:
        UserError: As `load_data`.
    """
    data = load_data(name, log)
    if data.name in TORCHVISION:
        pixels, labels = load_mnist_family(TORCHVISION[data.name], data_root(), train=False)
        source = f"{TORCHVISION[data.name]} test set, torchvision"
        return data, ImageData(data.name, pixels, labels, source)
    beside = load_test_arrays(Path(name)) if is_array_file(name) else None
    if beside is not None:
        return data, ImageData(data.name, *beside, f"{data.source}, its test set")
    order = torch.from_numpy(np.random.Generator(np.random.Philox(5)).permutation(len(data)))
    cut = len(data) * 4 // 5
    parts = (order[:cut], "four fifths"), (order[cut:], "the other fifth")
    train, test = (
        ImageData(
            data.name,
            data.pixels[rows],
            None if data.labels is None else data.labels[rows],
            f"{data.source}, {words}, chosen at random",
        )
        for rows, words in parts
    )
    return train, test


def load_toy(points: int = 3000) -> ImageData:
    """Makes points in the plane in three elongated groups of equal size, in mixed order.

    Gaussians around (-1.5, -1), (1.5, -1) and (0, 1.5), each stretched along a direction of its
    own (standard deviations 0.5 and 0.15). Always the same points.
    """
    generator = np.random.Generator(np.random.Philox(3))
    centres = np.array([[-1.5, -1.0], [1.5, -1.0], [0.0, 1.5]])
    angles = np.array([np.pi / 4, -np.pi / 4, 0.0])
    labels = generator.permutation(points) % 3
    along, across = generator.standard_normal((2, points)) * [[0.5], [0.15]]
    cos, sin = np.cos(angles[labels]), np.sin(angles[labels])
    offset = np.stack([along * cos - across * sin, along * sin + across * cos], axis=1)
    xy = torch.from_numpy(centres[labels] + offset)
    return ImageData("toy", xy, torch.from_numpy(labels), "three Gaussians in the plane")


def load_digits() -> ImageData:
    """Loads scikit-learn's 1,797 handwritten digits, enlarged from 8x8 to MNIST's 28x28.

    Enlarged to 20x20 (bilinear) and set in a margin of 4 pixels, as MNIST's digits are; grey
    levels 0 to 16 become 0 to 255. Alpaydin & Kaynak (1998), "Optical Recognition of
    Handwritten Digits", UCI Machine Learning Repository.
    """
    small, labels = _small_digits()
    large = F.interpolate(small, size=(20, 20), mode="bilinear", align_corners=False)
    framed = F.pad(large, (4, 4, 4, 4))  # (N, 1, 28, 28)
    pixels = (framed * 255).round().to(torch.uint8).reshape(-1, 784)
    return ImageData("digits", pixels, labels, "scikit-learn load_digits, enlarged to 28x28")


def _small_digits() -> tuple[Tensor, Tensor]:
    """The images of scikit-learn's wheel, (N, 1, 8, 8) from 0 to 1, and their labels."""
    wheel = distribution("scikit-learn")
    file = Path(str(wheel.locate_file("sklearn/datasets/data/digits.csv.gz")))
    if file.is_file():  # to import scikit-learn takes as long as PyTorch
        digits = np.loadtxt(file, delimiter=",")
        images, labels = digits[:, :-1].reshape(-1, 1, 8, 8), digits[:, -1]
    else:
        from sklearn import datasets

        bunch = datasets.load_digits()
        images, labels = bunch.images[:, None], bunch.target
    return torch.from_numpy(images) / 16, torch.from_numpy(labels.astype(np.int64))
