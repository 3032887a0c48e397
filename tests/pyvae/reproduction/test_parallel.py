"""Runs side by side: each as if it were alone; and all of it with a Dask cluster of which a worker
is killed, as a user types it."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

import pytest
import torch
from rich.console import Console

from pyvae.cli.main import main
from pyvae.data.images import load_split
from pyvae.errors import UserError
from pyvae.parallel.jobs import Finished, do, share
from pyvae.reproduction import parallel as side_by_side
from pyvae.reproduction.article import Planned
from pyvae.reproduction.parallel import train_side_by_side
from pyvae.reproduction.planned_runs import runs_of, train_here

BIN = Path(sys.executable).parent
EPOCHS = 6


class Here:
    """Workers that do everything in this process, in the opposite order."""

    lasting = True

    def __init__(self, where="w1", spoil=lambda job: None):
        self.where = where
        self.spoil = spoil
        self.jobs = []

    def run(self, jobs, images, folder):
        self.jobs += [job.name for job in jobs]
        with share(images, 1, folder) as shared:
            for job in reversed(jobs):
                result = do(job, shared)
                self.spoil(job)
                yield Finished(job, result, self.where)

    def __str__(self):
        return "nobody else"


@pytest.fixture(scope="module")
def sets():
    train, test = load_split("digits")
    return train, test


@pytest.fixture
def go(sets, tmp_path):
    """Two seeds of a few steps; the traces, and what was said."""
    planned = Planned("mlp", "mlp", seeds=2, test=True)

    def run(workers, folder="out"):
        runs = runs_of(planned, tmp_path / folder, epochs=EPOCHS)
        runs = [*runs, *runs]  # of runs that are the same, one is done
        console = Console(file=io.StringIO(), width=200)
        traces = train_side_by_side(
            runs, sets, tmp_path / folder, "cpu", workers, console,
            lambda line: console.print(line),
        )  # fmt: skip
        return runs[:2], traces, console.file.getvalue()

    return run


def files(folder):
    """All that is left, but for `run.json`, which says how and when."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name != "run.json"
    }


def test_each_run_is_the_one_that_is_trained_alone(go, sets, tmp_path):
    workers = Here()
    runs, traces, said = go(workers)
    assert workers.jobs == ["mlp (ELBO), seed 1", "mlp (ELBO), seed 2"]
    assert list(traces) == [run.folder for run in reversed(runs)]
    assert "2 runs by nobody else" in said
    assert ", on worker w1 (2 of 2, 0:00:00 left)" in said
    quiet = Console(file=io.StringIO())
    for run in runs:
        alone = run.__class__(run.planned, run.settings, tmp_path / "alone" / run.folder.name)
        train_here(alone, sets, "cpu", quiet, lambda line: None)
    assert files(tmp_path / "out") == files(tmp_path / "alone")


def test_what_is_done_is_not_done_again_and_what_was_begun_goes_on(go, monkeypatch):
    monkeypatch.setenv("PYVAE_CHECKPOINT_SECONDS", "0")
    right = side_by_side._train
    stop = 3

    def killed(*arguments):
        left = [stop]

        def count():
            left[0] -= 1
            if not left[0]:
                raise KeyboardInterrupt

        return right(*arguments[:-1], count)

    monkeypatch.setattr(side_by_side, "_train", killed)
    with pytest.raises(KeyboardInterrupt):
        go(Here())
    monkeypatch.setattr(side_by_side, "_train", right)
    _, traces, said = go(Here())
    assert said.count(f"going on after step {stop}, where it was interrupted") == 1
    last = Here()
    _, again, said = go(last)
    assert last.jobs == []
    assert said.count("were done before") == 2
    assert all((again[folder].losses == trace.losses).all() for folder, trace in traces.items())


def test_what_a_worker_wrote_elsewhere_is_one_line(go, monkeypatch):
    monkeypatch.setattr("pyvae.parallel.jobs.ARRIVES", 0)

    def elsewhere(job):
        (Path(job.key) / "trace.json").unlink()

    with pytest.raises(UserError, match=r"worker w1 says that it wrote '.*seed2', which cannot be"):
        go(Here(spoil=elsewhere))


# The command itself

BETA = [
    "reproduce", "beta", "--seeds", "4", "--epochs", "8", "--data", "digits", "--device", "cpu",
    "--threads", "1",
]  # fmt: skip


@pytest.fixture(autouse=True)
def _threads():
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def serial(tmp_path_factory):
    """What the command leaves when it trains one run after the other."""
    out = tmp_path_factory.mktemp("serial") / "out"
    assert main([*BETA, "--out", str(out)]) == 0
    return files(out)


class DaskCluster:
    """A scheduler and workers, each a process, as a user starts them; on this machine alone."""

    def __init__(self, folder, names, options=(), **environment):
        self.folder = folder
        self.processes = {}
        self.environment = os.environ | {"PYVAE_CHECKPOINT_SECONDS": "0"} | environment
        self.start("scheduler", "scheduler", "--scheduler-file", "scheduler.json", "--port", "0",
                   "--dashboard-address", "127.0.0.1:0")  # fmt: skip
        until(self.has_address)  # the file is there before there is anything in it
        for name in names:
            self.start(name, "worker", self.address, "--name", name, "--no-dashboard", *options)

    def has_address(self):
        with suppress(FileNotFoundError, json.JSONDecodeError):
            self.address = json.loads((self.folder / "scheduler.json").read_text())["address"]
            return True
        return False

    def start(self, name, *arguments):
        with (self.folder / f"{name}.log").open("w") as log:
            self.processes[name] = subprocess.Popen(
                [BIN / "dask", *arguments, "--host", "127.0.0.1"], cwd=self.folder,
                env=self.environment, stdout=log, stderr=log,
            )  # fmt: skip

    def kill(self, name):
        self.processes[name].kill()
        self.processes[name].wait()

    def __enter__(self):
        return self

    def __exit__(self, *error):
        for name in self.processes:
            self.kill(name)


def until(there, seconds=40):
    deadline = time.monotonic() + seconds
    while not there():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def begun(folder, since=0.0):
    """The folders of runs that are under way and have a checkpoint."""
    found = set()
    for path in (folder / "out" / "runs").glob("*/checkpoint-*.json"):
        with suppress(FileNotFoundError):  # it has come to its end
            if path.stat().st_mtime > since:
                found.add(path.parent)
    return found


@pytest.fixture
def meanwhile():
    """Does something once it is time for it, while the test goes on; fails if it never was."""
    threads = []

    def start(there, do):
        def wait():
            until(there)
            do()
            threads[0].in_time = True

        thread = threading.Thread(target=wait)
        thread.in_time = False
        threads.append(thread)
        thread.start()

    yield start
    for thread in threads:
        thread.join()
        assert thread.in_time, "it was never time for it"


@pytest.mark.slow
def test_neither_ctrl_c_nor_a_killed_worker_changes_anything(serial, tmp_path, capsys, meanwhile):
    """Two workers, four seeds. With nannies, and as many threads as there are cores."""
    with DaskCluster(tmp_path, ["one", "two"]) as cluster:
        arguments = [*BETA, "--out", str(tmp_path / "out"), "--scheduler", cluster.address]
        process = subprocess.Popen(
            [BIN / "pyvae", *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        until(lambda: len(begun(tmp_path)) == 2)
        process.send_signal(signal.SIGINT)
        said, error = process.communicate(timeout=20)
        assert (process.returncode, error) == (130, "pyvae: interrupted\n")
        assert "then interrupted. Run the same command again to continue" in said
        assert_nothing_is_written(tmp_path / "out")

        again = time.time()
        meanwhile(lambda: len(begun(tmp_path, again)) == 2, lambda: cluster.kill("one"))
        assert main(arguments) == 0
    said, error = capsys.readouterr()
    assert error == ""
    assert "4 runs by 2 workers of tcp://127.0.0.1" in said
    assert said.count("where it was interrupted") >= 2  # by Ctrl-C or by the kill, or by both
    assert said.count("on worker two (") == 4
    assert files(tmp_path / "out") == serial


@pytest.mark.slow
def test_processes_leave_what_one_leaves(serial, tmp_path, capsys):
    assert main([*BETA, "--out", str(tmp_path / "out"), "--jobs", "2"]) == 0
    said, error = capsys.readouterr()
    assert error == ""
    assert "4 runs by 2 processes" in said
    assert files(tmp_path / "out") == serial


@pytest.mark.slow
def test_a_job_that_loses_its_worker_too_often_is_one_line(tmp_path, capsys, meanwhile):
    """The scheduler is told to give up at the first."""
    never = {"DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "0"}
    with DaskCluster(tmp_path, ["one"], ["--no-nanny"], **never) as cluster:
        meanwhile(lambda: begun(tmp_path), lambda: cluster.kill("one"))
        assert main([*BETA, "--out", str(tmp_path / "out"), "--scheduler", cluster.address]) == 2
    _, error = capsys.readouterr()
    assert error.count("\n") == 1
    assert "a worker was lost while it had it, tcp://127.0.0.1" in error
    assert not list(tmp_path.rglob(".images-*"))


def assert_nothing_is_written(out):
    """A job looks once a second whether it is still wanted."""
    time.sleep(1.5)
    before = files(out)
    time.sleep(0.5)
    assert files(out) == before
    assert not list(out.rglob(".images-*"))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--jobs", "0"), "--jobs 0; expected 1 to 1000"),
        (("--jobs", "2", "--scheduler", "tcp://127.0.0.1:1"), "--jobs 2 together with --scheduler"),
        (("--scheduler", "tcp://127.0.0.1:1"), "--scheduler tcp://127.0.0.1:1 cannot be reached"),
        (("--scheduler", ""), "--scheduler ''; expected an address such as tcp://host:8786"),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(arguments, words, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("PYVAE_DASK_TIMEOUT", "0.2")
    assert main([*BETA, "--out", str(tmp_path / "out"), *arguments]) == 2
    said, error = capsys.readouterr()
    assert error.startswith(f"pyvae: {words}")
    assert error.count("\n") == 1
    assert said == ""
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_a_scheduler_that_is_killed_is_one_line(tmp_path):
    with DaskCluster(tmp_path, ["one"], ["--no-nanny"]) as cluster:
        process = subprocess.Popen(
            [BIN / "pyvae", *BETA, "--out", str(tmp_path / "out"), "--scheduler", cluster.address],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        until(lambda: begun(tmp_path))
        cluster.kill("scheduler")
        _, error = process.communicate(timeout=30)
    assert process.returncode == 2
    assert error.startswith(f"pyvae: the connection to the scheduler {cluster.address} was lost;")
    assert error.count("\n") == 1
