"""Arrays by name, such as parameters, states and probes: are they the same, or close?"""

from __future__ import annotations

import numpy as np

__all__ = ["assert_close", "copied", "equal", "part", "same"]


def equal(one, two):
    """Whether two arrays are the same to the bit."""
    return one.dtype == two.dtype and one.shape == two.shape and one.tobytes() == two.tobytes()


def same(one, two):
    """Whether two dicts of arrays are the same to the bit."""
    return one.keys() == two.keys() and all(equal(one[key], two[key]) for key in one)


def copied(arrays):
    return {key: value.copy() for key, value in arrays.items()}


def part(probe, kind):
    """The entries of one kind, by stage or parameter."""
    return {
        key.split("/", 1)[1]: value for key, value in probe.items() if key.startswith(f"{kind}/")
    }


def assert_close(found, expected, what):
    """Equal up to 1e-12 of the largest magnitude."""
    expected = np.asarray(expected)
    assert found.shape == expected.shape, what
    scale = np.abs(expected).max()
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12 * scale, err_msg=what)
