"""Which reader takes a file, and what is said of those that none does."""

from __future__ import annotations

import gzip

import numpy as np
import pytest
import safetensors.numpy
import torch
from written_files.r_lists import save_r_list

from pyvae.errors import UserError
from pyvae.weights.read import read_weights

STATE = {"fc.weight": torch.randn(2, 3), "fc.bias": torch.randn(2)}


def test_the_first_bytes_say_what_a_file_is_not_its_name(tmp_path):
    torch.save(STATE, tmp_path / "a.safetensors")
    save_r_list(tmp_path / "b.pth", STATE)
    np.savez(tmp_path / "c.npz", **{name: one.numpy() for name, one in STATE.items()})
    kinds = []
    for name in ("a.safetensors", "b.pth", "c.npz"):
        state = read_weights(tmp_path / name)
        kinds.append(state.kind)
        assert all(torch.equal(state.tensors[key], one) for key, one in STATE.items())
    assert kinds == ["torch.save() of PyTorch", "torch_save() of R", "npz"]


@pytest.mark.parametrize("ending", ["npz", "safetensors"])
def test_names_are_keras_names_if_that_is_said(tmp_path, ending):
    arrays = {"dense/kernel": np.arange(6.0).reshape(2, 3)}
    path = tmp_path / f"x.{ending}"
    if ending == "npz":
        np.savez(path, **arrays)
    else:
        safetensors.numpy.save_file(arrays, path)
    assert list(read_weights(path).tensors) == ["dense/kernel"]
    found = read_weights(path, keras=True).tensors["dense.weight"]
    assert found.tolist() == arrays["dense/kernel"].T.tolist()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        pytest.param(gzip.compress(b"X\n"), "luz_save_model_weights(fitted", id="RDS"),
        pytest.param(b"X\n\0\0\0\3 and so on", "is an R object (RDS)", id="RDS, not packed"),
        pytest.param(b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.", "before version 1.6", id="old"),
        pytest.param(b"", "cannot be read (it has 0 bytes)", id="nothing"),
        pytest.param(b"PK\x03\x04" + bytes(40), "cannot be read", id="no zip"),
        pytest.param(b"\x89HDF\r\n\x1a\n" + bytes(99), "cannot be read", id="no HDF5"),
        pytest.param(b"epoch,loss\n1,2\n", "cannot be read", id="text"),
        pytest.param(
            safetensors.numpy.save({}), "holds no state dict", id="no tensors"
        ),
    ],
)  # fmt: skip
def test_other_files_are_refused(content, said, tmp_path):
    if content.startswith(b"\x89HDF"):
        pytest.importorskip("h5py")
    (tmp_path / "x").write_bytes(content)
    with pytest.raises(UserError) as caught:
        read_weights(tmp_path / "x")
    assert said in str(caught.value)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(UserError, match=r"does not exist. Check the path"):
        read_weights(tmp_path / "x")
    with pytest.raises(UserError, match="cannot be read"):
        read_weights(tmp_path)
