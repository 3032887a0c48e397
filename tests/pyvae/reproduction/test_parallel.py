"""Runs in parallel: each leaves what it leaves alone, also on a Dask cluster that loses workers."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from matplotlib.figure import Figure
from processes.undrawn import save_a_pixel

from pyvae.cli.main import main
from pyvae.data.images import load_split
from pyvae.errors import UserError
from pyvae.parallel.jobs import Finished, do, share
from pyvae.reproduction import parallel
from pyvae.reproduction.parallel import train_in_parallel
from pyvae.reproduction.plan import Plan
from pyvae.reproduction.planned import Planned
from pyvae.reproduction.report import Report
from pyvae.reproduction.training import train_planned

pytestmark = pytest.mark.slow

BIN = Path(sys.executable).parent


class Here:
    """Workers that do everything in this process, in the opposite order."""

    lasting = True

    def __init__(self, spoil=lambda job: None):
        self.spoil = spoil
        self.jobs = []

    def run(self, jobs, images, folder):
        self.jobs += [job.name for job in jobs]
        with share(images, 1, folder) as shared:
            for job in reversed(jobs):
                result = do(job, shared)
                self.spoil(job)
                yield Finished(job, result, "w1")

    def __str__(self):
        return "nobody else"


class Lines(Report):
    """Collects what is logged."""

    def __init__(self):
        self.lines = []

    def log(self, line):
        self.lines.append(line)


@pytest.fixture(autouse=True)
def _threads():
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def split():
    return load_split("digits")


@pytest.fixture
def go(split, tmp_path):
    """Two seeds of six steps; the runs, their traces, and the lines that are logged."""

    def run(workers):
        planned = Planned("mlp", "mlp", seeds=2, test=True)
        runs = Plan(epochs=6).runs(planned, split, tmp_path / "out")
        report = Lines()  # of runs that are the same, one is trained
        traces = train_in_parallel([*runs, *runs], tmp_path / "out", "cpu", workers, report)
        return runs, traces, report.lines

    return run


def files(folder):
    """All that is left, but for `run.json`, which holds the command and the time."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name != "run.json"
    }


def test_each_run_is_the_one_that_is_trained_alone(go, tmp_path):
    workers = Here()
    runs, traces, lines = go(workers)
    assert workers.jobs == ["mlp (ELBO), seed 1", "mlp (ELBO), seed 2"]
    assert list(traces) == [run.folder for run in reversed(runs)]
    assert lines[0] == "2 runs by nobody else"
    assert lines[1].startswith("mlp (ELBO), seed 2: 6 steps in ")
    for run in runs:
        train_planned(replace(run, folder=tmp_path / "alone" / run.folder.name), "cpu")
    assert files(tmp_path / "out") == files(tmp_path / "alone")


def test_a_finished_run_is_not_repeated_and_an_interrupted_one_goes_on(go, monkeypatch):
    monkeypatch.setenv("PYVAE_CHECKPOINT_SECONDS", "0")
    right = parallel._train

    def interrupted(*arguments):
        steps = iter(range(3))

        def on_step():
            if next(steps) == 2:
                raise KeyboardInterrupt

        return right(*arguments[:-1], on_step)

    monkeypatch.setattr(parallel, "_train", interrupted)
    with pytest.raises(KeyboardInterrupt):
        go(Here())
    monkeypatch.setattr(parallel, "_train", right)
    _, traces, lines = go(Here())
    assert sum("going on after step 3, where it was interrupted" in line for line in lines) == 1
    last = Here()
    _, again, lines = go(last)
    assert last.jobs == []
    assert sum("were done before" in line for line in lines) == 2
    assert all((again[folder].losses == trace.losses).all() for folder, trace in traces.items())


def test_a_trace_that_is_not_seen_here_is_one_line(go, monkeypatch):
    monkeypatch.setattr("pyvae.parallel.jobs.ARRIVES", 0)

    def elsewhere(job):
        (Path(job.key) / "trace.json").unlink()

    with pytest.raises(UserError, match=r"^worker w1 has written '.*seed2', which cannot be seen"):
        go(Here(spoil=elsewhere))


# The command itself

BETA = [
    "reproduce", "beta", "--seeds", "2", "--epochs", "1", "--data", "digits", "--device", "cpu",
    "--threads", "1",
]  # fmt: skip
# In a Dask worker: a job stops after three steps, until there is a file `open`.
GATE = """
import time
from pathlib import Path

from distributed import get_worker

from pyvae.parallel import dask_worker, jobs

FOLDER = Path(FOLDER)


def do(job, shared, on_step):
    steps = iter(range(10**6))

    def on_step_until_open():
        if next(steps) == 2:
            (FOLDER / f"{get_worker().name}.held").touch()
            while not (FOLDER / "open").exists():
                on_step()
                time.sleep(0.01)
        on_step()

    return jobs.do(job, shared, on_step_until_open)


dask_worker.do = do
dask_worker.INTERVAL = 0.05
"""


@pytest.fixture(scope="module")
def serial(tmp_path_factory):
    """What the command leaves when it trains one run after the other; figures undrawn."""
    out = tmp_path_factory.mktemp("serial") / "out"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Figure, "savefig", save_a_pixel)
        assert main([*BETA, "--out", str(out)]) == 0
    return files(out)


class DaskCluster:
    """A scheduler and two workers, each a process; on this machine alone."""

    def __init__(self, folder, warm):
        self.folder, self.warm = folder, warm
        self.processes = {}
        # Dask copies it elsewhere: it is told where the folder is
        (folder / "gate.py").write_text(f"FOLDER = {str(folder)!r}\n{GATE}")
        self.start("scheduler", "scheduler", "--scheduler-file", "scheduler.json", "--port", "0",
                   "--dashboard-address", "127.0.0.1:0")  # fmt: skip
        while not self.has_address():  # the file is there before there is anything in it
            self.check()
        for name in ("one", "two"):
            self.start(name, "worker", self.address, "--name", name, "--no-dashboard",
                       "--no-nanny", "--preload", folder / "gate.py")  # fmt: skip

    def has_address(self):
        with suppress(FileNotFoundError, json.JSONDecodeError):
            self.address = json.loads((self.folder / "scheduler.json").read_text())["address"]
            return True
        return False

    def start(self, name, *arguments):
        with (self.folder / f"{name}.log").open("w") as log:
            self.processes[name] = self.warm.start(
                BIN / "dask", *arguments, "--host", "127.0.0.1", folder=self.folder,
                environment=os.environ | {"PYVAE_CHECKPOINT_SECONDS": "0"},
                stdout=log.fileno(), stderr=log.fileno(),
            )  # fmt: skip

    def check(self):
        assert all(process.poll() is None for process in self.processes.values())
        time.sleep(0.02)

    def held(self):
        """Whether each worker is in the middle of a run, after its third step."""
        return len(list(self.folder.glob("*.held"))) == 2

    def let_go(self):
        """Lets the workers train to the end."""
        (self.folder / "open").touch()

    def wait_until_idle(self):
        from distributed import Client

        with Client(self.address, set_as_default=False) as client:
            # by value: the workers cannot import this file
            is_busy = lambda: sys.modules[  # noqa: E731
                "pyvae.parallel.dask_worker"
            ]._one_at_a_time.locked()
            while any(client.run(is_busy).values()):
                self.check()

    def kill(self, name):
        process = self.processes.pop(name)
        process.kill()
        process.wait()

    def __enter__(self):
        return self

    def __exit__(self, *error):
        for name in list(self.processes):
            self.kill(name)


@pytest.fixture
def cluster(warm, tmp_path):
    with DaskCluster(tmp_path, warm) as cluster:
        yield cluster


@pytest.fixture
def meanwhile():
    """Does something once it is time for it, while the test goes on; fails if it never was."""
    ended = threading.Event()
    done = []
    threads = []

    def start(is_time, do):
        def wait():
            while not is_time():
                if ended.wait(0.02):
                    return
            do()
            done.append(do)

        threads.append(threading.Thread(target=wait))
        threads[-1].start()

    yield start
    ended.set()
    for thread in threads:
        thread.join()
    assert len(done) == len(threads), "it was never time for it"


@pytest.fixture
def start_command(warm, tmp_path):
    return lambda *arguments: warm.start(BIN / "pyvae", *arguments, folder=tmp_path)


def wait_until_held(cluster, process):
    while not cluster.held():
        assert process.poll() is None, process.communicate()
        cluster.check()


@pytest.mark.slow
def test_neither_ctrl_c_nor_a_killed_worker_changes_a_bit(
    serial, tmp_path, cluster, start_command, capsys, meanwhile, undrawn
):
    arguments = [*BETA, "--out", str(tmp_path / "out"), "--scheduler", cluster.address]
    process = start_command(*arguments)
    wait_until_held(cluster, process)  # both are after step 3
    process.send_signal(signal.SIGINT)
    said, error = process.communicate()
    assert (process.returncode, error) == (130, "pyvae: interrupted\n")
    assert "then interrupted. Run the same command again to continue." in said
    cluster.wait_until_idle()
    assert not list(tmp_path.rglob(".images-*"))
    for file in tmp_path.glob("*.held"):
        file.unlink()

    def kill_one():  # both are after step 6, and have a checkpoint of step 5
        cluster.kill("one")
        cluster.let_go()

    meanwhile(cluster.held, kill_one)
    assert main(arguments) == 0
    said, error = capsys.readouterr()
    assert error == ""
    assert "2 runs by 2 workers of tcp://127.0.0.1" in said
    for step in (3, 5):
        assert said.count(f"going on after step {step}, where it was interrupted") == 1
    assert said.count("on worker two (") == 2
    assert files(tmp_path / "out") == serial


@pytest.mark.slow
def test_a_scheduler_that_is_killed_is_one_line(tmp_path, cluster, start_command):
    process = start_command(*BETA, "--out", "out", "--scheduler", cluster.address)
    wait_until_held(cluster, process)
    cluster.kill("scheduler")
    _, error = process.communicate()
    assert process.returncode == 2
    assert error == (
        f"pyvae: the connection to the scheduler {cluster.address} was lost. Run the same command "
        "again to continue.\n"
    )


@pytest.mark.slow
def test_processes_leave_what_one_leaves(serial, tmp_path, capsys, undrawn):
    assert main([*BETA, "--out", str(tmp_path / "out"), "--jobs", "2"]) == 0
    said, error = capsys.readouterr()
    assert error == ""
    assert "2 runs by 2 processes" in said
    assert files(tmp_path / "out") == serial


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--jobs", "0"), "--jobs 0: expected 1 to 1000"),
        (("--jobs", "2", "--scheduler", "tcp://127.0.0.1:1"), "--jobs 2 together with --scheduler"),
        (("--scheduler", "tcp://127.0.0.1:1"), "--scheduler tcp://127.0.0.1:1 cannot be reached"),
        (("--scheduler", ""), "--scheduler '': expected an address such as tcp://host:8786"),
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
