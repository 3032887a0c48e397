from __future__ import annotations

import re
import tracemalloc
import zipfile

import numpy as np
import pytest
import torch

from pyvae.data import load_data
from pyvae.errors import UserError
from pyvae.npz import load_npz

N = 6
RNG = np.random.default_rng(1)
BYTES = RNG.integers(0, 256, (N, 28, 28), dtype=np.uint8)
FLOATS = RNG.uniform(0, 1, (N, 784))


def with_pixel(value, dtype=np.float64):
    images = FLOATS.astype(dtype)
    images[3, 5] = value
    return images


@pytest.fixture
def path(tmp_path):
    return tmp_path / "mine.npz"


@pytest.mark.parametrize("shape", [(N, 28, 28), (N, 784)])
@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64])
@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_images_are_read_as_they_were_written(path, shape, dtype, save):
    images = (BYTES if dtype == np.uint8 else FLOATS.astype(dtype)).reshape(shape)
    save(path, images=np.asfortranarray(images), labels=np.arange(N, dtype=np.int32))
    pixels, labels = load_npz(path)
    assert np.array_equal(pixels.numpy(), images.reshape(N, 784))
    assert pixels.numpy().dtype == dtype
    assert labels.tolist() == list(range(N))
    assert labels.dtype == torch.int64


def test_the_ends_of_the_range_are_in_it(path):
    images = np.tile([0.0, 1.0], (N, 392))
    np.savez(path, images=images)
    assert np.array_equal(load_npz(path)[0], images)


def test_labels_may_be_absent(path):
    np.savez(path, images=BYTES)
    data = load_data(str(path))
    assert data.labels is None
    assert data.name == "mine.npz"
    assert len(data) == N


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        pytest.param({"pictures": BYTES}, "holds pictures; expected `images`", id="other name"),
        pytest.param({}, "holds nothing", id="empty"),
        pytest.param({"images": BYTES[:, :27]}, "shape (6, 27, 28)", id="27 rows"),
        pytest.param({"images": BYTES[0]}, "shape (28, 28)", id="one image"),
        pytest.param({"images": BYTES[..., None]}, "shape (6, 28, 28, 1)", id="channels"),
        pytest.param({"images": np.uint8(3)}, "shape ()", id="a number"),
        pytest.param({"images": BYTES.astype(np.int64)}, "type int64", id="int64"),
        pytest.param({"images": BYTES > 9}, "type bool", id="bool"),
        pytest.param({"images": FLOATS.astype(np.float16)}, "type float16", id="float16"),
        pytest.param({"images": FLOATS.astype(complex)}, "type complex128", id="complex"),
        pytest.param({"images": FLOATS.astype(str)}, "type <U", id="text"),
        pytest.param(
            {"images": with_pixel(np.nan)}, "1 NaN among the pixels, the first at (3, 5)", id="NaN"
        ),
        pytest.param(
            {"images": with_pixel(np.nan, np.float32).reshape(N, 28, 28)},
            "the first at (3, 0, 5)",
            id="NaN in 3-D",
        ),
        pytest.param({"images": with_pixel(-0.01)}, "pixels from -0.01 to", id="below 0"),
        pytest.param(
            {"images": with_pixel(1.01)}, "to 1.01; expected floats in [0, 1]", id="above"
        ),
        pytest.param({"images": with_pixel(np.inf)}, "to inf", id="infinity"),
        pytest.param({"images": 255 * FLOATS}, "divide by 255", id="0 to 255"),
        pytest.param(
            {"images": BYTES, "labels": np.arange(N + 1)}, "labels of shape (7,)", id="labels"
        ),
        pytest.param({"images": BYTES, "labels": np.int64(1)}, "labels of shape ()", id="a label"),
        pytest.param(
            {"images": BYTES, "labels": np.ones(N)}, "labels of type float64", id="float labels"
        ),
        pytest.param(
            {"images": np.array([{"a": 1}] * N, dtype=object)}, "cannot be read", id="pickle"
        ),
        pytest.param(
            {"images": BYTES, "labels": np.array([None] * N)}, "cannot be read", id="pickled labels"
        ),
    ],
)
def test_anything_else_is_refused_saying_what_it_is(path, arrays, said):
    np.savez(path, **arrays)
    with pytest.raises(UserError, match=re.escape(f"'{path}'")) as error:
        load_npz(path)
    assert said in str(error.value)


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_reading_takes_no_more_than_three_times_the_arrays(path, dtype, order, save):
    images = np.asarray(RNG.integers(0, 2, (4000, 28, 28)), dtype, order=order)
    save(path, images=images, labels=np.zeros(4000, int))
    tracemalloc.start()
    load_npz(path)
    taken = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert taken <= 3 * images.nbytes + 2**20
    assert taken >= images.nbytes  # it was measured


def test_an_absent_file_is_refused(path):
    with pytest.raises(UserError, match="does not exist"):
        load_npz(path)
    path.mkdir()
    with pytest.raises(UserError, match="does not exist"):
        load_npz(path)


@pytest.mark.parametrize("kept", [0, 10, 0.5, -1])
def test_a_file_cut_short_is_refused(path, kept):
    np.savez_compressed(path, images=BYTES)
    whole = path.read_bytes()
    path.write_bytes(whole[: kept if isinstance(kept, int) else int(kept * len(whole))])
    with pytest.raises(UserError, match="cannot be read"):
        load_npz(path)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_a_file_with_a_changed_byte_is_refused(path, save):
    save(path, images=BYTES)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(UserError, match="cannot be read"):
        load_npz(path)


@pytest.mark.parametrize("content", [b"hello", b"PK\x03\x04", b"\x80\x04K\x01.", bytes(500)])
def test_a_file_that_is_no_zip_is_refused(path, content):
    path.write_bytes(content)
    with pytest.raises(UserError, match="cannot be read"):
        load_npz(path)


def test_an_npy_file_under_this_name_is_refused(path):
    with path.open("wb") as file:
        np.save(file, BYTES)
    with pytest.raises(UserError):
        load_npz(path)


def test_a_member_that_is_no_array_is_refused(path):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("images.npy", b"hello")
    with pytest.raises(UserError):
        load_npz(path)
