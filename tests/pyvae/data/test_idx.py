from __future__ import annotations

import gzip
import re
import struct
from pathlib import Path

import numpy as np
import pytest
from written_files.mnist_layouts import LAYOUTS, OTHERS

from pyvae.data.idx import read_idx
from pyvae.data.mnist import DownloadError, load_mnist_family
from pyvae.errors import UserError


@pytest.mark.parametrize("layout", LAYOUTS, ids=str)
def test_files_are_found_in_every_common_layout(tmp_path, layout, monkeypatch):
    pixels = layout.write(tmp_path)
    images, labels = load_mnist_family(layout.dataset, tmp_path / layout.given)
    assert np.array_equal(images, pixels)
    assert labels.tolist() == list(range(5))
    assert len(load_mnist_family(layout.dataset, tmp_path / layout.given, train=False)[0]) == 2
    monkeypatch.chdir(tmp_path / layout.given)
    assert len(load_mnist_family(layout.dataset, Path())[0]) == 5


@pytest.mark.parametrize("layout", OTHERS, ids=str)
def test_another_data_set_is_not_taken_for_it(tmp_path, layout):
    layout.write(tmp_path)
    with pytest.raises(DownloadError):
        load_mnist_family(layout.dataset, tmp_path / layout.given)


def test_images_alone_have_no_labels(tmp_path, write_family):
    write_family(tmp_path, "MNIST")
    (tmp_path / "MNIST" / "raw" / "train-labels-idx1-ubyte").unlink()
    images, labels = load_mnist_family("MNIST", tmp_path)
    assert (len(images), labels) == (30, None)


HEAD = struct.pack(">4B3I", 0, 0, 8, 3, 2, 28, 28)
PACKED = gzip.compress(HEAD + bytes(1568))
HUGE = struct.pack(">4B3I", 0, 0, 8, 3, 2**20, 28, 28)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        pytest.param(PACKED[:9], "ended before", id="head cut"),
        pytest.param(PACKED[:-9], "ended before", id="cut"),
        pytest.param(gzip.compress(HEAD + bytes(1567)), "it ends after 1567 of 1568", id="short"),
        pytest.param(gzip.compress(HEAD + bytes(1569)), "more bytes than the 1584", id="long"),
        pytest.param(PACKED + PACKED, "more bytes than the 1584", id="twice"),
        pytest.param(PACKED[:-8] + b"\0\0\0\0" + PACKED[-4:], "CRC", id="checksum"),
        pytest.param(PACKED[:10] + b"\xff" * 20 + PACKED[30:], "decompressing", id="spoiled"),
        pytest.param(gzip.compress(HUGE), "over 200 times the file's size", id="promises"),
        pytest.param(gzip.compress(PACKED), "it is not an IDX file of bytes", id="packed twice"),
    ],
)
def test_a_damaged_compressed_file_is_refused(tmp_path, content, said):
    path = tmp_path / "train-images-idx3-ubyte.gz"
    path.write_bytes(content)
    with pytest.raises(UserError, match=re.escape(f"'{path}' is damaged")) as error:
        read_idx(path)
    assert said in str(error.value)
