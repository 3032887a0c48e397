"""Sides in turn."""

from __future__ import annotations

import os
import sys

import pytest

from benchmarks.sides.child import Child, Turn
from benchmarks.sides.rounds import Pace, in_rounds, running


class Recorder:
    """A side that writes down when it had its turn."""

    def __init__(self, side, told):
        self.side, self.told = side, told

    def turn(self, case, steps, skip=1):
        self.told.append((self.side, case, steps, skip))
        return Turn([1.0] * steps, None, None)


@pytest.fixture
def told():
    return []


@pytest.fixture
def found(told):
    """Three rounds of two sides, one of which has two cases."""
    sides = [Recorder("a", told), Recorder("b", told)]
    paces = {"a": [Pace("x", 2, warm=3)], "b": [Pace("y", 1, skip=0, warm=0), Pace("z", 1, warm=0)]}
    return in_rounds(sides, paces, 3)


def test_all_have_their_turn_and_the_order_alternates(told, found):
    assert told[0] == ("a", "x", 3, 0)  # to become warm
    cases = [case for _, case, _, _ in told[1:]]
    assert cases == ["x", "y", "z", "y", "z", "x", "x", "y", "z"]


def test_what_counts_is_kept_by_side_and_case(found):
    assert {key: len(series.steps) for key, series in found.items()} == {
        ("a", "x"): 6, ("b", "y"): 3, ("b", "z"): 3,
    }  # fmt: skip


def test_no_round_begins_after_the_time_is_over(told):
    said = []
    found = in_rounds([Recorder("a", told)], {"a": [Pace("x", 1)]}, 5, said.append, seconds=-1)
    assert len(found["a", "x"].turns) == 1
    assert "no more than 1 of 5 rounds" in said[-1]


def test_all_end_when_something_fails(is_running):
    waits = "import os, time; print('ready', os.getpid(), flush=True); time.sleep(600)"
    children = [Child("plain", [sys.executable, "-c", waits], dict(os.environ)) for _ in range(2)]
    with pytest.raises(KeyboardInterrupt), running(children):
        raise KeyboardInterrupt
    assert not any(is_running(child._process.pid) for child in children)
