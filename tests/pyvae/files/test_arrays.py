"""Arrays by name on disk. What is damaged is in tests/fuzz; see also tests/pyvae/trace."""

from __future__ import annotations

import numpy as np
import pytest
import safetensors.numpy

from pyvae.files.arrays import array_bytes, checksum, parse_arrays, read_arrays, write_arrays

ARRAYS = {
    "b": np.arange(6.0).reshape(2, 3).T,  # as R's lie in memory
    "a": np.float32([np.nan, np.inf]),
    "one": np.array(3),
    "none": np.empty((0, 4)),
}


def same(one, two):
    return one.keys() == two.keys() and all(
        np.array_equal(one[name], two[name], equal_nan=True) and one[name].dtype == two[name].dtype
        for name in one
    )


def test_what_is_written_is_read_from_a_file_and_from_bytes(tmp_path):
    write_arrays(tmp_path / "x", ARRAYS, {"about": "ü"})
    assert same(read_arrays(tmp_path / "x"), ARRAYS)
    assert same(parse_arrays(array_bytes(ARRAYS)), ARRAYS)
    assert same(safetensors.numpy.load_file(tmp_path / "x"), ARRAYS)


def test_what_was_read_can_be_written_to():
    for value in parse_arrays(array_bytes(ARRAYS)).values():
        assert value.flags.writeable


def test_other_than_numbers_on_a_line_are_refused(tmp_path):
    value = np.complex64([1j])
    content = safetensors.numpy.save({"x": value})
    (tmp_path / "x").write_bytes(content)
    with pytest.raises(ValueError, match=f"'x' has values of type {value.dtype}"):
        parse_arrays(content)
    with pytest.raises(ValueError, match=f"'x' has values of type {value.dtype}"):
        read_arrays(tmp_path / "x")


def test_a_checksum_is_of_the_numbers_not_of_how_they_lie_or_stand():
    plain = {name: np.array(ARRAYS[name], order="C") for name in reversed(ARRAYS)}
    assert checksum(plain) == checksum(ARRAYS)


@pytest.mark.parametrize(
    "other",
    [
        {},
        ARRAYS | {"b": ARRAYS["b"].T},
        ARRAYS | {"b": np.nextafter(ARRAYS["b"], 9)},
        ARRAYS | {"b": ARRAYS["b"].astype(np.float32)},
        ARRAYS | {"one": np.array([3])},
        ARRAYS | {"none": np.empty((4, 0))},
        ARRAYS | {"c": np.empty(0)},
        {"x" if name == "one" else name: value for name, value in ARRAYS.items()},
    ],
)
def test_another_checksum_is_that_of_other_arrays(other):
    assert checksum(other) != checksum(ARRAYS)
