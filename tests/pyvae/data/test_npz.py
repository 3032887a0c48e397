from __future__ import annotations

import re
import tracemalloc
import zipfile

import numpy as np
import pytest
import torch

from pyvae.data.images import load_data
from pyvae.data.npz import load_arrays, load_test_arrays
from pyvae.errors import UserError
from pyvae.files.reading import MEMORY_BASE, MEMORY_TIMES

N = 6
RNG = np.random.default_rng(1)
BYTES = RNG.integers(0, 256, (N, 28, 28), dtype=np.uint8)
FLOATS = RNG.uniform(0, 1, (N, 784))


@pytest.fixture
def path(tmp_path):
    return tmp_path / "mine.npz"


@pytest.mark.parametrize("shape", [(N, 28, 28), (N, 784)])
@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64])
@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_images_are_read_as_they_were_written(path, shape, dtype, save):
    images = (BYTES if dtype == np.uint8 else FLOATS.astype(dtype)).reshape(shape)
    save(path, images=np.asfortranarray(images), labels=np.arange(N, dtype=np.int32))
    pixels, labels = load_arrays(path)
    assert np.array_equal(pixels.numpy(), images.reshape(N, 784))
    assert pixels.numpy().dtype == dtype
    assert labels.tolist() == list(range(N))
    assert labels.dtype == torch.int64


def test_the_ends_of_the_range_are_in_it(path):
    images = np.tile([0.0, 1.0], (N, 392))
    np.savez(path, images=images)
    assert np.array_equal(load_arrays(path)[0], images)


def test_labels_may_be_absent(path):
    np.savez(path, images=BYTES)
    data = load_data(str(path))
    assert data.labels is None
    assert data.name == "mine.npz"
    assert len(data) == N


LABELS = np.arange(N, dtype=np.uint8)[:, None]


@pytest.mark.parametrize(
    ("arrays", "labelled"),
    [
        pytest.param({"anything": BYTES}, False, id="one array"),
        pytest.param({"arr_0": BYTES}, False, id="unnamed"),
        pytest.param({"images": BYTES, "labels": LABELS, "more": BYTES[:2]}, True, id="own"),
        pytest.param(
            {"x_train": BYTES, "y_train": LABELS, "x_test": BYTES[:2], "y_test": LABELS[:2]},
            True,
            id="keras",
        ),
        pytest.param(
            {"test_images": BYTES[:2], "train_images": BYTES, "train_labels": LABELS},
            True,
            id="MedMNIST",
        ),
        pytest.param({"X_train": BYTES, "Y_train": LABELS}, True, id="large letters"),
    ],
)
def test_arrays_are_known_by_the_names_that_people_give_them(path, arrays, labelled):
    np.savez(path, **arrays)
    pixels, labels = load_arrays(path)
    assert np.array_equal(pixels, BYTES.reshape(N, 784))
    assert (None if labels is None else labels.tolist()) == ([*range(N)] if labelled else None)
    test = load_test_arrays(path)
    assert (test is not None) == any("test" in name for name in arrays)
    if test is not None:
        assert np.array_equal(test[0], BYTES[:2].reshape(2, 784))


def test_one_array_is_read_from_an_npy_file(tmp_path):
    np.save(tmp_path / "mine.npy", np.asfortranarray(BYTES))
    data = load_data(str(tmp_path / "mine.npy"))
    assert np.array_equal(data.pixels, BYTES.reshape(N, 784))
    assert data.labels is None
    (tmp_path / "mine.npy").rename(tmp_path / "MINE.NPY")
    assert load_data(str(tmp_path / "MINE.NPY")).checksum == data.checksum
    (tmp_path / "MINE.NPY").write_bytes((tmp_path / "MINE.NPY").read_bytes()[:-1])
    with pytest.raises(UserError, match=r"cannot be read .*MINE.NPY has 4703 bytes, but .* 4704"):
        load_data(str(tmp_path / "MINE.NPY"))


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        pytest.param(
            {"pictures": BYTES, "more": BYTES},
            "holds the arrays pictures, more: expected `images`",
            id="two",
        ),
        pytest.param({}, "holds no arrays", id="empty"),
        pytest.param(
            {"images": np.array([{"a": 1}] * N, dtype=object)},
            "images.npy holds Python objects, which pyvae never unpickles. Save it as numbers:",
            id="objects",
        ),
        pytest.param(
            {"images": BYTES, "labels": np.array([None] * N)},
            "labels.npy holds Python objects, which pyvae never unpickles",
            id="objects for labels",
        ),
    ],
)
def test_anything_else_is_refused_saying_what_it_is(path, arrays, said):
    np.savez(path, **arrays)
    with pytest.raises(UserError, match=re.escape(f"'{path}'")) as error:
        load_arrays(path)
    assert said in str(error.value)


@pytest.mark.parametrize(
    ("dtype", "order", "save"),
    [
        (bool, "C", np.savez),
        (np.int8, "F", np.savez_compressed),
        (">u2", "C", np.savez_compressed),
        (np.int64, "F", np.savez),
        (np.float16, "F", np.savez_compressed),
        (">f8", "C", np.savez),
    ],
)
def test_reading_keeps_the_rule_on_memory_in_every_type_and_order(path, dtype, order, save):
    grey = 100 if np.dtype(dtype).kind in "iu" else 1
    images = np.asarray(RNG.integers(0, 2, (2000, 28, 28)) * grey, dtype, order=order)
    save(path, images=images, labels=np.zeros(2000, int))
    tracemalloc.start()
    load_arrays(path)
    taken = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert taken <= MEMORY_TIMES["npz"] * images.nbytes + MEMORY_BASE
    assert taken >= images.nbytes  # it was measured


def test_an_absent_file_is_refused(path):
    with pytest.raises(UserError, match="does not exist"):
        load_arrays(path)
    path.mkdir()
    with pytest.raises(UserError, match="does not exist"):
        load_arrays(path)


@pytest.mark.parametrize("kept", [0, 10, 0.5, -1])
def test_a_file_cut_short_is_refused(path, kept):
    np.savez_compressed(path, images=BYTES)
    whole = path.read_bytes()
    path.write_bytes(whole[: kept if isinstance(kept, int) else int(kept * len(whole))])
    with pytest.raises(UserError, match="cannot be read"):
        load_arrays(path)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_a_file_with_a_changed_byte_is_refused(path, save):
    save(path, images=BYTES)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(UserError, match="cannot be read"):
        load_arrays(path)


@pytest.mark.parametrize("content", [b"hello", b"PK\x03\x04", b"\x80\x04K\x01.", bytes(500)])
def test_a_file_that_is_not_a_zip_archive_is_refused(path, content):
    path.write_bytes(content)
    with pytest.raises(UserError, match="cannot be read"):
        load_arrays(path)


def test_an_npy_file_under_this_name_is_refused(path):
    with path.open("wb") as file:
        np.save(file, BYTES)
    with pytest.raises(UserError):
        load_arrays(path)


def test_a_member_that_is_not_an_array_is_refused(path):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("images.npy", b"hello")
    with pytest.raises(UserError):
        load_arrays(path)
