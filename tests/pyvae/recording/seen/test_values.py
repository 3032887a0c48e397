"""Copies of tensors as arrays."""

from __future__ import annotations

from collections import OrderedDict, namedtuple

import numpy as np
import pytest
import torch

from pyvae.recording.seen.values import Call, Value, tensors_in, to_array

Pair = namedtuple("Pair", "a b")


@pytest.mark.parametrize(
    ("dtype", "expected"),
    [
        ("float64", "float64"), ("float32", "float32"), ("float16", "float16"),
        ("bfloat16", "float32"), ("int64", "int64"), ("int32", "int32"), ("int16", "int32"),
        ("int8", "int32"), ("uint8", "uint8"), ("bool", "bool"),
    ],
)  # fmt: skip
def test_arrays_have_types_that_traces_have(dtype, expected):
    tensor = torch.arange(6).reshape(2, 3).to(getattr(torch, dtype))
    array = to_array(tensor.t())
    assert array.dtype.name == expected
    assert array.flags["C_CONTIGUOUS"]
    assert array.tolist() == tensor.t().tolist()
    tensor.zero_()
    assert array.any()  # a copy


def test_what_a_trace_cannot_hold_is_left_out():
    assert to_array(torch.zeros(2, dtype=torch.complex64)) is None
    assert to_array(torch.zeros(2, device="meta")) is None
    sparse = torch.tensor([[0.0, 2.0]]).to_sparse()
    assert np.array_equal(to_array(sparse), [[0, 2]])
    assert to_array(torch.tensor(3.0, requires_grad=True)).shape == ()


def test_tensors_are_found_within_tuples_and_dicts():
    a, b = torch.zeros(1), torch.ones(2)
    assert list(tensors_in(a)) == [("", a)]
    assert list(tensors_in((a, (None, b)))) == [(".0", a), (".1.1", b)]
    assert list(tensors_in(OrderedDict(x=a, y=[b]))) == [(".x", a), (".y.0", b)]
    assert list(tensors_in(Pair(a, "text"))) == [(".0", a)]
    loop = []
    loop.append(loop)
    assert list(tensors_in(loop)) == []


def test_a_value_knows_whether_its_tensor_was_changed():
    tensor = torch.zeros(2)
    value = Value(tensor, to_array(tensor), Call("a", "a"))
    assert value.is_now(tensor)
    assert not value.is_now(tensor.clone())
    tensor.add_(1)
    assert not value.is_now(tensor)
    assert value.gradient() is None
    value.gradients += [np.ones(2), np.ones(2)]
    assert value.gradient().tolist() == [2, 2]
    value.release()
    assert value.tensor is None
