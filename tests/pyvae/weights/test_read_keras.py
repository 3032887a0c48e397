"""Keras' files, laid out as Keras 3.15 and Keras 2 lay them out."""

from __future__ import annotations

import zipfile

import numpy as np
import pytest
import torch

from pyvae.errors import UserError
from pyvae.weights.read_keras import from_keras_names, read_keras

RNG = np.random.default_rng(3)
DENSE = RNG.normal(size=(3, 2)).astype(np.float32)
CONV = RNG.normal(size=(3, 3, 4, 2)).astype(np.float32)
LSTM = [RNG.normal(size=shape) for shape in ((3, 16), (4, 16), (16,))]
NAMES = {f"seq.lstm.{end}" for end in ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")}


def write(path, arrays, called=()):
    h5py = pytest.importorskip("h5py")
    with h5py.File(path, "w") as file:
        for name, value in arrays.items():
            file[name] = value
        for name, own in dict(called).items():
            file[name].attrs["name"] = own
    return path


def kernels(found):
    return torch.equal(found["fc.weight"], torch.from_numpy(DENSE.T.copy())) and torch.equal(
        found["conv2d.weight"], torch.from_numpy(CONV.transpose(3, 2, 0, 1).copy())
    )


def keras_3(path):
    cell = {f"layers/bidirectional/{way}_layer/cell/vars/{place}": value
            for way in ("forward", "backward") for place, value in enumerate(LSTM)}  # fmt: skip
    return write(
        path,
        cell | {
            "layers/dense/vars/0": DENSE, "layers/conv2d/vars/0": CONV,
            "layers/dropout/seed_generator/vars/0": np.arange(2), "optimizer/vars/0": np.ones(3),
        },
        {"layers/dense/vars": "fc", "layers/conv2d/vars": "conv2d"},
    )  # fmt: skip


def test_the_weights_of_keras_3_are_called_as_its_layers(tmp_path):
    state = read_keras(keras_3(tmp_path / "x.weights.h5"))
    assert kernels(state.tensors)
    assert state.done["fc.weight"] == "transposed: (in, out) -> (out, in)"
    assert "bidirectional.weight_ih_l0_reverse" in state.tensors
    assert "bidirectional.bias_hh_l0" in state.tensors
    assert state.left_out == ("layers/dropout/seed_generator/vars/0",)
    assert any("Flatten" in note for note in state.notes)
    with zipfile.ZipFile(tmp_path / "x.keras", "w") as archive:
        archive.write(tmp_path / "x.weights.h5", "model.weights.h5")
        archive.writestr("config.json", "{}")
    inside = read_keras(tmp_path / "x.keras")
    assert inside.tensors.keys() == state.tensors.keys()


def test_a_whole_model_of_keras_2(tmp_path):
    path = write(
        tmp_path / "x.h5",
        {
            "model_weights/fc/fc/kernel:0": DENSE, "model_weights/conv2d/seq/conv2d/kernel:0": CONV,
            "model_weights/inner/seq/lstm/lstm_cell/kernel": LSTM[0],
            "model_weights/inner/seq/lstm/lstm_cell/recurrent_kernel": LSTM[1],
            "model_weights/inner/seq/lstm/lstm_cell/bias": LSTM[2],
            "optimizer_weights/Adam/m:0": DENSE,
        },
    )  # fmt: skip
    found = read_keras(path).tensors
    assert kernels(found)
    assert {f"inner.{name}" for name in NAMES} < found.keys()


@pytest.mark.parametrize("join", ["/", "."])
def test_arrays_by_keras_names(join, tmp_path):
    arrays = {f"model{join}fc{join}kernel": DENSE, f"model{join}conv2d{join}kernel:0": CONV}
    assert kernels(from_keras_names(arrays, tmp_path).tensors)
    odd = {"attention/query/kernel": CONV, "fc/kernel": DENSE}
    state = from_keras_names(odd, tmp_path)
    assert list(state.tensors) == ["fc.weight"]
    assert "attention.query (attention" in state.left_out[0]
    with pytest.raises(UserError, match="no weights of Keras that pyvae knows"):
        from_keras_names({"a": DENSE}, tmp_path)


def test_a_file_that_refers_to_another_is_refused(tmp_path):
    """It could make pyvae copy what only the reader of the file may see."""
    h5py = pytest.importorskip("h5py")
    (tmp_path / "secret").write_bytes(bytes(24))
    with h5py.File(tmp_path / "x", "w") as file:
        where = [(str(tmp_path / "secret"), 0, 24)]
        file.create_dataset("layers/dense/vars/0", (3, 2), "f4", external=where)
    with pytest.raises(ValueError, match="stands in another file"):
        read_keras(tmp_path / "x")
    with h5py.File(tmp_path / "x", "w") as file:
        file["layers/dense/vars/0"] = h5py.ExternalLink("secret", "/a")
    with pytest.raises(UserError, match="no weights of Keras"):
        read_keras(tmp_path / "x")
    with h5py.File(tmp_path / "x", "w") as file:
        layout = h5py.VirtualLayout((3, 2), "f4")
        layout[:] = h5py.VirtualSource("secret", "a", (3, 2))
        file.create_virtual_dataset("layers/dense/vars/0", layout)
    with pytest.raises(ValueError, match="stands in another file"):
        read_keras(tmp_path / "x")


def test_a_file_that_unpacks_to_much_or_holds_texts_is_refused(tmp_path):
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "x", "w") as file:
        file.create_dataset("dense/kernel", (2**20, 2**12), "f4", chunks=(2**10, 2**12))
    with pytest.raises(ValueError, match="would unpack to more than 200 times"):
        read_keras(tmp_path / "x")
    write(tmp_path / "y", {"dense/kernel": np.array([b"ab", b"c"], "S2")})
    with pytest.raises(ValueError, match="values of type"):
        read_keras(tmp_path / "y")


def test_without_h5py_it_says_so(tmp_path, monkeypatch):
    (tmp_path / "x.h5").write_bytes(b"\x89HDF\r\n\x1a\n")
    monkeypatch.setitem(__import__("sys").modules, "h5py", None)
    with pytest.raises(UserError, match=r"which is not installed. Run: pip install h5py"):
        read_keras(tmp_path / "x.h5")
