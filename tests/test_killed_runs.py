"""SIGKILL at random moments: the run goes on to the same bits (tests/killed_runs.py)."""

from __future__ import annotations

import random

import pytest
from killed_runs import CASES, SMALL, kill_often

QUICK = ("compare", "--recipe", "beta", *SMALL, "--engine", "base-r", "--steps", "5")
SEED = 20  # of the moments; another one each time would be a test that fails for nobody to repeat


@pytest.mark.slow
@pytest.mark.parametrize(
    "case", [("pytorch", "emae"), pytest.param(("base-r", "beta"), marks=pytest.mark.r)]
)
def test_a_killed_run_goes_on_to_the_same_bits(warm, tmp_path, case, monkeypatch):
    monkeypatch.setitem(CASES, ("base-r", "beta"), (*QUICK, "--probe", "none"))
    (kill,) = kill_often(warm, 1, SEED, tmp_path, [case])
    assert kill.differs == []


@pytest.mark.r
@pytest.mark.long
def test_fifty_killed_runs_go_on_to_the_same_bits(warm, tmp_path):
    kills = kill_often(warm, 50, random.randrange(10**6), tmp_path)
    assert [str(kill) for kill in kills if kill.differs] == []
