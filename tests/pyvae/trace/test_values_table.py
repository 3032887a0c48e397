from __future__ import annotations

import math

import numpy as np
import pytest

from pyvae.trace.values_table import COLUMNS, value_rows


def test_an_empty_value_has_no_moments_and_warns_of_nothing():
    (row,) = value_rows(3, {"gradient/a/b": np.zeros((0, 4))}, {})
    assert tuple(row) == COLUMNS
    assert (row["kind"], row["name"], row["shape"], row["numbers"]) == ("gradient", "a/b", "0x4", 0)
    assert all(math.isnan(row[name]) for name in ("mean", "sd", "min", "max"))


@pytest.mark.parametrize("value", [np.array([True, False]), np.float16([60000, -60000])])
def test_moments_are_those_of_double_precision(value):
    (row,) = value_rows(1, {"forward/x": value}, {"x": "relu"})
    exact = value.astype(float)
    assert (row["layer"], row["sd"]) == ("relu", exact.std())
    assert (row["min"], row["max"]) == (exact.min(), exact.max())
