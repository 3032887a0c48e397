"""Jobs on a Dask cluster: a small one in this process, on 127.0.0.1."""

from __future__ import annotations

import io
import logging
import socket
import sys
import time
from contextlib import closing, contextmanager, suppress
from types import SimpleNamespace

import dask
import distributed
import pytest
from distributed import LocalCluster
from distributed.scheduler import KilledWorker

from pyvae.data.images import load_toy
from pyvae.errors import UserError
from pyvae.parallel import dask_client as cluster_module
from pyvae.parallel import dask_worker as cluster_worker
from pyvae.parallel.dask_client import Cluster, open_cluster
from pyvae.parallel.jobs import Job
from pyvae.version import DISTRIBUTION

pytestmark = pytest.mark.slow


@contextmanager
def a_cluster(**options):
    """Its address is new each time: no port is taken for granted."""
    options = {"n_workers": 1, "threads_per_worker": 1} | options
    with LocalCluster(
        processes=False, protocol="tcp://", host="127.0.0.1", dashboard_address="127.0.0.1:0",
        silence_logs=60, **options,
    ) as cluster:  # fmt: skip
        yield cluster


@pytest.fixture(scope="module")
def here():
    with a_cluster() as cluster:
        yield cluster


@pytest.fixture(autouse=True)
def _heard():
    """After an error Dask stays silent: not for other tests."""
    loggers = cluster_module._dask_loggers()
    before = [(logger.handlers, logger.propagate) for logger in loggers]
    yield
    for logger, (handlers, propagate) in zip(loggers, before, strict=True):
        logger.handlers, logger.propagate = handlers, propagate


@pytest.fixture
def impatient(monkeypatch):
    """For what never answers or appears, however fast the machine is."""
    monkeypatch.setenv("PYVAE_DASK_TIMEOUT", "0.3")


@pytest.fixture(autouse=True)
def _short_intervals(monkeypatch):
    for module in (cluster_module, cluster_worker):
        monkeypatch.setattr(module, "INTERVAL", 0.05)


def double(number, images, on_step):
    if number == 13:
        raise UserError("thirteen")
    on_step()
    return 2 * number, len(images[0])


def until_unwanted(images, on_step):
    while True:
        on_step()
        time.sleep(0.01)


def numbers(*given):
    return [Job(str(n), f"job {n}", double, (n,), ("toy",)) for n in given]


def run(address, jobs, folder):
    with (
        open_cluster(address, 1) as cluster,
        closing(cluster.run(jobs, {"toy": load_toy(30)}, folder)) as done,
    ):
        return [(job.key, result, where) for job, result, where in done]


def test_all_jobs_are_done(here, tmp_path):
    found = run(here.scheduler_address, numbers(1, 2, 3), tmp_path)
    assert sorted(found) == [(str(n), (2 * n, 30), "0") for n in (1, 2, 3)]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("impatient")
def test_something_that_listens_and_is_silent_is_no_scheduler():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"tcp://127.0.0.1:{silent.getsockname()[1]}"
        said = rf"--scheduler {address} cannot be reached \(no answer after 0.3 seconds\)"
        with pytest.raises(UserError, match=said), open_cluster(address, 1):
            pass


def test_it_says_how_many_workers_there_are(here):
    with open_cluster(here.scheduler_address, 2) as cluster:
        assert str(cluster) == f"1 worker of {here.scheduler_address}, 2 threads each"
        assert (cluster.at_once, cluster.share(1)) == (1, 1)


def test_a_job_that_fails_is_one_line_and_ends_the_others(here, tmp_path):
    jobs = [*numbers(13), Job("long", "a long job", until_unwanted, (), ("toy",))]
    with pytest.raises(UserError, match=r"^job 13 on worker 0: thirteen$"):
        run(here.scheduler_address, jobs, tmp_path)
    # the long one has ended: the worker does the next
    assert len(run(here.scheduler_address, numbers(1), tmp_path)) == 1


def test_a_client_that_goes_away_leaves_nothing_running(here, tmp_path):
    with open_cluster(here.scheduler_address, 1) as cluster:
        jobs = [*numbers(1), Job("long", "a long job", until_unwanted, (), ("toy",))]
        done = cluster.run(jobs, {"toy": load_toy(30)}, tmp_path)
        assert next(done).job.key == "1"
        done.close()  # as Ctrl-C does
    assert list(tmp_path.iterdir()) == []
    assert len(run(here.scheduler_address, numbers(1), tmp_path)) == 1


@pytest.mark.parametrize("error", [None, UserError("lost")])
@pytest.mark.parametrize("name", ["distributed", "distributed.client", "asyncio"])
def test_dask_says_nothing_and_after_an_error_nothing_at_all(here, error, name):
    said = io.StringIO()
    logger = logging.getLogger(name)
    logger.handlers = [logging.StreamHandler(said)]
    with suppress(UserError), open_cluster(here.scheduler_address, 1):
        logger.log(100, "during")
        if error:
            raise error
    logger.log(100, "after")
    assert said.getvalue() == ("" if error else "after\n")


def test_workers_with_several_threads_are_told_how_to_use_them():
    lines = []
    with a_cluster(threads_per_worker=3) as several:
        address = several.scheduler_address
        with open_cluster(address, 1, lines.append):
            pass
    assert lines == [
        "1 of the workers have several threads but do one job at a time. To use all cores: dask "
        f"worker {address} --nthreads 1 --nworkers N"
    ]


BAD = {
    "": "--scheduler '': expected an address such as tcp://host:8786",
    "host": "expected an address such as tcp://host:8786",
    "tcp://127.0.0.1:1": "cannot be reached",
    "tcp://127.0.0.1:port": "cannot be reached",
    "gopher://127.0.0.1:1": "cannot be reached",
    "tls://127.0.0.1:1": "cannot be reached",
}


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("address", BAD)
def test_an_address_without_a_scheduler_is_one_line(address, capfd):
    with pytest.raises(UserError, match=BAD[address]) as caught, open_cluster(address, 1):
        pass
    assert address in str(caught.value)
    assert "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", "")


def test_a_worker_that_appears_late_is_waited_for(tmp_path):
    lines = []
    with a_cluster(n_workers=0) as late:

        def log(line):
            lines.append(line)
            late.scale(1)

        with open_cluster(late.scheduler_address, 1, log) as cluster:
            (done,) = cluster.run(numbers(1), {"toy": load_toy(30)}, tmp_path)
    assert done.result == (2, 30)
    assert lines == [
        f"the scheduler {late.scheduler_address} has no worker: waiting up to 30 seconds for one "
        "to appear"
    ]


def test_a_scheduler_without_workers_is_one_line(monkeypatch, capfd):
    def never(client, number, timeout):
        raise TimeoutError(number, timeout)

    monkeypatch.setattr(distributed.Client, "wait_for_workers", never)
    with a_cluster(n_workers=0) as empty:
        capfd.readouterr()
        with (
            pytest.raises(UserError) as caught,
            open_cluster(empty.scheduler_address, 1, lambda line: None),
        ):
            pass
    assert str(caught.value) == (
        f"the scheduler {empty.scheduler_address} has no worker, and none appeared within 30 "
        f"seconds. Start one with 'dask worker {empty.scheduler_address}', or set "
        "PYVAE_DASK_TIMEOUT to more seconds if workers take longer."
    )
    number, timeout = caught.value.__cause__.args
    assert number == 1
    assert 0 < timeout <= 30
    assert capfd.readouterr() == ("", "")


def test_workers_that_go_away_are_one_line(tmp_path):
    lines = []
    long = Job("long", "a long job", until_unwanted, (), ("toy",))
    with (
        a_cluster() as fading,
        open_cluster(fading.scheduler_address, 1, lines.append) as cluster,
        closing(cluster.run([long], {"toy": load_toy(30)}, tmp_path)) as done,
    ):
        cluster.patience = 0.2
        fading.scale(0)
        problem = f"all workers of {fading.scheduler_address} are lost"
        with pytest.raises(UserError, match=f"^{problem}, and none appeared within 0.2 seconds"):
            next(done)
    assert lines == [f"{problem}: waiting up to 0.2 seconds for one to appear"]


def test_a_scheduler_that_goes_away_is_one_line(tmp_path):
    with a_cluster() as fading, open_cluster(fading.scheduler_address, 1) as cluster:
        jobs = [*numbers(1), Job("long", "a long job", until_unwanted, (), ("toy",))]
        done = cluster.run(jobs, {"toy": load_toy(30)}, tmp_path)
        assert next(done).job.key == "1"
        fading.close()
        with pytest.raises(UserError, match=r"^the connection to the scheduler .* was lost\. Run"):
            next(done)
    assert list(tmp_path.iterdir()) == []


def lose_worker(images, on_step):
    """Breaks the connection between this worker and the scheduler, as the death of either does."""
    worker = distributed.get_worker()
    worker.loop.add_callback(worker.batched_stream.comm.abort)
    until_unwanted(images, on_step)


def test_a_job_that_loses_its_worker_too_often_is_one_line(tmp_path):
    """The scheduler is told to give up at the first."""
    deadly = Job("deadly", "a deadly job", lose_worker, (), ("toy",))
    with (
        dask.config.set({"distributed.scheduler.allowed-failures": 0}),
        a_cluster() as fading,
        open_cluster(fading.scheduler_address, 1) as cluster,
        closing(cluster.run([deadly], {"toy": load_toy(30)}, tmp_path)) as done,
        pytest.raises(UserError, match=r"^a deadly job: worker tcp:.* was lost during it, perhaps"),
    ):
        next(done)
    assert list(tmp_path.iterdir()) == []


def test_no_worker_is_waited_for_once_a_job_is_done():
    """The scheduler tells of a job that it has given up after it has told of the lost worker."""
    looks = iter([False, False, True])

    def wait_for_workers(count, timeout):
        raise TimeoutError

    client = SimpleNamespace(
        scheduler_info=lambda: {"workers": {}}, wait_for_workers=wait_for_workers
    )
    cluster = Cluster(client, "tcp://127.0.0.1:1", 1)
    cluster.wait_for_worker("none", "start one", [SimpleNamespace(done=lambda: next(looks))])
    assert next(looks, None) is None
    cluster.patience = 0.1
    with pytest.raises(UserError, match=r"none appeared within 0\.1 seconds"):
        cluster.wait_for_worker("none", "start one", [SimpleNamespace(done=lambda: False)])


def test_a_job_that_loses_one_worker_after_another_is_one_line():
    last = SimpleNamespace(address="tcp://127.0.0.1:7")

    def result():
        raise KilledWorker("key", last, 3)

    cluster = Cluster(None, "tcp://127.0.0.1:1", 1)
    with pytest.raises(UserError, match=r"^job 1: 4 workers, tcp:.*:7 the last, were lost during"):
        cluster._outcome(numbers(1)[0], SimpleNamespace(result=result))


def test_a_worker_that_cannot_even_begin_is_one_line():
    def result():
        raise ModuleNotFoundError("No module named 'pyvae'")

    cluster = Cluster(None, "tcp://127.0.0.1:1", 1)
    words = "job 1: ModuleNotFoundError on a worker: No module named 'pyvae'"
    with pytest.raises(UserError, match=words):
        cluster._outcome(numbers(1)[0], SimpleNamespace(result=result, cancelled=lambda: False))


def test_workers_with_other_versions_are_one_line(here, monkeypatch):
    right = distributed.Client.get_versions

    def other(client, **options):
        found = right(client, **options)
        for worker in found["workers"].values():
            worker["packages"] = {**worker["packages"], "torch": "1.0", DISTRIBUTION: None}
        return found

    monkeypatch.setattr(distributed.Client, "get_versions", other)
    words = (
        r"has other versions: port-parity missing instead of \d.*, torch 1.0 instead of .*\. "
        "Install the"
    )
    with pytest.raises(UserError, match=words), open_cluster(here.scheduler_address, 1):
        pass


def test_without_distributed_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    words = r"needs the package 'distributed' .*\. Install it with 'pip install distributed'\.$"
    with pytest.raises(UserError, match=words), open_cluster("tcp://127.0.0.1:1", 1):
        pass


@pytest.mark.parametrize("given", ["soon", "0", "-1", "nan"])
def test_a_patience_that_is_none_is_one_line(monkeypatch, given):
    monkeypatch.setenv("PYVAE_DASK_TIMEOUT", given)
    words = f"PYVAE_DASK_TIMEOUT is '{given}': expected a number of seconds above 0"
    with pytest.raises(UserError, match=words), open_cluster("tcp://127.0.0.1:1", 1):
        pass
