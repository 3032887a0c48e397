"""Jobs in processes. What becomes of them under Ctrl-C and when one is killed:
tests/comparisons/test_native.py and test_native_cli.py."""

from __future__ import annotations

import os
from contextlib import closing

import pytest
import torch

from pyvae.data import load_toy
from pyvae.errors import UserError
from pyvae.jobs import Job
from pyvae.processes import Processes


def about(number, images, ask):
    if number == 13:
        raise UserError("thirteen")
    return number, os.getpid(), torch.get_num_threads(), len(images[0])


def jobs_of(*numbers):
    return [Job(str(n), f"job {n}", about, (n,), ("toy",)) for n in numbers]


@pytest.mark.parametrize("jobs", [-1, 0, 1001])
def test_the_number_has_a_range(jobs):
    with pytest.raises(UserError, match=f"--jobs {jobs}; expected 1 to 1000"):
        Processes(jobs, 1)


@pytest.mark.parametrize(
    ("jobs", "threads", "words"),
    [(1, 1, "1 process"), (2, 1, "2 processes"), (3, 2, "3 processes of 2 threads")],
)
def test_it_says_how_many(jobs, threads, words):
    assert str(Processes(jobs, threads)) == words


@pytest.mark.slow
def test_jobs_are_done_elsewhere_and_an_error_has_the_jobs_name(tmp_path):
    with closing(Processes(2, 3).run(jobs_of(1, 2, 3), {"toy": load_toy(30)}, tmp_path)) as done:
        found = {int(job.key): (result, where) for job, result, where in done}
    assert sorted(found) == [1, 2, 3]
    for number, ((same, process, threads, images), where) in found.items():
        assert (same, threads, images, where) == (number, 3, 30, "")
        assert process != os.getpid()
    with (
        closing(Processes(1, 1).run(jobs_of(13, 2), {"toy": load_toy(30)}, tmp_path)) as done,
        pytest.raises(UserError, match=r"^job 13: thirteen$"),
    ):
        list(done)
    assert list(tmp_path.iterdir()) == []
