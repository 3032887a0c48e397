"""A Python for programs that start `python -m pyvae` themselves (processes/warm_python.py)."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys

import pytest

pytestmark = pytest.mark.slow


def test_pyvae_is_run_in_a_warm_process_and_ends_as_it_would(warm_python, tmp_path):
    """With the folder, streams and exit code of who started it."""
    words = ["-m", "pyvae", "train", "beta", "--data", "digits", "--steps", "0"]
    ran, cold = (
        subprocess.run([program, *words], cwd=tmp_path, capture_output=True, text=True, check=False)
        for program in (warm_python.program, sys.executable)
    )
    assert warm_python.done[-1] == words
    assert (ran.returncode, ran.stdout, ran.stderr) == (2, cold.stdout, cold.stderr)
    assert "--steps" in ran.stderr


def test_all_else_is_the_python_that_it_stands_for(warm_python, tmp_path):
    done = len(warm_python.done)
    code = "import pyvae, numpy, sys; print(pyvae.__file__, numpy.__file__, sys.version)"
    told = [
        subprocess.check_output([program, "-c", code], cwd=tmp_path, text=True)
        for program in (warm_python.program, sys.executable)
    ]
    assert told[0] == told[1]
    assert len(warm_python.done) == done


def test_who_is_killed_takes_it_along(warm_python, tmp_path, is_running):
    script = tmp_path / "script.py"
    script.write_text("import os, time\nprint(os.getpid(), flush=True)\ntime.sleep(600)\n")
    words = [warm_python.program, "-m", "pyvae", "record", "--out", "trace", script]
    process = subprocess.Popen(words, cwd=tmp_path, stdout=subprocess.PIPE)
    pid = int(process.stdout.readline())
    assert is_running(pid)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert select.select([process.stdout], [], [], 600)[0]
    assert process.stdout.read() == b""  # nobody can write there any more
    process.stdout.close()
