"""Stateless random draws: those of step k follow from (seed, k) alone.

Every engine, process and resumed run gets the same draws without storing them. Each draw has
a generator of its own, Philox keyed by (seed, name, k) through
`numpy.random.SeedSequence`: Salmon, Moraes, Dror & Shaw (2011), "Parallel random numbers: as
easy as 1, 2, 3", SC11.

Initial parameters are the exception: PyTorch's own initialisers draw them after
`torch.manual_seed(seed)` (see `pyvae.model.recipe.Recipe.initial_parameters`).
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Draw", "Draws", "Gumbel", "Keep", "Normal", "gumbel_of_uniform"]


@dataclass(frozen=True)
class Keep:
    """A dropout mask: True (keep) with probability 1 - p.

    Attributes:
        shape: The shape for one image.
        p: The probability of False (drop).
        rows: The number of images; by default that of the batch.
    """

    shape: tuple[int, ...]
    p: float
    rows: int | None = None


@dataclass(frozen=True)
class Normal:
    """Standard normal noise. `shape` and `rows` as for `Keep`."""

    shape: tuple[int, ...]
    rows: int | None = None


@dataclass(frozen=True)
class Gumbel:
    """Standard Gumbel noise. `shape` and `rows` as for `Keep`."""

    shape: tuple[int, ...]
    rows: int | None = None


Draw = Keep | Normal | Gumbel


def gumbel_of_uniform(u: Any, log: Callable[[Any], Any] = np.log) -> Any:
    r"""Returns Gumbel noise from uniform numbers in [0, 1): :math:`-\log(-\log(u + 10^{-20}))`.

    Jang, Gu & Poole (2017), "Categorical reparameterization with Gumbel-softmax", section 2.1,
    https://arxiv.org/abs/1611.01144; the 1e-20 is from the clustering article.
    """
    return -log(-log(u + 1e-20))


class Draws:
    """All draws of a run.

    Arguments:
        seed: A non-negative integer.
        dtype: The precision of the noise. It is drawn in float64 and rounded: runs in either
            precision see the same noise up to rounding.

    Example:
        >>> draws = Draws(seed=1)
        >>> masks = draws.step(7, 250, {"dropout1": Keep((64, 12, 12), 0.25)})
        >>> masks["dropout1"].shape
        (250, 64, 12, 12)
    """

    def __init__(self, seed: int, dtype: str = "float64") -> None:
        self.seed = seed
        self.dtype = np.dtype(dtype)

    def _generator(self, name: str, index: int) -> np.random.Generator:
        key = np.random.SeedSequence(self.seed, spawn_key=(zlib.crc32(name.encode()), index))
        return np.random.Generator(np.random.Philox(key))

    def batch_order(self, epoch: int, images: int) -> NDArray[np.int64]:
        """Returns the order in which an epoch visits the images, a permutation of range(images)."""
        return self._generator("batch order", epoch).permutation(images)

    def permutation(self, name: str, number: int) -> NDArray[np.int64]:
        """Returns a permutation of range(number), the same at every call."""
        return self._generator(name, 0).permutation(number)

    def normal(self, name: str, index: int, shape: tuple[int, ...]) -> NDArray[np.floating]:
        """Returns standard normal noise."""
        return self._generator(name, index).standard_normal(shape).astype(self.dtype)

    def keep(self, name: str, index: int, shape: tuple[int, ...], p: float) -> NDArray[np.bool_]:
        """Returns a dropout mask: True with probability 1 - p.

        If p is a multiple of 1/256, one random byte per element is enough, and exact. Otherwise 32
        bits per element put the probability within 2^-32 of 1 - p.
        """
        count = math.prod(shape)
        if float(256 * p).is_integer():
            bits = self._bits(name, index, count, np.uint8)
            drop = 256 * p
        else:
            bits = self._bits(name, index, count, np.uint32)
            drop = round(2**32 * p)
        return (bits >= drop).reshape(shape)

    def _bits(self, name: str, index: int, count: int, kind: type[np.unsignedinteger]) -> NDArray:
        """Returns the numbers that `Generator.bytes` gives, 4 times faster."""
        words = -(-count * np.dtype(kind).itemsize // 8)
        raw = self._generator(name, index).bit_generator.random_raw(words)
        return raw.astype("<u8", copy=False).view(kind)[:count]

    def step(self, step: int, batch_size: int, spec: Mapping[str, Draw]) -> dict[str, NDArray]:
        """Returns the draws of one training step.

        Arguments:
            step: The step, counted from 0 over the whole run.
            batch_size: Images in the batch, B.
            spec: What to draw for each image, by name.

        Returns:
            For each name an array of shape (B, *shape): bool for `Keep`, floats for the others.
        """
        drawn: dict[str, NDArray] = {}
        for name, kind in spec.items():
            shape = (kind.rows or batch_size, *kind.shape)
            if isinstance(kind, Keep):
                drawn[name] = self.keep(name, step, shape, kind.p)
            elif isinstance(kind, Gumbel):
                uniform = self._generator(name, step).random(shape)
                drawn[name] = gumbel_of_uniform(uniform).astype(self.dtype)
            else:
                drawn[name] = self.normal(name, step, shape)
        return drawn
