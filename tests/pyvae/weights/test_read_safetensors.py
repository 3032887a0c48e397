"""Safetensors, plain and of R's torch."""

from __future__ import annotations

import json

import pytest
import safetensors.torch
import torch
from written_files.r_lists import HEAD, r_list, save_r_list

from pyvae.errors import UserError
from pyvae.weights.read_safetensors import read_safetensors

STATE = {"fc.weight": torch.randn(2, 3), "fc.bias": torch.randn(2)}


def save(path, tensors, **about):
    metadata = {"__r__": json.dumps({"version": 3, "special_dtype": []} | about)} if about else None
    path.write_bytes(safetensors.torch.save(tensors, metadata))
    return path


def same(found, wanted):
    return list(found) == list(wanted) and all(torch.equal(found[k], wanted[k]) for k in wanted)


def test_plain_files_keep_types_that_numpy_lacks(tmp_path):
    state = {"a": torch.randn(3).bfloat16(), "b": torch.tensor(7)}
    found = read_safetensors(save(tmp_path / "x", state)).tensors
    assert found["a"].dtype is torch.bfloat16
    assert torch.equal(found["a"], state["a"])
    assert found["b"].shape == ()


def test_a_module_of_r_is_read_without_a_look_at_its_object(tmp_path):
    more = {"__robj__": torch.tensor([1, 2, 3], dtype=torch.uint8)}
    found = read_safetensors(save(tmp_path / "x", STATE | more, type="module"))
    assert found.kind == "torch_save() of R"
    assert found.tensors.keys() == STATE.keys()


def test_a_list_of_r_has_its_names_and_its_order(tmp_path):
    assert same(read_safetensors(save_r_list(tmp_path / "x", STATE)).tensors, STATE)
    nested = {"model": STATE, "optimizer": {"state": {"1": {"m": torch.ones(1)}}, "param_groups": {
        "lr": 0.1}}, "epoch": 3.0}  # fmt: skip
    state = read_safetensors(save_r_list(tmp_path / "x", nested))
    assert same(state.tensors, STATE)
    assert state.left_out == ("optimizer", "epoch")


@pytest.mark.parametrize(
    ("make", "said"),
    [
        pytest.param(
            lambda path: save(path, STATE, type="tensor"), "a single tensor", id="a tensor"
        ),
        pytest.param(
            lambda path: save(path, STATE, type="list", special_dtype=[{"dtype": "cfloat"}]),
            "complex numbers", id="complex",
        ),
        pytest.param(
            lambda path: save_r_list(path, STATE, HEAD + b"\0\0\0\3" + bytes(9)),
            "holds a function beside its tensors", id="a function",
        ),
    ],
)  # fmt: skip
def test_what_has_no_weights_is_refused(make, said, tmp_path):
    with pytest.raises(UserError, match=said):
        read_safetensors(make(tmp_path / "x"))


@pytest.mark.parametrize(
    ("make", "said"),
    [
        pytest.param(
            lambda path: save_r_list(path, STATE, HEAD + r_list({"a": torch.ones(1)})),
            "a tensor of its list is missing", id="an address of nothing",
        ),
        pytest.param(
            lambda path: save_r_list(path, STATE, HEAD + r_list({"a": STATE["fc.bias"]})),
            "1 of its tensors are in no list", id="a tensor of no name",
        ),
        pytest.param(lambda path: save(path, STATE, type="list"), "no list and no", id="no list"),
        pytest.param(lambda path: save(path, STATE, type=3), "note of R's torch", id="a note"),
    ],
)  # fmt: skip
def test_what_is_damaged_is_refused(make, said, tmp_path):
    with pytest.raises(ValueError, match=said):
        read_safetensors(make(tmp_path / "x"))
