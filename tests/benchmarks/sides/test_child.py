"""A side's process: its turns, and its end, whoever brings it."""

from __future__ import annotations

import os
import sys

import pytest

from benchmarks.given.case import Case
from benchmarks.sides.child import Child, side_environment, start_python
from pyvae.errors import UserError

SPEAKS = """
import os, sys
print("ready", os.getpid(), flush=True)
for line in sys.stdin:
    case, steps = line.split()
    if case == "fail":
        sys.exit("the end of it")
    print("took", *[1.5 + step for step in range(int(steps))], flush=True)
"""


@pytest.fixture
def child():
    """A side that does nothing, and says that its steps take 1.5, 2.5, ... ms."""
    one = Child("plain", [sys.executable, "-c", SPEAKS], dict(os.environ))
    one.wait_until_ready()
    yield one
    one.close()


def test_steps_before_those_that_count_are_left_out(child):
    assert child.turn("conv", 2, skip=1).milliseconds == [2.5, 3.5]
    assert child.turn("conv", 1, skip=0).milliseconds == [1.5]


def test_an_end_is_told_with_the_last_words(child):
    with pytest.raises(UserError, match=r"plain PyTorch loop.*exit code 1.*the end of it"):
        child.turn("fail", 1)
    with pytest.raises(UserError, match="the end of it"):
        child.turn("conv", 1)


def test_an_end_before_it_is_ready_is_told():
    one = Child("rtorch", [sys.executable, "-c", "import sys; sys.exit('no')"], dict(os.environ))
    with pytest.raises(UserError, match=r"plain R torch loop.*last words: no"):
        one.wait_until_ready()
    one.close()


def test_a_killed_one_is_told_with_the_signal(child):
    child.kill()
    with pytest.raises(UserError, match="SIGKILL"):
        child.turn("conv", 1)


def test_other_words_are_told():
    one = Child("plain", [sys.executable, "-c", "print('hello there')"], dict(os.environ))
    with pytest.raises(UserError, match="said 'hello there': expected a line 'ready"):
        one.wait_until_ready()
    one.close()


def test_it_ends_when_it_is_closed(child, is_running):
    child.close()
    assert not is_running(child._process.pid)


def test_all_sides_have_the_same_threads_and_the_systems_allocator(monkeypatch, tmp_path):
    monkeypatch.setenv("MALLOC_TRIM_THRESHOLD_", "1")
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    environment = side_environment(tmp_path, 3)
    assert not [name for name in environment if name.startswith("MALLOC_")]
    assert {environment[name] for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")} == {"3"}
    assert environment["PYVAE_DATA"] == str(tmp_path)


@pytest.mark.slow
@pytest.mark.usefixtures("warm_sides")
def test_a_users_mistake_in_a_side_is_one_line(tmp_path):
    one = start_python("pyvae", {"conv": Case("nothing")}, tmp_path / "none", 1)
    with pytest.raises(UserError, match="last words: MNIST is not in ") as caught:
        one.wait_until_ready()
    one.close()
    assert "Traceback" not in str(caught.value)
