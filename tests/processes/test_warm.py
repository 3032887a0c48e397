"""Programs in processes that have imported PyTorch before they begin (tests/processes/warm.py)."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from processes.warm import SERVED, Warm

pytestmark = pytest.mark.slow

TELLS = """
import os, sys
print(sys.argv, os.getcwd(), os.environ.get("MINE"), sys.stdin.read(), __name__)
print("torch" in sys.modules, sys.modules["torch"].get_num_threads())
sys.stderr.write("to the end, without a new line")
sys.exit(7)
"""


# PyTorch reads the number of threads when it is imported
THREADS = {"OMP_NUM_THREADS": "3"}


@pytest.fixture(scope="module")
def of_torch(warm):
    """Another one, which imports no more than PyTorch."""
    of_torch = Warm()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("processes.warm.MODULES", ("torch",))
        yield of_torch
    of_torch.close()


def test_what_one_is_given_is_not_there_in_the_next(of_torch, tmp_path):
    """Also where the first one was the reason to start what forks."""
    tells = "import os, sys; print('/mine' in sys.path, os.environ.get('PYTHONPATH'))"
    for given, told in (("/mine", "True /mine\n"), ("", "False \n")):
        environment = os.environ | THREADS | {"PYTHONPATH": given}
        assert of_torch.run("-c", tells, folder=tmp_path, environment=environment).stdout == told


def test_it_is_as_in_a_process_that_was_started_for_it(of_torch, tmp_path):
    environment = os.environ | THREADS | {"MINE": "é"}
    warmed = of_torch.run("-c", TELLS, "a b", folder=tmp_path, environment=environment)
    started = subprocess.run(
        [sys.executable, "-c", f"import torch\n{TELLS}", "a b"], cwd=tmp_path, env=environment,
        capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert warmed.returncode == started.returncode == 7
    assert (warmed.stdout, warmed.stderr) == (started.stdout, started.stderr)


SERVES = """
import os
from multiprocessing import forkserver
from pathlib import Path

from pyvae.parallel.starting import choose_context

if __name__ == "__main__":
    os.environ["MINE"] = "é"
    context = choose_context(["json"])
    server = forkserver._forkserver._forkserver_pid
    words = Path(f"/proc/{server}/cmdline").read_text()
    with context.Pool(1) as pool:
        found = pool.apply(os.getenv, ("MINE",)), pool.apply(os.getppid) == server
    print(context.get_start_method(), "forkserver" in words, *found)
"""


def test_a_fork_server_is_forked_if_that_is_asked_for(warm, tmp_path):
    """It serves as one that was started, and what it was forked from is to be seen."""
    (tmp_path / "serves.py").write_text(SERVES)
    done = warm.run(tmp_path / "serves.py", folder=tmp_path, environment=os.environ | SERVED)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "forkserver False é True\n"


def test_the_end_is_told(warm, tmp_path, is_running):
    failed = warm.run("-c", "raise KeyError('gone')", folder=tmp_path)
    assert failed.returncode == 1
    assert failed.stderr.endswith("\nKeyError: 'gone'\n")
    given, told = os.pipe(), os.pipe()  # with one for both it may read what it wrote itself
    waits = warm.start(
        "-c", "import sys; print('here', flush=True); sys.stdin.read()", folder=tmp_path,
        stdin=given[0], stdout=told[1],
    )  # fmt: skip
    assert os.read(told[0], 5) == b"here\n"
    assert waits.poll() is None
    with pytest.raises(subprocess.TimeoutExpired):
        waits.wait(0.01)
    waits.send_signal(signal.SIGTERM)
    assert waits.wait() == waits.poll() == -signal.SIGTERM
    assert not is_running(waits.pid)
    for end in (*given, *told):
        os.close(end)


def test_closing_ends_what_runs(of_torch, tmp_path, is_running):
    words = ("-c", "import time; time.sleep(600)")
    waits = of_torch.start(*words, folder=tmp_path, environment=os.environ | THREADS)
    of_torch.close()
    assert not is_running(waits.pid)
