"""How processes are started: what the forked ones find, and when there are none."""

from __future__ import annotations

import importlib
import multiprocessing
import os
import signal
import sys
import time
from multiprocessing import forkserver

import numpy as np
import pytest
import torch

from pyvae.data.images import load_toy
from pyvae.errors import UserError
from pyvae.parallel import processes, starting
from pyvae.parallel.jobs import Job
from pyvae.parallel.processes import Processes

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="elsewhere no process is forked"),
]


def found(module, images, on_step):
    """What a process finds; and bits that OpenMP's threads compute."""
    values = torch.randn(2**17, generator=torch.Generator().manual_seed(1))
    return {
        "folder": os.getcwd(),  # noqa: PTH109
        "environment": dict(os.environ),
        "search path": sys.path,
        "words": sys.argv,
        "a module of the user's": importlib.import_module(module).SAYS,
        "blocked signals": signal.pthread_sigmask(signal.SIG_BLOCK, []),
        "handlers": [signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM)],
        "threads": torch.get_num_threads(),
        "bits": torch.softmax(values, 0).sum().item().hex(),
        "CUDA": (torch.cuda.is_initialized(), torch.cuda._is_in_bad_fork()),
        "precision": (torch.get_default_dtype(), torch.get_float32_matmul_precision()),
    }


def drawn(images, on_step):
    return os.getpid(), os.getppid(), (np.random.rand(), torch.rand(()).item())  # noqa: NPY002


def end_the_server(file, images, on_step):
    file.write_text(str(os.getpid()))
    os.kill(os.getppid(), signal.SIGKILL)
    signal.pause()


@pytest.fixture(scope="module", autouse=True)
def of_this_process():
    """Another test may have had a server started that has another environment."""
    forkserver._forkserver._stop()


def results(number, function, *arguments, jobs=1):
    given = [Job(str(n), "a job", function, arguments, ("toy",)) for n in range(jobs)]
    return [done.result for done in Processes(number, 3).run(given, {"toy": load_toy(30)}, None)]


def test_a_forked_process_finds_what_a_new_one_finds(tmp_path, monkeypatch):
    """As it is now, not as it was when the server was started."""
    assert starting.choose_context([__name__]).get_start_method() == "forkserver"
    (tmp_path / "my_vae.py").write_text("SAYS = 'mine'")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    for name, text in (("PYVAE_DATA", "here"), ("COLUMNS", "80"), ("LINES", "24")):
        monkeypatch.setenv(name, text)
    monkeypatch.delenv("PYTEST_CURRENT_TEST")
    (forked,) = results(1, found, "my_vae")
    monkeypatch.setattr(processes, "choose_context", lambda _: multiprocessing.get_context("spawn"))
    (new,) = results(1, found, "my_vae")
    assert forked == new
    assert (forked["a module of the user's"], forked["CUDA"]) == ("mine", (False, False))
    assert forked["blocked signals"] == {signal.SIGINT, signal.SIGHUP}
    assert forked["environment"] == dict(os.environ)


def test_processes_draw_for_themselves_and_a_server_that_is_killed_is_replaced(tmp_path, is_gone):
    ones = results(1, drawn) + results(1, drawn)
    for draws in zip(*(draws for *_, draws in ones), strict=True):
        assert len(set(draws)) == 2
    (server,) = {server for _, server, _ in ones}
    with pytest.raises(UserError, match=r"^a process that was training was killed, perhaps"):
        results(1, end_the_server, tmp_path / "process")
    worker = int((tmp_path / "process").read_text())
    while not (is_gone(worker) and is_gone(server)):
        time.sleep(0.02)
    ((_, other, _),) = results(1, drawn)
    assert other not in (server, os.getpid())


def test_a_server_that_is_killed_while_processes_are_started_is_one_line(monkeypatch):
    assert starting.choose_context([__name__]).get_start_method() == "forkserver"

    def refuse(handles):
        raise ConnectionRefusedError

    monkeypatch.setattr(forkserver, "connect_to_new_process", refuse)
    with pytest.raises(UserError, match=r"^a process that was training was killed, perhaps"):
        results(1, drawn)


@pytest.fixture
def preload(monkeypatch):
    """What a fork server is told to import."""
    server = forkserver._forkserver
    monkeypatch.setattr(server, "_preload_modules", server._preload_modules)
    return lambda: server._preload_modules


def a_variable_of_a_library(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "5")


def other_rights_for_files(monkeypatch):
    monkeypatch.setattr(os, "umask", lambda mask: 0o077)


def another_standard_output(monkeypatch):
    monkeypatch.setattr(starting, "_file_of", lambda descriptor: (descriptor, 1))


def a_program_that_uses_a_fork_server(monkeypatch):
    monkeypatch.setattr(multiprocessing, "get_start_method", lambda allow_none: "forkserver")
    multiprocessing.set_forkserver_preload(["theirs"])


def a_program_that_has_said_what_to_import(monkeypatch):
    multiprocessing.set_forkserver_preload(["theirs"])


def another_system(monkeypatch):
    monkeypatch.setattr(sys, "platform", "darwin")


def no_place_for_a_socket(monkeypatch):
    def fail():
        raise OSError("AF_UNIX path too long")

    monkeypatch.setattr(forkserver, "ensure_running", fail)


@pytest.mark.parametrize(
    "case",
    [
        a_variable_of_a_library, other_rights_for_files, another_standard_output,
        a_program_that_uses_a_fork_server, a_program_that_has_said_what_to_import,
        another_system, no_place_for_a_socket,
    ],
    ids=lambda case: case.__name__,
)  # fmt: skip
def test_where_the_server_would_not_do_each_starts_anew(case, monkeypatch, preload):
    assert starting.choose_context(["pyvae"]).get_start_method() == "forkserver"
    case(monkeypatch)
    assert starting.choose_context(["pyvae"]).get_start_method() == "spawn"
    if "program" in case.__name__:
        assert preload() == ["theirs"]


def test_a_server_is_asked_once_and_one_that_is_lost_while_it_is_asked_does_not_fit(monkeypatch):
    assert starting.choose_context(["pyvae"]).get_start_method() == "forkserver"
    ask = starting._end_as_fitting
    monkeypatch.setattr(starting, "_end_as_fitting", None)  # a process would fail
    assert starting.choose_context(["pyvae"]).get_start_method() == "forkserver"
    monkeypatch.setattr(starting, "_end_as_fitting", ask)
    monkeypatch.setattr(starting, "_fitting", {})
    monkeypatch.setattr(
        "multiprocessing.context.ForkServerProcess.exitcode", property(lambda self: starting.LOST)
    )
    assert starting.choose_context(["pyvae"]).get_start_method() == "spawn"


def test_the_main_module_is_left_to_the_processes(monkeypatch):
    """It may compute when it is imported, and OpenMP's threads do not survive a fork."""
    asked = []
    monkeypatch.setattr(starting, "_serves", lambda modules: asked.append(modules) or True)
    starting.choose_context(["__main__", "comparisons"])
    assert asked == [["comparisons", "pyvae.parallel.preloaded"]]


@pytest.fixture
def program(monkeypatch):
    """Has processes take this one for a program that was started from such a file."""
    main = sys.modules["__main__"]
    monkeypatch.setattr(starting, "_fitting", {})  # a program asks once

    def start_from(file):
        monkeypatch.setattr(main, "__spec__", None)
        monkeypatch.setattr(main, "__file__", str(file), raising=False)
        return main

    return start_from


def test_a_program_may_come_from_standard_input(program):
    main = program("<stdin>")
    assert starting.choose_context(["pyvae"]).get_start_method() == "forkserver"
    assert main.__file__ == "<stdin>"


def test_a_program_that_begins_again_in_each_process_is_one_line(program, tmp_path):
    (tmp_path / "mine.py").write_text(
        "from pyvae.parallel.starting import choose_context\nchoose_context([])"
    )
    program(tmp_path / "mine.py")
    with pytest.raises(UserError, match=r"Put .* below a line that says if __name__ == '__main__'"):
        starting.choose_context(["pyvae"])
