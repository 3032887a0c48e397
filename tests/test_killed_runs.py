"""SIGKILL at random moments: the run goes on to the same bits (tests/killed_runs.py)."""

from __future__ import annotations

import random

import pytest
from killed_runs import CASES, SMALL, kill_often
from undrawn import UNDRAWN

QUICK = {
    ("pytorch", "beta"): ("train", "beta", *SMALL, "--steps", "15", "--rng", "torch"),
    ("base-r", "beta"): (
        "compare", "--recipe", "beta", *SMALL, "--engine", "base-r", "--steps", "5", "--probe",
        "none",
    ),
}  # fmt: skip
SEED = 20  # of the moments; another one each time would be a test that fails for nobody to repeat


@pytest.mark.slow
@pytest.mark.parametrize(
    "case", [("pytorch", "beta"), pytest.param(("base-r", "beta"), marks=pytest.mark.r)]
)
def test_a_killed_run_goes_on_to_the_same_bits(warm, tmp_path, case, monkeypatch):
    """A small network, undrawn; the fifty below are of the article's, with their figures."""
    monkeypatch.setitem(CASES, case, QUICK[case])
    for name, text in UNDRAWN.items():
        monkeypatch.setenv(name, text)
    (kill,) = kill_often(warm, 1, SEED, tmp_path, [case])
    assert kill.differs == []


@pytest.mark.r
@pytest.mark.long
def test_fifty_killed_runs_go_on_to_the_same_bits(warm, tmp_path):
    kills = kill_often(warm, 50, random.randrange(10**6), tmp_path)
    assert [str(kill) for kill in kills if kill.differs] == []
