"""A map of names."""

from __future__ import annotations

import pytest

from pyvae.errors import UserError
from pyvae.weights.names import rename

NAMES = ["dense.weight", "dense.bias", "dense_1.weight"]


def test_weights_and_modules_are_renamed_whichever_column_they_stand_in():
    rows = [("dense", "fc1"), ("out.weight", "dense_1.weight")]
    assert list(rename(NAMES, rows).values()) == ["fc1.weight", "fc1.bias", "out.weight"]
    swapped = rename(["a.w", "b.w"], [("a", "b"), ("b", "a")])
    assert swapped == {"a.w": "b.w", "b.w": "a.w"}


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([("gone", "fc")], "names 'gone' and 'fc', neither of which is there"),
        ([("dens", "fc")], "neither of which is there"),
        ([("dense_1", "dense")], "'dense.weight' and 'dense_1.weight' would both be called"),
        ([("dense", "a"), ("dense.bias", "c")], "calls 'dense.bias' both 'a.bias' and 'c'"),
    ],
)
def test_a_map_that_does_not_fit_is_refused(rows, said):
    with pytest.raises(UserError, match=said):
        rename(NAMES, rows)
