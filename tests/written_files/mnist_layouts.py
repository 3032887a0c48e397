"""How MNIST's files lie where people have them; what finds them in Python and in R goes through
this one list."""

from __future__ import annotations

import gzip
import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np

__all__ = ["LAYOUTS", "OTHERS", "Layout"]


@dataclass(frozen=True)
class Layout:
    """One of them.

    Attributes:
        files: The folder in which the files lie, below a folder of their own.
        given: The folder that PYVAE_DATA or --data names.
        ending: `-idx`, or `.idx` as some mirrors have it; `.gz` after that where the files are
            compressed, `(gz)` where that is not seen from their names.
        dataset: What is asked for, as torchvision calls it.
    """

    files: str
    given: str = "."
    ending: str = "-idx"
    dataset: str = "MNIST"

    def __str__(self) -> str:
        return f"{self.dataset} {self.files} from {self.given}, {self.ending}"

    def write(self, root: Path) -> np.ndarray:
        """Writes the four files; returns the pixels of the training images, (5, 784)."""
        rng = np.random.default_rng(5)
        training = rng.integers(0, 256, (5, 28, 28), dtype=np.uint8)
        folder = root / self.files
        folder.mkdir(parents=True, exist_ok=True)
        (root / self.given).mkdir(parents=True, exist_ok=True)
        for part in ("train", "t10k"):
            images = training if part == "train" else training[:2]
            labels = np.arange(len(images), dtype=np.uint8)
            for name, values in (("images-idx3", images), ("labels-idx1", labels)):
                file = f"{part}-{name}-ubyte".replace("-idx", self.ending[:4])
                head = struct.pack(f">4B{values.ndim}I", 0, 0, 8, values.ndim, *values.shape)
                content = head + values.tobytes()
                if "gz" in self.ending:
                    content = gzip.compress(content)
                file += ".gz" if self.ending.endswith(".gz") else ""
                (folder / file).write_bytes(content)
        return training.reshape(5, 784)


LAYOUTS = [
    *(
        Layout(f"{dataset}/raw", given, dataset=dataset)
        for dataset in ("MNIST", "FashionMNIST", "KMNIST")
        for given in (".", dataset, f"{dataset}/raw")
    ),
    Layout("MNIST", "."),
    Layout("flat", "flat"),
    Layout("flat", "flat", dataset="KMNIST"),  # it is taken as what it is asked for
    Layout("data/fashion", "data/fashion", ".idx.gz", "FashionMNIST"),
    Layout("MNIST/raw", ".", "-idx.gz"),
    Layout("MNIST/raw", "MNIST/raw", "-idx(gz)"),
    Layout("flat", "flat", ".idx"),
    Layout("f ü 日本", "f ü 日本", ".idx.gz"),
]
OTHERS = [  # in which what is asked for is not
    Layout("FashionMNIST/raw", "FashionMNIST/raw"),
    Layout("FashionMNIST/raw", "FashionMNIST"),
    Layout("data/fashion", "data/fashion"),
    Layout("fashion-mnist", "fashion-mnist", "-idx.gz"),
    Layout("MNIST/raw", "MNIST/raw", dataset="FashionMNIST"),
    Layout("kmnist", "kmnist", ".idx"),
    Layout("FashionMNIST/raw"),
    Layout("a/MNIST/raw"),
    Layout("flat", "flat", "_idx"),
]
