"""Jobs in processes. For Ctrl-C and a killed process see tests/comparisons/seeds."""

from __future__ import annotations

import os
import signal
import time
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing

import psutil
import pytest
import torch
from processes.warm import SERVED

from pyvae.data.images import load_toy
from pyvae.errors import UserError
from pyvae.parallel.jobs import Job
from pyvae.parallel.processes import Processes


def about(number, images, on_step):
    if number == 13:
        raise UserError("thirteen")
    return number, os.getpid(), torch.get_num_threads(), len(images[0])


def jobs_of(*numbers):
    return [Job(str(n), f"job {n}", about, (n,), ("toy",)) for n in numbers]


@pytest.mark.parametrize("jobs", [-1, 0, 1001])
def test_the_number_has_a_range(jobs):
    with pytest.raises(UserError, match=f"^--jobs {jobs}: expected 1 to 1000$"):
        Processes(jobs, 1)


@pytest.mark.parametrize(
    ("jobs", "threads", "words"),
    [(1, 1, "1 process"), (2, 1, "2 processes"), (3, 2, "3 processes of 2 threads")],
)
def test_it_says_how_many(jobs, threads, words):
    assert str(Processes(jobs, threads)) == words


@pytest.mark.slow
def test_more_threads_than_cores_share_them(monkeypatch):
    monkeypatch.setattr(os, "cpu_count", lambda: 4)
    processes = Processes(8, 2)
    assert processes.at_once == 8
    assert [processes.share(jobs) for jobs in (1, 2, 4, 8)] == [1, 1, 0.5, 0.25]


@pytest.mark.slow
def test_jobs_are_done_elsewhere_and_an_error_has_the_jobs_name(tmp_path):
    with closing(
        Processes(1, 3).run(jobs_of(1, 2, 13, 4), {"toy": load_toy(30)}, tmp_path)
    ) as done:
        for number in (1, 2):
            job, (same, process, threads, images), where = next(done)
            assert (job.key, same, threads, images, where) == (str(number), number, 3, 30, "")
            assert process != os.getpid()
        with pytest.raises(UserError, match=r"^job 13: thirteen$"):
            next(done)
    assert list(tmp_path.iterdir()) == []


SITTING = """
import os, sys, time
from pathlib import Path
from pyvae.data.images import load_toy
from pyvae.parallel.jobs import Job
from pyvae.parallel.processes import Processes

def sit(number, folder, images, on_step):
    (folder / f"{number}.pid").write_text(str(os.getpid()))
    time.sleep(0 if number == 1 else 600)

if __name__ == "__main__":
    folder = Path(sys.argv[1])
    jobs = [Job(str(n), f"job {n}", sit, (n, folder), ("toy",)) for n in (1, 2)]
    for done in Processes(2, 1).run(jobs, {"toy": load_toy(30)}, folder):
        (folder / "1.done").touch()
"""


@pytest.mark.slow
def test_they_end_when_the_process_that_started_them_is_killed(tmp_path, warm, is_gone):
    """One that waits for work, one that is in the middle of it, and the one that they are forked
    from."""
    (tmp_path / "sitting.py").write_text(SITTING)
    wanted = [tmp_path / name for name in ("1.pid", "2.pid", "1.done")]
    environment = os.environ | SERVED | {"TMPDIR": str(tmp_path)}
    parent = warm.start(tmp_path / "sitting.py", tmp_path, folder=tmp_path, environment=environment)
    while not all(file.is_file() for file in wanted):
        assert parent.poll() is None
        time.sleep(0.05)
    processes = [process.pid for process in psutil.Process(parent.pid).children(recursive=True)]
    assert {int(file.read_text()) for file in wanted[:2]} < set(processes)
    parent.kill()
    while not all(map(is_gone, processes)):
        time.sleep(0.05)


@pytest.mark.slow
def test_ctrl_c_while_a_process_is_started_is_not_lost(tmp_path, monkeypatch):
    """It stops this process when all are started, and none of them sees it."""
    submit = ProcessPoolExecutor.submit
    seen = []

    def interrupted(pool, *arguments):
        os.kill(os.getpid(), signal.SIGINT)
        future = submit(pool, *arguments)
        seen.extend(psutil.Process().children())
        return future

    monkeypatch.setattr(ProcessPoolExecutor, "submit", interrupted)
    with pytest.raises(KeyboardInterrupt):
        list(Processes(1, 1).run(jobs_of(1), {"toy": load_toy(30)}, tmp_path))
    monkeypatch.undo()
    assert seen
    assert len(list(Processes(1, 1).run(jobs_of(1), {"toy": load_toy(30)}, tmp_path))) == 1
