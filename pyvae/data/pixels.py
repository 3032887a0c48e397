"""Converts arrays of images and labels to pixels and classes; refuses what is ambiguous.

Integers are grey levels from 0 to 255, floats are shares of white from 0 to 1, booleans are black
and white. Integers with a largest value of 1 could be either, and are refused. Every refusal says
how to convert the array.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pyvae.errors import UserError

__all__ = ["DIGITS", "EXPECTED", "as_labels", "as_pixels", "expected_images"]

DIGITS = (1, 28, 28)
VALUES = "integers from 0 to 255, booleans or floats in [0, 1]"
EXPECTED = f"`images` (N, 28, 28) or (N, 784), {VALUES}"
MOST_CLASSES = 10_000


class _RefusedError(Exception):
    """What is wrong with an array, and the code that corrects it; `{}` stands for the array."""

    def __init__(self, given: str, expected: str, code: str = "", hint: str = "") -> None:
        super().__init__(given)
        self.given, self.expected, self.code, self.hint = given, expected, code, hint


def expected_images(shape: tuple[int, ...]) -> str:
    """The arrays that are images of a shape (channels, height, width), in words.

    Example:
        >>> expected_images((3, 32, 32)).partition(", integers")[0]
        '`images` (N, 3, 32, 32), (N, 32, 32, 3) or (N, 3072)'
    """
    *most, last = [str((0, *size)).replace("(0,", "(N,") for size in _sizes(shape)]
    return f"`images` {', '.join(most)} or {last}, {VALUES}"


def _sizes(shape: tuple[int, ...]) -> list[tuple[int, ...]]:
    """What one image may look like, without axes of length 1; channels first, before channels
    last, before all numbers in a row."""
    channels, *plane = shape
    orders = [_without_ones(shape), _without_ones((*plane, channels)), (math.prod(shape),)]
    return list(dict.fromkeys(orders))


def as_pixels(
    images: NDArray,
    path: Path,
    name: str,
    labels: str | None = None,
    shape: tuple[int, ...] = DIGITS,
) -> Tensor:
    """Converts images to pixels (N, P), uint8 (0 to 255) or floats in [0, 1]: P is 784 for images
    of 28x28; channel, row and column of an image vary in this order.

    Arguments:
        images: (N, 28, 28) or (N, 784), or what `expected_images` says of another shape; further
            axes of length 1, such as that of channels, are dropped.
        path: The file, for errors.
        name: The array's name in the file; empty if the file is a single array.
        labels: The name of its labels, if it has any.
        shape: What an image is to be: (channels, height, width).

    Raises:
        UserError: If they are not such images.
    """
    try:
        _check_shape(images.shape, images.dtype, shape)
        if _without_ones(images.shape[1:]) in _sizes(shape)[1:-1]:  # channels last
            images = np.moveaxis(images.reshape(-1, *shape[1:], shape[0]), -1, 1)
        values = _as_greys(images, expected_images(shape))
    except _RefusedError as error:
        other = f", labels={_code(labels)}" if labels is not None else ""
        code = error.code and f"images={error.code.format(_code(name))}{other}"
        raise _user_error(path, error, code) from None
    return torch.from_numpy(values.reshape(len(values), math.prod(shape)))


def as_labels(labels: NDArray, images: int, path: Path, name: str, own: str) -> Tensor:
    """Converts labels to classes (N,), int64.

    Arguments:
        labels: Whole numbers of any type, (N,) or (N, 1), or one-hot (N, K).
        images: The number of images, N.
        path: The file, for errors.
        name: The name of the images in the file.
        own: The name of the labels in the file.

    Raises:
        UserError: If they are not such labels.
    """
    try:
        return torch.from_numpy(_as_classes(labels, images))
    except _RefusedError as error:
        code = error.code and f"images={_code(name)}, labels={error.code.format(_code(own))}"
        raise _user_error(path, error, code) from None


def _code(name: str | None) -> str:
    return f"a[{name!r}]" if name else "a"


def _user_error(path: Path, error: _RefusedError, code: str) -> UserError:
    line = f"a = np.load({str(path)!r}); np.savez('converted.npz', {code})"
    how = f"to convert it, run `{line}` in Python" if code else ""
    remedy = "; ".join(part for part in (error.hint, how) if part)
    return UserError(f"data file '{path}': {error.given}", remedy, expected=error.expected)


def _check_shape(shape: tuple[int, ...], dtype: np.dtype, wanted: tuple[int, ...]) -> None:
    size, sizes, expected = _without_ones(shape[1:]), _sizes(wanted), expected_images(wanted)
    if size in sizes:
        if not shape[0]:
            raise _RefusedError("the array of images is empty", expected)
        return
    code = ""
    if wanted != DIGITS:
        raise _RefusedError(f"images of shape {shape}", expected)
    if _without_ones(shape) in sizes:  # one image
        code = "{}.reshape(1, 28, 28)"
    elif shape[:2] == (28, 28):
        code = "np.moveaxis({}, -1, 0)" if len(shape) == 3 else ""
    elif len(shape) == 2 and shape[0] == 784:
        code = "{}.T"
    elif len(shape) == 4 and shape[1:3] == (28, 28) and shape[3] in (3, 4):
        code = "{}[..., :3].mean(axis=-1)" + (".astype('uint8')" if dtype.kind in "iu" else "")
    elif len(shape) == 4 and shape[2:] == (28, 28) and shape[1] in (3, 4):
        code = "{}[:, :3].mean(axis=1)" + (".astype('uint8')" if dtype.kind in "iu" else "")
    raise _RefusedError(f"images of shape {shape}", expected, code)


def _without_ones(shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(length for length in shape if length != 1)


def _as_greys(images: NDArray, expected: str) -> NDArray:
    """Converts to uint8 or to floats in [0, 1], in row-major order and native byte order."""
    kind = images.dtype.kind
    if kind == "b":
        return np.ascontiguousarray(images).view(np.uint8) * np.uint8(255)
    if kind in "iu":
        low, high = int(images.min()), int(images.max())
        if low < 0 or high > 255:
            code = "{0} / {0}.max()" if low >= 0 else ""
            raise _out_of_range(images, 0, 255, "integers from 0 to 255", code)
        if high == 1:
            raise _RefusedError(
                f"images of type {images.dtype} with a largest value of 1, which is either white "
                "or nearly black",
                "integers from 0 to 255, or booleans for black and white",
                "{} > 0",
            )
        return np.ascontiguousarray(images, np.uint8)
    if kind != "f":
        code = "{}.real" if kind == "c" else "{}.astype(float)" if kind in "US" else ""
        raise _RefusedError(f"images of type {images.dtype}", expected, code)
    ends = float(images.min()), float(images.max())
    if not (ends[0] >= 0 and ends[1] <= 1):
        raise _out_of_range(images, 0, 1, "floats in [0, 1]", *_rescaled(*ends))
    return np.ascontiguousarray(images, np.float32 if images.dtype.itemsize <= 4 else np.float64)


def _rescaled(low: float, high: float) -> tuple[str, str]:
    """Returns the code that brings floats of a common range into [0, 1], and a hint; else empty."""
    if low >= -0.01 and high <= 1.01:
        return "{}.clip(0, 1)", ""
    if low >= -1.01 and high <= 1.01:
        return "(({} + 1) / 2).clip(0, 1)", "if they were normalised to [-1, 1], undo it"
    if low >= -2.55 and 2 <= high <= 257.55:
        clipped = "({} / 255).clip(0, 1)" if low < 0 or high > 255 else "{} / 255"
        return clipped, "divide by 255 first"
    return "", ""


def _out_of_range(
    images: NDArray, least: int, most: int, expected: str, code: str, hint: str = ""
) -> _RefusedError:
    """Makes the error for pixels out of range; names the first and counts them."""
    if np.isnan(images.min()):
        wrong = np.isnan(images)
        place = _place(wrong)
        return _RefusedError(f"{wrong.sum()} NaN among the pixels, the first at {place}", expected)
    wrong = images >= least
    np.logical_and(wrong, images <= most, out=wrong)
    np.logical_not(wrong, out=wrong)
    place = _place(wrong)
    value = f"{images[place]:.15g}" if images.dtype.kind == "f" else f"{images[place]}"
    return _RefusedError(
        f"pixels from {images.min():.7g} to {images.max():.7g}; {wrong.sum()} of them are out of "
        f"range, the first is {value} at {place}",
        expected,
        code,
        hint,
    )


def _place(wrong: NDArray) -> tuple[int, ...]:
    return tuple(int(at) for at in np.unravel_index(int(wrong.argmax()), wrong.shape))


def _as_classes(labels: NDArray, images: int) -> NDArray[np.int64]:
    if labels.dtype.kind not in "biuf":
        code = "{}.astype(int)" if labels.dtype.kind in "US" else ""
        raise _RefusedError(f"labels of type {labels.dtype}", "whole numbers", code)
    one_hot = labels.ndim == 2 and labels.shape[1] > 1
    if labels.shape[:1] != (images,) or not (labels.shape[1:] in {(), (1,)} or one_hot):
        raise _RefusedError(
            f"labels of shape {labels.shape}", f"one label for each image: ({images},)"
        )
    if one_hot:
        return _from_one_hot(labels)
    labels = labels.reshape(images)
    low, high = labels.min(), labels.max()
    if not (low >= 0 and high < MOST_CLASSES):
        raise _RefusedError(f"labels from {low} to {high}", f"classes, 0 to {MOST_CLASSES - 1}")
    classes = labels.astype(np.int64)
    if labels.dtype.kind == "f" and (classes != labels).any():
        at = int((classes != labels).argmax())
        raise _RefusedError(f"label {at} is {labels[at]:.15g}", "whole numbers", "{}.round()")
    return classes


def _from_one_hot(labels: NDArray) -> NDArray[np.int64]:
    """Returns the column of the single 1 in each row."""
    ones = labels == 1
    right = ones.sum(axis=1) == 1
    np.logical_and(right, np.count_nonzero(labels, axis=1) == 1, out=right)
    if not right.all():
        at = int(right.argmin())
        raise _RefusedError(
            f"labels of shape {labels.shape}, but row {at} is not a single 1 among zeros",
            f"one label for each image, ({len(labels)},), or one-hot",
            "{}.argmax(axis=1)",
        )
    return ones.argmax(axis=1).astype(np.int64)
