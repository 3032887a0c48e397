"""What two masks of dropout have to do with each other."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

__all__ = ["other_mask"]

FEWEST = 40  # elements, of which a share is told
FAR = 5  # deviations: shares that far apart are no chance


def other_mask(names: tuple[str, str], a: NDArray, b: NDArray) -> Iterator[str]:
    """Says what one mask is of the other: inverted, of whole channels, of another share.

    Arguments:
        names: Of the two sides.
        a, b: Masks of one shape: 0 and 1.
    """
    x, y = a.astype(bool), b.astype(bool)
    if x.any() and not x.all() and np.array_equal(x, ~y):
        yield f"{names[1]}'s mask is {names[0]}'s inverted: it drops what is to be kept"
        return
    if x.ndim > 2:
        whole = [_in_channels(mask) for mask in (x, y)]
        if whole[0] != whole[1]:
            side = whole.index(True)
            yield f"{names[side]} drops whole channels, {names[1 - side]} single elements"
            return
    if x.ndim > 1:
        shared = [bool((mask == mask[:1]).all()) and not mask.all() for mask in (x, y)]
        if shared[0] != shared[1]:
            yield f"{names[shared.index(True)]} has one mask for all rows"
            return
    if x.size < FEWEST:
        return
    shares = [float((~mask).mean()) for mask in (x, y)]
    middle = sum(shares) / 2
    if abs(shares[0] - shares[1]) > FAR * np.sqrt(2 * middle * (1 - middle) / x.size):
        yield (
            f"{names[1]} drops {shares[1]:.0%}, {names[0]} {shares[0]:.0%}: another rate"
            + (", or what it keeps" if abs(sum(shares) - 1) < 0.05 else "")
        )


def _in_channels(mask: NDArray) -> bool:
    """Whether each channel is kept whole or dropped whole, and some are of both."""
    flat = mask.reshape(*mask.shape[:2], -1)
    if flat.shape[2] < 2:
        return False
    whole = (flat == flat[:, :, :1]).all()
    return bool(whole and flat.any() and not flat.all())
