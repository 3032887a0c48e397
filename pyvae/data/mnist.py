"""Loads MNIST, Fashion-MNIST and KMNIST; torchvision downloads what is missing.

Files that are there are read without torchvision: its import takes longer than ten training steps.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import socket
import tempfile
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from pyvae.data.idx import damaged, find_idx, find_idx_in, read_idx

__all__ = ["DownloadError", "is_present", "load_mnist_family"]

TRAINING = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte")
FILES = (*TRAINING, "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")  # torchvision wants all
PATIENCE = 5.0  # seconds without an answer before there is no network


class DownloadError(Exception):
    """The data is not there and cannot be downloaded."""


def is_present(dataset: str, root: Path) -> bool:
    """Returns whether the four files are where torchvision puts them below `root`."""
    return all((root / dataset / "raw" / file).is_file() for file in FILES)


def load_mnist_family(dataset: str, root: Path, train: bool = True) -> tuple[Tensor, Tensor | None]:
    """Loads the training or the test set of `MNIST`, `FashionMNIST` or `KMNIST`.

    Returns:
        Pixels (60000 or 10000, 784), uint8, and labels (60000 or 10000,), int64, or None if there
        is no file of labels.

    Raises:
        DownloadError: If the images are not there and cannot be downloaded.
        UserError: If a file is damaged.
    """
    images_file, labels_file = TRAINING if train else FILES[2:]
    found = find_idx(dataset, root, images_file)
    if found is None:
        _download(dataset, root)
        found = root / dataset / "raw" / images_file
    images = read_idx(found)
    if images.shape[1:] != (28, 28) or not len(images):
        raise damaged(found, f"its images have shape {images.shape}")
    pixels = torch.from_numpy(images.reshape(len(images), 784))
    beside = find_idx_in(
        found.parent, labels_file, os.path.lexists
    )  # refused below, if it is no file
    if beside is None:
        return pixels, None
    labels = read_idx(beside)
    if labels.shape != images.shape[:1]:
        raise damaged(beside, f"it has {labels.size} labels for {len(images)} images")
    return pixels, torch.from_numpy(labels.astype(np.int64))


def _download(dataset: str, root: Path) -> None:
    """Downloads into a temporary folder and moves the result, so that no file is left half done."""
    import torchvision.datasets  # takes more than a second

    source = getattr(torchvision.datasets, dataset)
    _check_network(source.mirrors[0])
    try:
        root.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=root, prefix=".download.") as folder:
            with _socket_timeout(PATIENCE):
                source(folder, train=True, download=True)
            (root / dataset / "raw").mkdir(parents=True, exist_ok=True)
            for file in reversed(FILES):  # images last: where they are, the rest is, too
                (Path(folder) / dataset / "raw" / file).replace(root / dataset / "raw" / file)
    except (OSError, RuntimeError, http.client.HTTPException) as error:
        raise DownloadError(str(error) or type(error).__name__) from error


def _check_network(url: str) -> None:
    """Raises DownloadError unless the server answers soon.

    In a thread: a name look-up without a network can hang far longer than any socket's
    time-out. An answer of any kind, an error status too, shows that there is a network.
    """
    failure: list[str] = [f"no answer within {PATIENCE:g} s"]

    def request_head() -> None:
        try:
            request = urllib.request.Request(url, method="HEAD")  # noqa: S310 (torchvision's own address)
            urllib.request.urlopen(request, timeout=PATIENCE).close()  # noqa: S310
            failure.clear()
        except urllib.error.HTTPError:
            failure.clear()
        except (OSError, ValueError, http.client.HTTPException) as error:
            failure[0] = f"no network: {getattr(error, 'reason', error)}"

    thread = threading.Thread(target=request_head, daemon=True)
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
