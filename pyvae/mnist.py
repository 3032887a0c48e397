"""MNIST and its siblings: downloaded by torchvision when they are not there, in its layout.

What is there is read without torchvision, whose import takes longer than ten training steps.
"""

from __future__ import annotations

import contextlib
import http.client
import math
import socket
import struct
import tempfile
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pyvae.errors import UserError
from pyvae.reading import open_file

__all__ = ["DownloadError", "is_present", "load_mnist_family"]

TRAINING = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte")
FILES = (*TRAINING, "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")  # torchvision wants all
MOST_DIMENSIONS = 8  # images have three
PATIENCE = 5.0  # seconds without an answer before there is no network


class DownloadError(Exception):
    """The data is not there and cannot be fetched."""


def is_present(dataset: str, root: Path) -> bool:
    """Whether the four files lie in torchvision's layout below `root`."""
    return all((root / dataset / "raw" / file).is_file() for file in FILES)


def load_mnist_family(dataset: str, root: Path, train: bool = True) -> tuple[Tensor, Tensor]:
    """The training or the test set of `MNIST`, `FashionMNIST` or `KMNIST`.

    Memory: the size of the file of images, nine times that of the labels, and 1 MiB.

    Returns:
        Pixels (60000 or 10000, 784), uint8, and labels (60000 or 10000,), int64.

    Raises:
        DownloadError: If it is not there and cannot be fetched.
        UserError: If a file is damaged.
    """
    raw = root / dataset / "raw"
    if not is_present(dataset, root):
        import torchvision.datasets  # more than a second: only for who needs it

        _download(getattr(torchvision.datasets, dataset), dataset, root)
    images, labels = (_read_idx(raw / file) for file in (TRAINING if train else FILES[2:]))
    if images.shape[1:] != (28, 28) or labels.shape != images.shape[:1] or not labels.size:
        raise _damaged(raw, f"images are {images.shape}, with {labels.size} labels")
    pixels = images.reshape(len(images), 784)
    return torch.from_numpy(pixels), torch.from_numpy(labels.astype(np.int64))


def _read_idx(path: Path) -> NDArray[np.uint8]:
    """Bytes in LeCun's IDX format: four bytes that say what is in it, the last of them the number
    of dimensions, the dimensions (big-endian), the bytes. Memory: the file's size, and 1 MiB; what
    the header promises is compared with the file's size before it is read."""
    try:
        with open_file(path) as file:
            size = file.seek(0, 2)
            file.seek(0)
            head = file.read(4)
            if len(head) < 4 or head[:3] != b"\0\0\x08":
                raise _damaged(path, "it does not begin as an IDX file of bytes")
            if head[3] > MOST_DIMENSIONS:
                raise _damaged(path, f"it promises an array of {head[3]} dimensions")
            lengths = file.read(4 * head[3])
            if len(lengths) < 4 * head[3]:
                raise _damaged(path, f"it ends after {size} bytes")
            shape = struct.unpack(f">{head[3]}I", lengths)
            promised = 4 + len(lengths) + math.prod(shape)
            if size != promised:
                raise _damaged(path, f"it has {size} bytes where its header promises {promised}")
            values = np.fromfile(file, np.uint8, math.prod(shape))
            return values.reshape(shape)  # raises where it was cut meanwhile, or is too large
    except (OSError, ValueError) as error:
        raise _damaged(path, str(error)) from error


def _damaged(path: Path, why: str) -> UserError:
    return UserError(
        f"data file '{path}' is damaged: {why}",
        "the original file, uncompressed",
        "delete it to have it downloaded again",
    )


def _download(source: type, dataset: str, root: Path) -> None:
    """Downloads into a folder of its own and moves the result, so that nothing stays half."""
    _check_network(source.mirrors[0])  # type: ignore[attr-defined]
    try:
        root.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=root, prefix=".download.") as folder:
            with _socket_timeout(PATIENCE):
                source(folder, train=True, download=True)
            (root / dataset / "raw").mkdir(parents=True, exist_ok=True)
            for file in FILES:
                (Path(folder) / dataset / "raw" / file).replace(root / dataset / "raw" / file)
    except (OSError, RuntimeError, http.client.HTTPException) as error:
        raise DownloadError(str(error) or type(error).__name__) from error


def _check_network(url: str) -> None:
    """Raises DownloadError unless the server answers soon.

    In a thread: a name look-up without a network can hang far longer than any socket's
    time-out. An answer of any kind, an error status too, shows that there is a network.
    """
    failure: list[str] = [f"no answer within {PATIENCE:g} s"]

    def ask() -> None:
        try:
            request = urllib.request.Request(url, method="HEAD")  # noqa: S310 (torchvision's own address)
            urllib.request.urlopen(request, timeout=PATIENCE).close()  # noqa: S310
            failure.clear()
        except urllib.error.HTTPError:
            failure.clear()
        except (OSError, ValueError, http.client.HTTPException) as error:
            failure[0] = f"no network: {getattr(error, 'reason', error)}"

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(PATIENCE)
    if failure:
        raise DownloadError(failure[0])


@contextlib.contextmanager
def _socket_timeout(seconds: float) -> Iterator[None]:
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)
