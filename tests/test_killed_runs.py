"""SIGKILL at random moments: the run goes on to the same bits (tests/killed_runs.py)."""

from __future__ import annotations

import random

import pytest
from killed_runs import CASES, SMALL, kill_often, killed_at, undisturbed
from processes.undrawn import UNDRAWN

QUICK = {
    ("pytorch", "beta"): ("train", "beta", *SMALL, "--steps", "15", "--rng", "torch"),
    ("base-r", "beta"): (
        "compare", "--recipe", "beta", *SMALL, "--engine", "base-r", "--steps", "5", "--probe",
        "none",
    ),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize(
    "case", [("pytorch", "beta"), pytest.param(("base-r", "beta"), marks=pytest.mark.r)]
)
def test_a_killed_run_goes_on_to_the_same_bits(warm, tmp_path, case, monkeypatch):
    """A small network, undrawn, killed in the middle; the fifty below are of the article's, at any
    moment, with their figures."""
    monkeypatch.setitem(CASES, case, QUICK[case])
    for name, text in UNDRAWN.items():
        monkeypatch.setenv(name, text)
    whole, _ = undisturbed(warm, CASES[case], tmp_path)
    for _ in range(9):  # the run may reach its end before this process has seen the checkpoint
        kill = killed_at(warm, 2, case, whole, tmp_path)
        if kill is not None and kill.step is not None:
            break
    assert kill is not None
    assert kill.said.startswith("going on after step ")
    assert kill.differs == []


@pytest.mark.r
@pytest.mark.long
def test_fifty_killed_runs_go_on_to_the_same_bits(warm, tmp_path):
    kills = kill_often(warm, 50, random.randrange(10**6), tmp_path)
    assert [str(kill) for kill in kills if kill.differs] == []
