"""Mistakes that were written down, each with the sentence that a user would want, before the code
that names them."""

from __future__ import annotations

from collections import Counter

import pytest
from mistakes.beforehand import BEFOREHAND
from mistakes.beforehand.mistake import DTYPES, compared, kind_of, place_of

pytestmark = pytest.mark.slow

# Of thirty, at least; when they were first run, 27 and 18 (mistakes/beforehand/before.md)
PLACED, NAMED_RIGHTLY = 30, 25


def test_there_are_thirty_of_many_kinds():
    assert len({one.name for one in BEFOREHAND}) == 30


@pytest.mark.parametrize("dtype", DTYPES)
def test_they_are_placed_and_none_is_named_wrongly(dtype, tmp_path):
    kinds, misplaced, wrongly = Counter(), {}, {}
    for one in BEFOREHAND:
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
