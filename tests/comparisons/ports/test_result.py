"""What a comparison of two recorded programs shows of itself."""

from __future__ import annotations

from functools import partial

import torch
from recorded.ported import Classifier, Program, sgd

from comparisons.ports import compare_programs


def test_a_notebook_shows_the_verdict_and_the_quantities_around_the_first_difference(pair):
    found = compare_programs(*pair(Program(steps=1), Program(Wrong, steps=1)))
    page = found._repr_html_()
    assert "<b>python against r: part at step 1, norm (batch_norm2d), forward</b>" in page
    assert "looks like: r: eps = 0.001 where it is 1e-05" in page
    for key in ("forward/conv", "forward/norm", "forward/act"):
        assert f"<td>{key}</td>" in page
    assert page.count("<tr") == 9  # the heads, and four on either side


def test_a_notebook_shows_what_came_closest_where_the_two_agree(pair):
    found = compare_programs(*pair(Program(steps=1), Program(steps=1, dtype=torch.float64)))
    page = found._repr_html_()
    assert f"<b>python against r: {found.verdict}</b>" in page
    assert page.count("<tr") == 9
    assert f"<td>{found.worst.quantity.key}</td>" in page
    equal = compare_programs("r", "r")
    assert f": {equal.verdict}</b>" in equal._repr_html_()
    assert "<table" not in equal._repr_html_()


def test_what_is_declared_otherwise_is_told_of_two_that_agree(pair):
    """The first step does not show it."""
    other = Program(steps=1, optimiser=partial(sgd, momentum=0.5))
    found = compare_programs(*pair(Program(steps=1), other))
    words = "optimizer: momentum = 0.5 where it is 0.9, without an effect in these steps"
    assert found.agrees
    assert words in found.lines


class Wrong(Classifier):
    def __init__(self) -> None:
        super().__init__(eps=1e-3)
