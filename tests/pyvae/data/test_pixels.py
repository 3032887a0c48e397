from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pyvae.data.npz import load_arrays
from pyvae.data.pixels import EXPECTED, as_pixels, expected_images
from pyvae.errors import UserError

N = 6
RNG = np.random.default_rng(1)
BYTES = RNG.integers(0, 256, (N, 28, 28), dtype=np.uint8)
FLOATS = RNG.uniform(0, 1, (N, 28, 28))
LABELS = np.array([3, 0, 2, 2, 1, 0])
ONE_HOT = np.eye(4)[LABELS]


def with_pixel(value, dtype=np.float64):
    images = FLOATS.astype(dtype)
    images[3, 0, 5] = value
    return images


@pytest.fixture
def path(tmp_path):
    return tmp_path / "mine.npz"


@pytest.mark.parametrize(
    "shape", [(N, 784), (N, 28, 28), (N, 1, 28, 28), (N, 28, 28, 1), (N, 1, 784)]
)
@pytest.mark.parametrize("dtype", ["u1", "i2", ">u2", "i4", ">i8", "u8"])
def test_whole_numbers_of_any_type_are_0_to_255(path, shape, dtype):
    np.savez(path, images=BYTES.reshape(shape).astype(dtype))
    pixels, _ = load_arrays(path)
    assert pixels.dtype == torch.uint8
    assert np.array_equal(pixels, BYTES.reshape(N, 784))


@pytest.mark.parametrize(
    ("dtype", "read"),
    [
        ("f2", torch.float32),
        (">f4", torch.float32),
        ("f8", torch.float64),
        (">f8", torch.float64),
        ("longdouble", torch.float64),
    ],
)
def test_floats_of_any_type_keep_their_values(path, dtype, read):
    images = FLOATS.astype(dtype)
    images[0, 0, :2] = 0, 1
    np.savez(path, images=images)
    pixels, _ = load_arrays(path)
    assert pixels.dtype == read
    assert np.array_equal(pixels.numpy().astype(images.dtype), images.reshape(N, 784))


@pytest.mark.parametrize("order", ["C", "F"])
def test_booleans_are_black_and_white(path, order):
    np.savez(path, images=np.asarray(BYTES > 99, order=order))
    assert np.array_equal(load_arrays(path)[0] / 255, (BYTES > 99).reshape(N, 784))


@pytest.mark.parametrize(
    "labels",
    [
        LABELS.astype("u1")[:, None],
        LABELS.astype(float),
        LABELS.astype(">i4"),
        LABELS.astype("f4")[:, None],
        ONE_HOT,
        ONE_HOT.astype(bool),
        ONE_HOT.astype(">i2"),
    ],
    ids=lambda labels: f"{labels.dtype} {labels.shape}",
)
def test_labels_are_whole_numbers_or_one_hot(path, labels):
    np.savez(path, images=BYTES, labels=labels)
    found = load_arrays(path)[1]
    assert found.dtype == torch.int64
    assert found.tolist() == LABELS.tolist()


COLOUR = BYTES[..., None].repeat(3, axis=-1)
CONVERTED = {  # refused, with a line of Python that makes them what can be read
    "one image": (BYTES[0], "images of shape (28, 28)", BYTES[:1]),
    "last axis": (np.moveaxis(BYTES, 0, -1), "images of shape (28, 28, 6)", BYTES),
    "columns": (BYTES.reshape(N, 784).T, "images of shape (784, 6)", BYTES),
    "colour": (COLOUR, "images of shape (6, 28, 28, 3)", BYTES),
    "colour first": (np.moveaxis(COLOUR, -1, 1), "images of shape (6, 3, 28, 28)", BYTES),
    "0 and 1": ((BYTES > 99).astype("u1"), "largest value of 1, which", (BYTES > 99) * 255),
    "16 bits": (BYTES * np.uint16(257), "pixels from 0 to 65535; 4", BYTES / 255),
    "0 to 255": (BYTES.astype(float), "Divide by 255 first", BYTES / 255),
    "above 255": (BYTES * 1.004, "Divide by 255 first", (BYTES * 1.004 / 255).clip(0, 1)),
    "-1 to 1": (2 * FLOATS - 1, "If they were normalised to [-1, 1], undo it", FLOATS),
    "above 1": (with_pixel(1.001), "is 1.001 at (3, 0, 5)", with_pixel(1)),
    "below 0": (with_pixel(-1e-9), "is -1e-09 at (3, 0, 5)", with_pixel(0)),
    "text": (FLOATS.astype(str), "images of type <U", FLOATS),
}


@pytest.mark.parametrize("case", CONVERTED)
def test_a_convertible_array_is_refused_with_code_that_converts_it(path, case, monkeypatch):
    images, said, meant = CONVERTED[case]
    labels = LABELS[: len(meant)]
    np.savez(path, images=images, labels=labels)
    with pytest.raises(UserError) as error:
        load_arrays(path)
    assert said in str(error.value)
    monkeypatch.chdir(path.parent)
    (line,) = re.findall(r"run `(a = .*)` in Python\.$", str(error.value))
    exec(line, {"np": np})  # noqa: S102 (as the user would)
    pixels, found = load_arrays(path.parent / "converted.npz")
    assert np.allclose(pixels, np.reshape(meant, (-1, 784)), rtol=1e-7)
    assert found.tolist() == labels.tolist()


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        pytest.param({"images": BYTES[:, :27]}, "shape (6, 27, 28)", id="27 rows"),
        pytest.param({"images": np.uint8(3)}, "shape ()", id="a number"),
        pytest.param({"images": BYTES[:0]}, "the array of images is empty", id="none"),
        pytest.param({"images": FLOATS.astype(complex)}, "type complex128", id="complex"),
        pytest.param({"images": -BYTES.astype("i2")}, "of them are out of range", id="negative"),
        pytest.param(
            {"images": with_pixel(np.nan, "f4")},
            "1 NaN among the pixels, the first at (3, 0, 5)",
            id="NaN",
        ),
        pytest.param({"images": with_pixel(1.5)}, "1 of them are out", id="above"),
        pytest.param({"images": with_pixel(np.inf)}, "to inf", id="infinity"),
        pytest.param({"images": BYTES, "labels": np.arange(7)}, "shape (7,)", id="labels"),
        pytest.param({"images": BYTES, "labels": np.int64(1)}, "labels of shape ()", id="a label"),
        pytest.param(
            {"images": BYTES, "labels": LABELS + 0.5 * (LABELS == 2)},
            "label 2 is 2.5: expected whole numbers",
            id="half a label",
        ),
        pytest.param(
            {"images": BYTES, "labels": LABELS * np.nan}, "labels from nan", id="NaN label"
        ),
        pytest.param({"images": BYTES, "labels": LABELS - 1}, "from -1 to 2", id="below 0"),
        pytest.param(
            {"images": BYTES, "labels": 9998 + LABELS}, "from 9998 to 10001: expected", id="10000"
        ),
        pytest.param(
            {"images": BYTES, "labels": np.full(N, 2**64 - 1, "u8")},
            "from 18446744073709551615",
            id="huge",
        ),
        pytest.param(
            {"images": BYTES, "labels": ONE_HOT + np.eye(6, 4)},
            "row 0 is not a single 1 among zeros: expected one label for each image, (6,), or "
            "one-hot. To convert it, run `a = np.load(",
            id="two ones",
        ),
        pytest.param(
            {"images": BYTES, "labels": LABELS.astype(str)}, "a['labels'].astype(int))", id="text"
        ),
    ],
)
def test_anything_else_is_refused_saying_what_it_is(path, arrays, said):
    np.savez(path, **arrays)
    with pytest.raises(UserError, match=re.escape(f"'{path}'")) as error:
        load_arrays(path)
    assert said in str(error.value)


@pytest.mark.parametrize("kind", [np.uint8, np.float32])
@given(
    shape=st.tuples(st.sampled_from([1, 2, 3, 4]), st.integers(2, 7), st.integers(2, 7)),
    images=st.integers(1, 3),
)
def test_images_of_any_shape_are_read_with_channels_first_or_last(kind, shape, images):
    numbers = np.random.default_rng(0).integers(0, 256, (images, *shape)).astype(np.uint8)
    numbers.flat[0] = 200  # not black and white
    expected = numbers if kind is np.uint8 else (numbers / 255).astype(kind)
    last = np.ascontiguousarray(np.moveaxis(expected, 1, -1))
    for form in (expected, last, expected.reshape(images, -1)):
        if form is last and without_ones(last.shape[1:]) == without_ones(shape):
            continue  # it could be either, and is taken for channels first
        read = as_pixels(form, Path("x.npz"), "images", shape=shape)
        assert np.array_equal(read.numpy(), expected.reshape(images, -1))


def without_ones(shape):
    return tuple(length for length in shape if length > 1)


def test_images_of_another_shape_are_refused_saying_which_are_wanted(path):
    with pytest.raises(UserError) as caught:
        as_pixels(np.zeros((4, 28, 28)), path, "images", shape=(3, 32, 32))
    assert str(caught.value) == (
        f"data file '{path}': images of shape (4, 28, 28): expected `images` (N, 3, 32, 32), "
        "(N, 32, 32, 3) or (N, 3072), integers from 0 to 255, booleans or floats in [0, 1]"
    )
    assert expected_images((1, 28, 28)) == EXPECTED
