"""Where runs are done."""

from __future__ import annotations

import os
import sys

import pytest

from pyvae.errors import UserError
from pyvae.parallel.processes import Processes
from pyvae.parallel.workers import check_fan_out, open_workers


@pytest.mark.parametrize("given", [(None, None), (3, None), (None, "tcp://host:1")])
def test_one_way_alone_is_right(given):
    check_fan_out(*given)


def test_both_ways_are_one_line():
    with pytest.raises(UserError, match="--jobs 1 together with --scheduler x; expected one of"):
        check_fan_out(1, "x")


def test_processes_need_no_distributed(monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with open_workers(2, None, 1) as workers:
        assert isinstance(workers, Processes)
        assert not workers.lasting
    with (
        pytest.raises(UserError, match=r"pip install distributed"),
        open_workers(2, "tcp://127.0.0.1:1", 1),
    ):
        pass


@pytest.mark.parametrize(
    ("jobs", "threads", "cores", "line"),
    [
        (1, 8, 2, ""),  # as PyTorch does it alone
        (2, 1, 2, ""),
        (4, 2, 8, ""),
        (2, 2, 2, "2 processes of 2 threads on 2 cores: they get into each other's way"),
        (3, 1, 1, "3 processes on 1 core: they get into each other's way"),
    ],
)
def test_more_threads_than_cores_are_said(monkeypatch, jobs, threads, cores, line):
    monkeypatch.setattr(os, "cpu_count", lambda: cores)
    said = []
    with open_workers(jobs, None, threads, said.append):
        pass
    assert len(said) == bool(line)
    assert all(words.startswith(line) for words in said)
