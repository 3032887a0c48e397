from __future__ import annotations

import doctest
import threading

import pytest

from pyvae.training import prefetch
from pyvae.training.prefetch import DEPTH, Prefetch


def test_each_step_is_computed_once_and_before_it_is_asked_for():
    computed = []
    asked = threading.Event()

    def square(step):
        computed.append(step)
        asked.set()
        return step**2

    with Prefetch(square, last=29) as squares:
        assert squares(0) == 0
        assert asked.wait(600)
        assert [squares(step) for step in range(1, 30)] == [step**2 for step in range(1, 30)]
    assert sorted(computed) == list(range(30))


def test_it_looks_no_further_than_it_says():
    computed = []
    with Prefetch(computed.append, last=1000) as steps:
        steps(5)
    assert computed
    assert min(computed) == 5
    assert max(computed) < 5 + DEPTH


def test_steps_may_be_asked_for_again_left_out_and_beyond_the_last():
    with Prefetch(lambda step: step + 1, last=9) as after:
        assert [after(step) for step in (3, 3, 7, 2, 9, 10, 40)] == [4, 4, 8, 3, 10, 11, 41]


def test_an_error_is_raised_where_its_step_is_asked_for():
    def refuse(step):
        if step == 2:
            raise ValueError(f"step {step}")
        return step

    with Prefetch(refuse, last=9) as steps:
        assert [steps(0), steps(1)] == [0, 1]
        with pytest.raises(ValueError, match="step 2"):
            steps(2)
        assert steps(3) == 3


def test_examples_run():
    assert doctest.testmod(prefetch).failed == 0
