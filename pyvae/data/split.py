"""Splits images into those that are trained on and those that are held out."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from pyvae.data.images import ImageData
from pyvae.errors import UserError

__all__ = ["Split", "hold_out"]


class Split(NamedTuple):
    """Images in two parts.

    Attributes:
        train: To train on.
        held_out: The others.
        rows: Where the held out ones are among all images, in rising order, from 0.
    """

    train: ImageData
    held_out: ImageData
    rows: NDArray[np.int64]


def hold_out(data: ImageData, share: float, seed: int = 0) -> Split:
    """Holds a share of the images out, chosen at random; both parts keep the order of the images.

    Arguments:
        data: All images.
        share: How much is held out, between 0 and 1.
        seed: Which images are held out follows from it and from their number alone.

    Raises:
        UserError: If the share is not between 0 and 1, or leaves one of the parts empty.

    Example:
        >>> from pyvae import load_data
        >>> split = hold_out(load_data("digits"), 0.1)
        >>> len(split.train), len(split.held_out)
        (1617, 180)
    """
    if not 0 < share < 1:
        raise UserError(f"validation {share:g}", expected="a share above 0 and below 1")
    held = round(share * len(data))
    if not 0 < held < len(data):
        part = "none" if held == 0 else "all"
        raise UserError(
            f"validation {share:g}: of {len(data)} images that is {part}",
            "give more images, or another share",
        )
    order = np.random.Generator(np.random.Philox(seed)).permutation(len(data))
    percent = f"{100 * share:g} %"
    words = f"without {percent} chosen at random", f"{percent} chosen at random"
    chosen = np.sort(order[held:]), np.sort(order[:held])
    train, held_out = (_rows(data, rows, how) for rows, how in zip(chosen, words, strict=True))
    return Split(train, held_out, chosen[1])


def _rows(data: ImageData, rows: NDArray[np.int64], words: str) -> ImageData:
    index = torch.from_numpy(rows)
    return replace(
        data,
        pixels=data.pixels[index],
        labels=None if data.labels is None else data.labels[index],
        source=f"{data.source}, {words}",
    )
