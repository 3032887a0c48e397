"""Reading MNIST's IDX files in base R."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from written_files.mnist_layouts import LAYOUTS, OTHERS

from pyvae.data.images import ImageData
from r_bridge import R_FILES
from r_bridge.errors import RError
from r_bridge.process.client import RProcess

pytestmark = pytest.mark.r

NAME = "train-images-idx3-ubyte"
READ = """
read_batch <- function(folder, chosen, dataset) {
  dataset <- if (nzchar(dataset)) dataset
  idx_batch(read_idx_images(find_idx_images(folder, dataset)), chosen)
}
NULL
"""


@pytest.fixture(scope="module")
def r():
    with RProcess(sources=(R_FILES.parent / "rpackage" / "R" / "idx.R",)) as process:
        process.evaluate(READ)
        yield process


@pytest.fixture
def pixels():
    return np.random.default_rng(5).integers(0, 256, (6, 784), dtype=np.uint8)


def idx(pixels, side=28, magic=(0, 0, 8, 3)) -> bytes:
    """Images (N, side * side) as an IDX file."""
    return struct.pack(">4B3I", *magic, len(pixels), side, side) + pixels.tobytes()


def write(folder: Path, content: bytes, layout: str = ".", ending: str = "") -> Path:
    path = folder / layout / (NAME + ending)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def read(r, folder, chosen, dataset=None):
    chosen = np.array(chosen, np.int32)
    return r.call("read_batch", folder=str(folder), chosen=chosen, dataset=dataset or "")


@pytest.mark.parametrize("layout", LAYOUTS, ids=str)
def test_images_are_read_row_by_row_in_the_order_chosen(r, tmp_path, layout):
    pixels = layout.write(tmp_path)
    for dataset in (layout.dataset, None):
        x = read(r, tmp_path / layout.given, [3, 1, 5], dataset)
        assert np.array_equal(x, pixels[[2, 0, 4]] / 255)


@pytest.mark.parametrize("layout", OTHERS, ids=str)
def test_another_data_set_is_not_taken_for_it(r, tmp_path, layout):
    layout.write(tmp_path)
    with pytest.raises(RError, match=f"has no {NAME}; expected .* of {layout.dataset}, "):
        read(r, tmp_path / layout.given, [1], layout.dataset)


def test_one_image_is_a_matrix_too(r, pixels, tmp_path):
    write(tmp_path, idx(pixels))
    assert read(r, tmp_path, [2]).shape == (1, 784)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_every_grey_is_pythons_to_the_bit(r, tmp_path, dtype):
    greys = np.arange(784, dtype=np.int64).astype(np.uint8).reshape(1, 784)
    write(tmp_path, idx(greys))
    ours = ImageData("greys", torch.from_numpy(greys), None, "").batch(np.array([0]), dtype)
    assert np.array_equal(read(r, tmp_path, [1]).astype(ours.numpy().dtype), ours.numpy())


def test_a_path_with_spaces_and_letters_beyond_ascii(r, pixels, tmp_path):
    folder = tmp_path / "d ü 100%d"
    write(folder, idx(pixels))
    assert np.array_equal(read(r, folder, [1]), pixels[:1] / 255)


DAMAGED = {
    "empty": (lambda whole: b"", "damaged: it does not begin as an IDX file of images"),
    "text": (lambda whole: b"<html>no such file</html>", "does not begin as an IDX file of images"),
    "labels": (
        lambda whole: b"\0\0\x08\x01" + whole[4:],
        "does not begin as an IDX file of images",
    ),
    "head cut": (lambda whole: whole[:9], "damaged: it ends after 9 bytes"),
    "cut": (lambda whole: whole[:-1], "it holds 4719 bytes where its header promises 4720"),
    "longer": (lambda whole: whole + b"x", "it holds 4721 bytes where its header promises 4720"),
    "huge": (lambda whole: whole[:4] + b"\xff" * 12 + whole[16:], "promises 792281624589"),
}


@pytest.mark.parametrize("case", DAMAGED)
def test_a_damaged_file_is_told(r, pixels, tmp_path, case):
    damage, words = DAMAGED[case]
    path = write(tmp_path, damage(idx(pixels)))
    with pytest.raises(RError) as error:
        read(r, tmp_path, [1])
    assert f"data file '{path}' is damaged: " in str(error.value)
    assert words in str(error.value)
    assert "expected the original file; get it again" in str(error.value)


@pytest.mark.parametrize("kept", [20, 2000, -6])
def test_a_compressed_file_that_is_cut_off_is_told_once(r, pixels, tmp_path, kept):
    path = write(tmp_path, gzip.compress(idx(pixels))[:kept], ending=".gz")
    with pytest.raises(RError) as error:
        read(r, tmp_path, [1])
    assert str(error.value).count(f"data file '{path}' ") == 1
    assert "expected the original file; get it again" in str(error.value)


@pytest.mark.parametrize(
    ("images", "held"), [(6, 4721), (2**31, 16 + 2**26)], ids=["all that follows", "the promise"]
)
def test_no_more_is_unpacked_than_is_promised_and_sensible(r, tmp_path, images, held):
    content = struct.pack(">4B3I", 0, 0, 8, 3, images, 28, 28) + bytes(2**26 + 2**20)
    write(tmp_path, gzip.compress(content, 1), ending=".gz")
    promised = 16 + 784 * images
    with pytest.raises(RError, match=f"it holds {held} bytes where its header promises {promised}"):
        read(r, tmp_path, [1])


def test_images_of_another_size_are_told(r, tmp_path):
    write(tmp_path, idx(np.zeros((2, 1024), np.uint8), side=32))
    with pytest.raises(RError, match=r"has images of 32 x 32 pixels; expected 28 x 28"):
        read(r, tmp_path, [1])


def test_what_is_not_there_is_told(r, tmp_path):
    with pytest.raises(RError, match=rf"'{tmp_path}' has no {NAME}; expected .* MNIST/raw"):
        read(r, tmp_path, [1])
    (tmp_path / NAME).mkdir()  # a folder of that name is none
    with pytest.raises(RError, match=f"has no {NAME}"):
        read(r, tmp_path, [1])
    with pytest.raises(RError, match="none' is no folder; expected a folder with"):
        read(r, tmp_path / "none", [1])
