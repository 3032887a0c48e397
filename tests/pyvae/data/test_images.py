from __future__ import annotations

import hashlib
import io
import re
import threading
import urllib.error
import urllib.request
from pathlib import Path
from types import SimpleNamespace

import hypothesis
import numpy as np
import platformdirs
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from sklearn import datasets

from pyvae.data import mnist
from pyvae.data.images import (
    DATA_NAMES,
    ImageData,
    data_root,
    load_data,
    load_digits,
    load_split,
    load_toy,
)
from pyvae.errors import UserError

modest = hypothesis.settings(max_examples=25)
FAMILY = {"mnist": "MNIST", "fashion-mnist": "FashionMNIST", "kmnist": "KMNIST"}


def silent(line):
    pytest.fail(f"said: {line}")


@pytest.mark.parametrize("name", FAMILY)
def test_a_data_set_in_torchvisions_layout_is_read_as_it_is(empty_root, write_family, name):
    pixels, labels = write_family(empty_root, FAMILY[name])
    data = load_data(name, log=silent)
    assert data.name == name
    assert len(data) == 30
    assert np.array_equal(data.pixels, pixels.reshape(30, 784))
    assert np.array_equal(data.labels, labels)
    assert data.pixels.dtype == torch.uint8
    assert data.labels.dtype == torch.int64


def test_auto_takes_mnist_if_it_is_there(empty_root, write_family):
    pixels, _ = write_family(empty_root, "MNIST")
    data = load_data("auto", log=silent)
    assert data.name == "mnist"
    assert np.array_equal(data.pixels, pixels.reshape(30, 784))


@pytest.mark.slow
def test_real_mnist_is_mnist(real_mnist):
    data = load_data("mnist")
    assert data.pixels.shape == (60_000, 784)
    pixels = data.pixels.double() / 255
    assert pixels.mean().item() == pytest.approx(0.1307, abs=5e-5)  # as published everywhere
    assert pixels.std().item() == pytest.approx(0.3081, abs=5e-5)
    raw = (real_mnist / "MNIST" / "raw" / "train-labels-idx1-ubyte").read_bytes()
    assert bytes(data.labels.tolist()) == raw[8:]


def test_auto_without_a_network_falls_back_to_digits_and_logs_one_line(empty_root):
    said = []
    data = load_data("auto", log=said.append)
    assert data.name == "digits"
    (line,) = said
    assert "\n" not in line
    assert str(empty_root) in line
    assert "digits" in line
    assert list(empty_root.iterdir()) == []


@pytest.mark.parametrize("name", FAMILY)
def test_a_named_data_set_is_never_replaced_by_another(empty_root, name):
    with pytest.raises(UserError, match=rf"{FAMILY[name]} is not in .*PYVAE_DATA.*--data digits"):
        load_data(name, log=silent)
    assert list(empty_root.iterdir()) == []


def test_a_path_is_a_name_and_an_array_is_none(tmp_path):
    pixels = np.zeros((3, 28, 28), np.uint8)
    np.save(tmp_path / "mine.npy", pixels + 2)
    assert len(load_data(tmp_path / "mine.npy")) == 3
    for other in (pixels, 3, None):
        with pytest.raises(UserError, match=r"was given a \w+: expected a name or .*np\.savez"):
            load_data(other)


def test_a_network_that_hangs_is_not_waited_for(empty_root, monkeypatch):
    monkeypatch.setattr(mnist, "PATIENCE", 0.2)
    over, went_on = threading.Event(), threading.Event()

    def hang(*arguments, **options):
        over.wait(600)
        went_on.set()
        return io.BytesIO()

    monkeypatch.setattr(urllib.request, "urlopen", hang)
    said = []
    assert load_data("auto", log=said.append).name == "digits"
    assert not went_on.is_set()
    assert len(said) == 1
    over.set()


@pytest.mark.parametrize("name", ["auto", "mnist"])
def test_damaged_mnist_is_an_error_and_does_not_fall_back_to_digits(empty_root, write_family, name):
    write_family(empty_root, "MNIST")
    images = empty_root / "MNIST" / "raw" / "train-images-idx3-ubyte"
    images.write_bytes(images.read_bytes()[:-1])
    with pytest.raises(UserError, match=re.escape(f"'{images}' is damaged")):
        load_data(name, log=silent)


@pytest.mark.parametrize(
    ("given_", "meant"),
    [("mnits", "mnist"), ("digit", "digits"), ("fashion_mnist", "fashion-mnist")],
)
def test_an_unknown_name_is_refused_with_the_nearest_known_one(given_, meant):
    with pytest.raises(
        UserError, match=f"unknown data '{given_}'.*Did you mean '{meant}'"
    ) as error:
        load_data(given_)
    assert all(name in str(error.value) for name in DATA_NAMES)


def test_digits_are_scikit_learns_enlarged_and_framed():
    bunch = datasets.load_digits()
    # bilinear, pixel centres aligned: by linear interpolation along one axis after the other
    at = (np.arange(20) + 0.5) * 8 / 20 - 0.5
    weights = np.stack([np.interp(at, np.arange(8), unit) for unit in np.eye(8)], axis=1)  # (20, 8)
    large = np.einsum("ia,nab,jb->nij", weights, bunch.images * 255 / 16, weights)
    data = load_data("digits")
    images = data.pixels.numpy().reshape(-1, 28, 28)
    assert np.abs(images[:, 4:24, 4:24] - large).max() <= 0.5 + 1e-9
    frame = images.copy()
    frame[:, 4:24, 4:24] = 0
    assert not frame.any()
    assert np.array_equal(data.labels, bunch.target)
    assert data.pixels.dtype == torch.uint8


def test_digits_are_the_same_where_scikit_learn_keeps_them_elsewhere(digits, monkeypatch, tmp_path):
    nowhere = SimpleNamespace(locate_file=tmp_path.joinpath)
    monkeypatch.setattr("pyvae.data.images.distribution", lambda name: nowhere)
    data = load_digits()
    assert torch.equal(data.pixels, digits.pixels)
    assert torch.equal(data.labels, digits.labels)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_bytes_are_divided_by_255(dtype):
    pixels = torch.arange(256, dtype=torch.uint8)[:, None].repeat(1, 784)
    data = ImageData("bytes", pixels, None, "made here")
    order = np.random.default_rng(1).permutation(256)
    batch = data.batch(order, dtype)
    assert batch.dtype == dtype
    assert batch.shape == (256, 784)
    exact = order.astype(str(dtype).removeprefix("torch.")) / np.array(255, batch.numpy().dtype)
    assert np.array_equal(batch[:, 7], exact)
    assert (batch.min(), batch.max()) == (0, 1)


@modest
@given(st.lists(st.floats(0, 1, width=32), min_size=1, max_size=8), st.data())
def test_floats_are_left_as_they_are(values, data):
    pixels = torch.tensor(values)[:, None].repeat(1, 784)
    index = np.array(data.draw(st.lists(st.integers(0, len(values) - 1), min_size=1)))
    batch = ImageData("floats", pixels, None, "made here").batch(index, torch.float64)
    assert batch[:, 0].tolist() == [values[i] for i in index]


def test_data_describe_themselves(digits):
    about = digits.describe()
    checksum = hashlib.sha256(digits.pixels.numpy().tobytes()).hexdigest()
    assert about == {
        "name": "digits", "images": len(digits), "source": digits.source, "sha256": checksum,
    }  # fmt: skip
    assert len(digits) == 1797


def test_pyvae_data_names_the_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("PYVAE_DATA", str(tmp_path / "x"))
    assert data_root() == tmp_path / "x"
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("PYVAE_DATA", "~/data")
    assert data_root() == tmp_path / "data"


@pytest.mark.parametrize("value", [None, ""])
def test_without_pyvae_data_the_users_cache_is_the_folder(monkeypatch, value):
    if value is None:
        monkeypatch.delenv("PYVAE_DATA", raising=False)
    else:
        monkeypatch.setenv("PYVAE_DATA", value)
    assert data_root() == Path(platformdirs.user_cache_dir("pyvae"))


def test_an_http_error_is_a_download_error(empty_root, monkeypatch):
    def forbid(url, *args, **options):
        raise urllib.error.HTTPError("http://x", 403, "Forbidden", None, None)

    monkeypatch.setattr(urllib.request, "urlopen", forbid)
    with pytest.raises(UserError, match="could not be downloaded"):
        load_data("kmnist")
    assert list(empty_root.iterdir()) == []


def test_a_home_that_does_not_exist_is_the_users_error(monkeypatch):
    monkeypatch.setenv("PYVAE_DATA", "~no-such-user-here/data")
    with pytest.raises(UserError):
        load_data("mnist")


def test_points_lie_in_three_groups_equally_many_in_mixed_order():
    data = load_data("toy", log=silent)
    assert data.name == "toy"
    assert data.pixels.shape == (3000, 2)
    assert data.pixels.dtype == torch.float64
    labels = data.labels.numpy()
    assert np.bincount(labels).tolist() == [1000] * 3
    assert stats.chisquare(np.bincount(labels[:300])).pvalue > 1e-4
    for group, centre in enumerate([(-1.5, -1), (1.5, -1), (0, 1.5)]):
        points = data.pixels[data.labels == group].numpy()
        np.testing.assert_allclose(points.mean(0), centre, atol=5 * 0.5 / np.sqrt(1000))
        # elongated: standard deviations 0.15 and 0.5 along its own axes
        spread = np.sqrt(np.linalg.eigvalsh(np.cov(points.T)))
        np.testing.assert_allclose(spread, [0.15, 0.5], rtol=0.12)


@pytest.mark.parametrize("points", [60, 3000])
def test_points_are_always_the_same(points):
    one, again = load_toy(points), load_toy(points)
    assert torch.equal(one.pixels, again.pixels)
    assert torch.equal(one.labels, again.labels)
    assert one.checksum == again.checksum
    assert len(one) == points


def rows_of(data):
    return sorted(row.tobytes() for row in data.pixels.numpy())


@pytest.mark.parametrize("name", ["digits", "toy"])
def test_a_split_is_four_fifths_and_the_rest(name):
    whole = load_data(name)
    train, test = load_split(name, log=silent)
    cut = len(whole) * 4 // 5
    assert (len(train), len(test)) == (cut, len(whole) - cut)
    assert sorted(rows_of(train) + rows_of(test)) == rows_of(whole)
    assert train.name == test.name == name
    assert train.source != test.source
    assert len({part.checksum for part in (train, test, whole)}) == 3
    again = load_split(name)
    assert (again[0].checksum, again[1].checksum) == (train.checksum, test.checksum)
    # labels go with their images
    pairs = zip(whole.pixels.numpy(), whole.labels.tolist(), strict=True)
    of_image = {row.tobytes(): label for row, label in pairs}
    for part in (train, test):
        assert [of_image[row.tobytes()] for row in part.pixels.numpy()] == part.labels.tolist()
        assert set(part.labels.tolist()) == set(whole.labels.tolist())


def test_a_split_of_a_file_without_labels_has_none(tmp_path):
    pixels = np.random.default_rng(1).integers(0, 256, (11, 784), dtype=np.uint8)
    np.savez(tmp_path / "mine.npz", images=pixels)
    train, test = load_split(str(tmp_path / "mine.npz"))
    assert (len(train), len(test)) == (8, 3)
    assert train.labels is None
    assert test.labels is None


def test_a_split_of_a_file_with_a_test_set_is_that(tmp_path):
    rng = np.random.default_rng(1)
    pixels = rng.integers(0, 256, (11, 28, 28), dtype=np.uint8)
    names = {"x_train": pixels[:8], "y_train": np.arange(8), "x_test": pixels[8:]}
    np.savez(tmp_path / "mine.npz", **names, y_test=np.arange(3))
    train, test = load_split(str(tmp_path / "mine.npz"))
    assert np.array_equal(train.pixels, pixels[:8].reshape(8, 784))
    assert np.array_equal(test.pixels, pixels[8:].reshape(3, 784))
    assert (train.labels.tolist(), test.labels.tolist()) == ([*range(8)], [*range(3)])
    assert test.source == f"{train.source}, its test set"


def test_folders_and_other_files_are_refused_with_a_hint_to_pyvae_data(tmp_path):
    file = tmp_path / "train-images-idx3-ubyte.gz"
    file.touch()
    for path, kind in ((tmp_path, "a folder"), (file, "a file of an unknown type")):
        with pytest.raises(UserError, match=rf"is {kind}: expected .* set PYVAE_DATA to their f"):
            load_data(str(path))
    with pytest.raises(UserError, match="unknown data 'aaa"):
        load_data("a" * 300)


@pytest.mark.parametrize("name", FAMILY)
def test_a_split_of_a_data_set_is_its_training_and_its_test_set(empty_root, write_family, name):
    pixels, _ = write_family(empty_root, FAMILY[name])
    train, test = load_split(name, log=silent)
    assert np.array_equal(train.pixels, pixels.reshape(30, 784))
    raw = (empty_root / FAMILY[name] / "raw" / "t10k-images-idx3-ubyte").read_bytes()
    assert test.pixels.numpy().tobytes() == raw[16:]
    labels = (empty_root / FAMILY[name] / "raw" / "t10k-labels-idx1-ubyte").read_bytes()
    assert bytes(test.labels.tolist()) == labels[8:]
    assert len(test) == 7
    assert "test set" in test.source


def test_a_split_after_falling_back_is_that_of_the_digits(empty_root):
    said = []
    train, test = load_split("auto", said.append)
    assert (train.name, len(train) + len(test)) == ("digits", 1797)
    assert len(said) == 1


def test_the_real_test_set_is_mnists(real_mnist):
    train, test = load_split("mnist")
    assert (len(train), len(test)) == (60_000, 10_000)
    raw = (real_mnist / "MNIST" / "raw" / "t10k-labels-idx1-ubyte").read_bytes()
    assert bytes(test.labels.tolist()) == raw[8:]
