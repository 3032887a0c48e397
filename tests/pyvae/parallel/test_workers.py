"""The workers that train runs in parallel."""

from __future__ import annotations

import os
import sys

import pytest

from pyvae.errors import UserError
from pyvae.parallel.processes import Processes
from pyvae.parallel.workers import check_workers, open_workers


@pytest.mark.parametrize("given", [(None, None), (3, None), (None, "tcp://host:1")])
def test_one_option_alone_is_right(given):
    check_workers(*given)


def test_both_options_are_one_line():
    with pytest.raises(
        UserError, match=r"^--jobs 1 together with --scheduler x\. Leave out --jobs"
    ):
        check_workers(1, "x")


def test_processes_need_no_distributed(monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with open_workers(2, None, 1) as workers:
        assert isinstance(workers, Processes)
        assert not workers.lasting
    with (
        pytest.raises(UserError, match=r"Install it with 'pip install distributed'\.$"),
        open_workers(2, "tcp://127.0.0.1:1", 1),
    ):
        pass


@pytest.mark.parametrize(
    ("jobs", "threads", "cores", "line"),
    [
        (1, 8, 2, ""),  # as PyTorch does it alone
        (2, 1, 2, ""),
        (4, 2, 8, ""),
        (2, 2, 2, "2 processes of 2 threads on 2 cores slow each other down: lower"),
        (3, 1, 1, "3 processes on 1 core slow each other down: lower"),
    ],
)
def test_more_threads_than_cores_are_said(monkeypatch, jobs, threads, cores, line):
    monkeypatch.setattr(os, "cpu_count", lambda: cores)
    lines = []
    with open_workers(jobs, None, threads, lines.append):
        pass
    assert len(lines) == bool(line)
    assert all(words.startswith(line) for words in lines)
