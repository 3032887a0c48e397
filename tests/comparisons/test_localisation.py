"""Every planted mistake is found where it was planted, and nothing where none was."""

from __future__ import annotations

import re

import pytest
from mistakes import MISTAKES, planted, recipe_of, small_data

from comparisons.lockstep import locate

pytestmark = pytest.mark.r


@pytest.mark.parametrize("name", MISTAKES)
def test_a_planted_mistake_is_placed(name, settings, digits):
    mistake = MISTAKES[name]
    data, recipe = small_data(mistake, digits), recipe_of(mistake)
    run = settings(objective=mistake.objective)
    python, r = planted(mistake, data)
    with r as reference:
        stages, found = locate(python, reference, recipe, run, data)
    assert found is not None
    print(
        f"\n| {name} | {found.sentence()} | {found.agreement.required_rtol:.1e} | {found.wrong} | {'; '.join(found.words)}"
    )
    assert (found.step, found.passing, found.stage) == mistake.found
    assert re.search(mistake.words, "; ".join(found.words)), found.words
    if found.wrong:
        assert found.wrong == ("base-r" if mistake.built is None else "pytorch")
