"""Mistakes that were written down, each with the sentence that a user would want, before the code
that names them."""

from __future__ import annotations

from collections import Counter
from itertools import cycle

import pytest
from mistakes.beforehand import BEFOREHAND
from mistakes.beforehand.mistake import DTYPES, compared, kind_of, place_of

pytestmark = pytest.mark.slow

# Of thirty, at least; when they were first run, 27 and 18 (mistakes/beforehand/before.md)
PLACED, NAMED_RIGHTLY = 30, 25


def test_there_are_thirty_of_many_kinds():
    assert len({one.name for one in BEFOREHAND}) == 30


def test_they_are_placed_and_none_is_named_wrongly(tmp_path):
    assert_placed(("float32", "float64"), tmp_path)


@pytest.mark.long
@pytest.mark.parametrize("dtype", DTYPES)
def test_so_are_all_of_them_in_either_precision(dtype, tmp_path):
    assert_placed((dtype,), tmp_path)


def assert_placed(dtypes, tmp_path):
    """All of them, in these in turn."""
    kinds, misplaced, wrongly = Counter(), {}, {}
    for one, dtype in zip(BEFOREHAND, cycle(dtypes), strict=False):
        found = compared(one, DTYPES[dtype], tmp_path)
        kind = kind_of(one, found)
        kinds[kind] += 1
        if not place_of(one, found):
            misplaced[one.name] = found.verdict
        if kind == "wrongly":
            wrongly[one.name] = found.first.words
    assert wrongly == {}
    assert len(BEFOREHAND) - len(misplaced) >= PLACED, misplaced
    assert kinds["rightly"] >= NAMED_RIGHTLY, kinds
