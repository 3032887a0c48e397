"""Numbers that a program of Keras computes with as tensors."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pyvae.recording.keras.numbers import with_numbers
from pyvae.recording.seen.values import Call, Value


def given(array, **options):
    """An input, and its value."""
    call = Call("input", "input", options=options)
    value = Value(torch.tensor(array), np.asarray(array), call)
    call.outputs = [("", value)]
    return call, value


SCALE = np.float32(0.001)
PENALTY = np.ones(3, np.float32)


@pytest.mark.parametrize("layer", ["add", "div", "mul", "sub"])
@pytest.mark.parametrize("turned", [False, True])
def test_a_single_number_is_an_option(layer, turned):
    (first, x), (second, scale) = given(PENALTY), given(SCALE)
    call = Call("b", layer, [scale, x] if turned else [x, scale])
    found = with_numbers([first, second, call])
    if turned and layer in ("div", "sub"):  # 0.001 / x is no x / 0.001
        assert found == [first, second, call]
        assert call.inputs == [scale, x]
        return
    assert found == [first, call]
    assert call.inputs == [x]
    assert call.options == {"other": 0.001}


def test_what_is_computed_or_has_axes_stays():
    for number in (given(SCALE, grad_fn="MulBackward"), given(SCALE[None]), given(np.int64(2))):
        (first, x), (second, other) = given(PENALTY), number
        call = Call("b", "mul", [x, other])
        assert with_numbers([first, second, call]) == [first, second, call]
        assert call.options == {}


def test_an_input_that_something_else_takes_stays():
    (first, x), (second, scale) = given(PENALTY), given(SCALE)
    calls = [first, second, Call("b", "mul", [x, scale]), Call("c", "square", [scale])]
    assert with_numbers(calls) == calls
    assert calls[2].inputs == [x]
