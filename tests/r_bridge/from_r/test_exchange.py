"""Arrays and errors between R and Python."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from pyvae.errors import UserError
from r_bridge.from_r.exchange import answers, images_from_r, in_r, pack, unpack


@settings(deadline=None)
@given(
    hnp.arrays(
        st.sampled_from([np.uint8, np.int32, np.float64]),
        hnp.array_shapes(max_dims=4),
    )
)
def test_arrays_are_column_major_and_come_back_with_every_bit(x):
    packed = pack(x)
    assert bytes(packed["bytes"]) == x.T.tobytes()
    assert isinstance(packed["bytes"], bytearray)  # what reticulate makes a raw vector of
    back = unpack(packed)
    assert back.dtype == x.dtype
    assert back.shape == x.shape
    assert back.tobytes() == x.tobytes()


def test_other_numbers_become_doubles():
    assert pack(np.arange(3))["type"] == "float64"
    assert pack(np.float32([0.5]))["type"] == "float64"


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("choose --batch-size 40 or less", "choose batch_size 40 or less"),
        ("--set temperature=0", "hyper = list(temperature = 0)"),
        ("points (--data toy)", 'points (x = "toy")'),
        ("another with --out, or no --data", "another with folder, or no x"),
        ("a -- b", "a -- b"),
    ],
)
def test_options_are_called_as_r_calls_its_arguments(said, meant):
    assert in_r(said) == meant


def test_an_error_has_its_parts_in_r_words():
    @answers
    def fail():
        raise UserError("--batch-size 0", "use --set beta=2", expected="1 or more")

    assert fail() == {
        "error": {
            "problem": "batch_size 0",
            "expected": "1 or more",
            "remedy": "use hyper = list(beta = 2)",
        }
    }


def test_images_of_another_shape_say_so():
    x = pack(np.zeros((2, 3 * 4 * 5), np.uint8)) | {"name": "R", "shape": [3, 4, 5]}
    assert images_from_r(x).shape == (3, 4, 5)
    assert images_from_r(pack(np.zeros((2, 784), np.uint8)) | {"name": "R"}).shape == (1, 28, 28)
