"""Files of weights as they are written."""

from __future__ import annotations

import pytest
import safetensors.torch
import torch

from pyvae.errors import UserError
from pyvae.weights.write import check_target, how_to_load, write_weights

SHARED = torch.randn(4, 6)
STATE = {"a": SHARED, "tied": SHARED, "part": SHARED.T[1:3], "b": torch.randn(3).bfloat16(),
         "n": torch.tensor(3), "nan": torch.tensor([float("nan"), -0.0])}  # fmt: skip


def load(path):
    if path.suffix == ".safetensors":
        return safetensors.torch.load_file(path)
    return torch.load(path, weights_only=True)


def bits(tensor):
    return tensor.contiguous().reshape(-1).view(torch.uint8).tolist()


@pytest.mark.parametrize("name", ["x.safetensors", "x.pt", "x.pth"])
def test_every_bit_is_written_and_the_load_line_loads_it(tmp_path, name, monkeypatch):
    path = tmp_path / name
    write_weights(path, STATE)
    found = load(path)
    assert found.keys() == STATE.keys()
    assert all(bits(found[key]) == bits(one) for key, one in STATE.items())
    assert all(found[key].shape == one.shape for key, one in STATE.items())
    assert all(one.untyped_storage().nbytes() <= 96 for one in found.values())  # not the whole
    monkeypatch.chdir(tmp_path)
    model = torch.nn.ParameterDict({"a": torch.zeros(4, 6)})
    write_weights(path, {"a": SHARED})
    exec(how_to_load(path, "python"), {"model": model, "torch": torch, "safetensors": safetensors})  # noqa: S102
    assert torch.equal(model["a"], SHARED)
    assert [one.name for one in tmp_path.iterdir()] == [name]


def test_a_target_that_is_there_or_of_no_kind_is_refused(tmp_path):
    (tmp_path / "x.pt").write_text("mine")
    (tmp_path / "folder.pt").mkdir()
    check_target(tmp_path / "x.pt", overwrite=True)
    for name, said in {
        "x.pt": "exists already. Choose another name, or replace it with --overwrite",
        "x.h5": "expected a file that ends in .safetensors, .pt or .pth",
        "folder.pt": "is a folder",
    }.items():
        with pytest.raises(UserError, match=said):
            check_target(tmp_path / name, overwrite=False)
    with pytest.raises(UserError, match=r"folder '.*gone' does not exist"):
        write_weights(tmp_path / "gone" / "x.pt", STATE)
