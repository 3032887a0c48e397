from __future__ import annotations

import http.client
import io
import re
import struct
import urllib.error
import urllib.request
from pathlib import Path

import numpy as np
import pytest
import torchvision.datasets

from pyvae.data import mnist
from pyvae.data.mnist import FILES, DownloadError, is_present, load_mnist_family
from pyvae.errors import UserError

IMAGES, LABELS = "train-images-idx3-ubyte", "train-labels-idx1-ubyte"
every_set = pytest.mark.parametrize("dataset", ["MNIST", "FashionMNIST", "KMNIST"])


@pytest.fixture
def raw(tmp_path, write_family):
    write_family(tmp_path, "MNIST")
    return tmp_path / "MNIST" / "raw"


@pytest.fixture
def online(monkeypatch, tmp_path, write_family):
    """A network that answers, and a download that writes so many of the four files."""

    def connect(files=4, error=None):
        def download(self):
            write_family(tmp_path / "server", type(self).__name__)
            Path(self.raw_folder).mkdir(parents=True)
            for file in FILES[:files]:
                source = tmp_path / "server" / type(self).__name__ / "raw" / file
                (Path(self.raw_folder) / file).write_bytes(source.read_bytes())
            if error is not None:
                raise error

        monkeypatch.setattr(urllib.request, "urlopen", lambda *args, **options: io.BytesIO())
        monkeypatch.setattr(torchvision.datasets.MNIST, "download", download)

    return connect


@every_set
def test_presence_is_that_of_all_four_files(tmp_path, write_family, dataset):
    write_family(tmp_path, dataset)
    assert is_present(dataset, tmp_path)
    for file in FILES:
        path = tmp_path / dataset / "raw" / file
        content = path.read_bytes()
        path.unlink()
        assert not is_present(dataset, tmp_path)
        path.write_bytes(content)


@pytest.mark.parametrize("file", [IMAGES, LABELS])
@pytest.mark.parametrize("kept", [0, 3, 6, 200 / 784, -1])
def test_a_file_cut_short_is_named(raw, file, kept):
    path = raw / file
    whole = path.read_bytes()
    path.write_bytes(whole[: kept if isinstance(kept, int) else int(kept * len(whole))])
    with pytest.raises(UserError, match=re.escape(f"'{path}' is damaged")):
        load_mnist_family("MNIST", raw.parent.parent)


@pytest.mark.parametrize("file", [IMAGES, LABELS])
def test_a_file_that_is_too_long_is_named(raw, file):
    with (raw / file).open("ab") as opened:
        opened.write(b"\0")
    with pytest.raises(UserError, match=re.escape(f"'{raw / file}' is damaged")):
        load_mnist_family("MNIST", raw.parent.parent)


@pytest.mark.parametrize("file", [IMAGES, LABELS])
@pytest.mark.parametrize("magic", [b"\x1f\x8b\x08\x00", b"\0\0\x0d\x03", b"<htm"])
def test_a_wrong_magic_number_is_named(raw, file, magic):
    content = (raw / file).read_bytes()
    (raw / file).write_bytes(magic + content[4:])
    with pytest.raises(UserError, match=re.escape(f"'{raw / file}' is damaged")):
        load_mnist_family("MNIST", raw.parent.parent)


@pytest.mark.parametrize("dimensions", [0, 1, 2, 4])
def test_images_of_another_dimension_are_damaged(raw, dimensions):
    lengths = [2] * dimensions
    head = bytes([0, 0, 8, dimensions]) + struct.pack(f">{dimensions}I", *lengths)
    (raw / IMAGES).write_bytes(head + bytes(2**dimensions))
    with pytest.raises(UserError, match=re.escape(str(raw))):
        load_mnist_family("MNIST", raw.parent.parent)


@pytest.mark.parametrize("size", [(28, 27), (14, 14), (784, 1)])
def test_images_of_another_size_are_damaged(tmp_path, write_family, size):
    write_family(tmp_path, "MNIST", size=size)
    with pytest.raises(UserError, match=re.escape(str(tmp_path / "MNIST" / "raw"))):
        load_mnist_family("MNIST", tmp_path)


def test_fewer_labels_than_images_are_damaged(raw, write_idx):
    write_idx(raw / LABELS, np.zeros(29))
    with pytest.raises(UserError, match="29 labels"):
        load_mnist_family("MNIST", raw.parent.parent)


def test_files_in_each_others_place_are_damaged(raw):
    images, labels = (raw / IMAGES).read_bytes(), (raw / LABELS).read_bytes()
    (raw / IMAGES).write_bytes(labels)
    (raw / LABELS).write_bytes(images)
    with pytest.raises(UserError, match="is damaged"):
        load_mnist_family("MNIST", raw.parent.parent)


@every_set
def test_a_download_is_kept_and_read(tmp_path, online, dataset, monkeypatch):
    online()
    root = tmp_path / "cache" / "pyvae"
    pixels, labels = load_mnist_family(dataset, root)
    assert (pixels.shape, labels.shape) == ((30, 784), (30,))
    assert is_present(dataset, root)
    assert [path.name for path in root.iterdir()] == [dataset]  # no temporary folder

    def refuse(self):
        pytest.fail("downloaded again")

    monkeypatch.setattr(torchvision.datasets.MNIST, "download", refuse)
    load_mnist_family(dataset, root)


@pytest.mark.parametrize("files", [0, 2, 3])
@pytest.mark.parametrize(
    "error", [urllib.error.URLError("reset"), RuntimeError("File not found or corrupted."), None]
)
def test_a_download_that_stops_half_way_leaves_nothing(tmp_path, online, files, error):
    online(files, error)
    root = tmp_path / "cache"
    with pytest.raises(DownloadError):
        load_mnist_family("MNIST", root)
    assert not is_present("MNIST", root)
    assert not list(root.rglob("*ubyte*"))
    assert not list(root.glob(".download*"))


def test_a_root_that_cannot_be_made_is_a_download_error(tmp_path, online):
    online()
    (tmp_path / "file").write_text("mine")
    with pytest.raises(DownloadError):
        load_mnist_family("MNIST", tmp_path / "file" / "cache")


def refusing(error):
    def refuse(*arguments, **options):
        raise error

    return refuse


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (urllib.error.URLError("name not known"), "name not known"),
        (ConnectionResetError("reset by peer"), "reset by peer"),
        (TimeoutError("timed out"), "timed out"),
        (http.client.BadStatusLine("hello"), "hello"),
    ],
)
def test_a_download_error_gives_the_reason(tmp_path, monkeypatch, error, reason):
    monkeypatch.setattr(urllib.request, "urlopen", refusing(error))
    with pytest.raises(DownloadError, match=reason):
        load_mnist_family("MNIST", tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_an_error_status_is_an_answer(tmp_path, online, monkeypatch):
    online()
    status = urllib.error.HTTPError("http://x", 405, "Method not allowed", None, None)
    monkeypatch.setattr(urllib.request, "urlopen", refusing(status))
    assert len(load_mnist_family("MNIST", tmp_path / "cache")[0]) == 30


@pytest.mark.parametrize(
    "error",
    [
        TimeoutError(),
        TimeoutError("timed out"),
    ],
)
def test_an_error_without_a_message_is_a_download_error(tmp_path, online, error):
    online(1, error)
    with pytest.raises(DownloadError):
        load_mnist_family("MNIST", tmp_path / "cache")


def test_the_sockets_time_out_is_put_back(tmp_path, online):
    online()
    before = mnist.socket.getdefaulttimeout()
    load_mnist_family("MNIST", tmp_path / "cache")
    assert mnist.socket.getdefaulttimeout() == before


def test_real_mnist_is_read_as_struct_reads_it(real_mnist):
    pixels, labels = load_mnist_family("MNIST", real_mnist)
    content = (real_mnist / "MNIST" / "raw" / IMAGES).read_bytes()
    assert struct.unpack(">4I", content[:16]) == (0x803, 60_000, 28, 28)
    assert pixels.numpy().tobytes() == content[16:]
    assert set(labels.tolist()) == set(range(10))
