"""The R process: its errors, its deaths, its end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress

import numpy as np
import psutil
import pytest

from pyvae.engines.errors import EngineMissingError
from pyvae.errors import UserError
from r_bridge.errors import RError, RProcessError
from r_bridge.installed import rpy2
from r_bridge.installed.rpy2 import check_r
from r_bridge.process.client import RProcess

r_test = pytest.mark.r
PATIENCE = 600.0  # seconds for what takes one, on a machine that does much else


@pytest.fixture
def r():
    with RProcess(timeout=PATIENCE) as process:
        yield process


@pytest.fixture(scope="module")
def lasting():
    """One that no test ends."""
    with RProcess(timeout=PATIENCE) as process:
        yield process


@r_test
def test_an_r_error_comes_with_its_own_text_and_its_place(tmp_path):
    source = tmp_path / 'it\'s a "file" ü.R'
    source.write_text(
        "inner <- function(x) {\n  x + 1\n  stop('the ', x, ' is no use')\n}\n"
        "outer_one <- function(x) {\n  inner(x)\n}\n"
    )
    with RProcess((source,)) as process:
        with pytest.raises(RError) as caught:
            process.call("outer_one", x=3.5)
        assert process.call("sum", x=np.ones(3)) == 3  # R lives on
    text = str(caught.value)
    assert "the 3.5 is no use" in text
    assert "inner(x)" in text
    assert f"{source.name} line 6" in text
    assert "\n" not in text


@r_test
@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("log(-1 - 'a')", "non-numeric argument to binary operator"),
        ("no_such_thing + 1", "object 'no_such_thing' not found"),
        ("matrix(1, 2, 3) %*% matrix(1, 2, 3)", "non-conformable arguments"),
        ("x <- (1 +", "unexpected end of input"),
        ("numeric(1e13)", "cannot allocate vector"),
    ],
)
def test_what_r_says_reaches_the_user(lasting, code, words):
    with pytest.raises(RError, match=words):
        lasting.evaluate(code)


@r_test
def test_libtorchs_frames_are_no_part_of_what_it_says(lasting):
    """R's torch hands on all that LibTorch has to say of an error: kilobytes of addresses. It
    neither downloads nor starts anything when it is loaded."""
    lasting.evaluate(
        """fail <- function() stop("shapes (12x5 and 12x5)\nException raised from meta at ",
          "/pytorch/x.cpp:3 (most recent call first):\nframe #0: c10::Error + 0x80"); NULL"""
    )
    with pytest.raises(RError) as caught:
        lasting.call("fail")
    assert str(caught.value).startswith("R error: shapes (12x5 and 12x5); in fail(); at ")
    assert "frame" not in str(caught.value)
    said = lasting.evaluate("Sys.getenv(c('TORCH_INSTALL', 'TORCH_VERIFY_LOAD'))")
    assert said == ["0", "FALSE"]


@r_test
def test_an_error_in_a_source_file_is_told_and_leaves_no_process(tmp_path):
    source = tmp_path / "broken.R"
    source.write_text("x <- 1\nstop('on line two')\n")
    before = children()
    with pytest.raises(RError, match="on line two"):
        RProcess((source,))
    assert children() == before


def children() -> list[int]:
    found = []
    for child in psutil.Process().children():
        with suppress(psutil.NoSuchProcess):  # one that ends in this moment
            if "r_bridge.process.server" in child.cmdline():
                found.append(child.pid)
    return found


@r_test
@pytest.mark.parametrize(("number", "name"), [(9, "SIGKILL"), (6, "SIGABRT"), (11, "SIGSEGV")])
def test_a_process_that_dies_is_named_as_such(r, number, name):
    with pytest.raises(RProcessError, match=f"pid {r.pid}.*signal {number}, {name}"):
        r.evaluate(f"tools::pskill(Sys.getpid(), {number}); Sys.sleep(30)")
    with pytest.raises(RProcessError):
        r.evaluate("1")


@r_test
def test_the_last_words_of_a_dead_process_are_kept(r):
    code = "message('something odd'); cat('', file = stderr()); quit(status = 3)"
    with pytest.raises(RProcessError, match=r"exit code 3.*something odd"):
        r.evaluate(code)


@r_test
def test_no_answer_in_time_ends_the_process(is_running):
    with RProcess(timeout=PATIENCE) as process:
        process.timeout = 0.5
        with pytest.raises(RProcessError, match=r"no answer in 0.5 s.*PYVAE_R_TIMEOUT"):
            process.evaluate("repeat {}")
    assert not is_running(process.pid)


@r_test
def test_leaving_ends_a_process_that_is_busy_at_once(r, is_running, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, 0.5)
    try:
        with pytest.raises(KeyboardInterrupt):
            r.evaluate("repeat {}")
    finally:
        signal.signal(signal.SIGALRM, before)
    waited = []
    wait = r._process.wait
    monkeypatch.setattr(r._process, "wait", lambda *limit: waited.append(limit) or wait(*limit))
    r.close()
    assert waited == [(0,), ()]  # not until it ends by itself; then killed
    assert not is_running(r.pid)


@pytest.mark.slow
@r_test
def test_r_goes_when_python_is_killed(is_running):
    code = (
        "from r_bridge.process.client import RProcess; import time; r = RProcess();"
        "print(r.pid, flush=True); time.sleep(600)"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    pid = int(parent.stdout.readline())
    assert is_running(pid)
    parent.kill()
    parent.wait()
    deadline = time.monotonic() + PATIENCE
    while is_running(pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not is_running(pid)


@r_test
def test_a_users_profile_does_not_change_r(tmp_path, monkeypatch):
    (tmp_path / ".Rprofile").write_text("stop('the profile ran')\n")
    monkeypatch.setenv("R_PROFILE_USER", str(tmp_path / ".Rprofile"))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    with RProcess() as process:
        assert process.evaluate("1 + 1") == 2


@r_test
@pytest.mark.parametrize(
    "said",
    [
        {"R_DEFAULT_PACKAGES": "NULL", "R_LIBS": "/none:/etc/passwd", "TMPDIR": "/none"},
        {"R_SCRIPT_DEFAULT_PACKAGES": "NULL", "LC_ALL": "xx_YY.UTF-8", "PYTHONWARNINGS": "error"},
    ],
    ids=" ".join,
)
def test_r_starts_whatever_the_environment_says(monkeypatch, said):
    for name, value in said.items():
        monkeypatch.setenv(name, value)
    with RProcess() as r:
        assert r.evaluate("nrow(stats::setNames(data.frame(a = 1:3), 'b'))") == 3


@r_test
def test_what_keeps_r_from_starting_is_told_in_its_own_words(monkeypatch, tmp_path):
    (tmp_path / "Renviron").write_text("R_DEFAULT_PACKAGES=NULL\n")
    monkeypatch.setenv("R_ENVIRON_USER", str(tmp_path / "Renviron"))
    with pytest.raises(RProcessError) as caught:
        RProcess()
    assert str(caught.value).startswith("R could not be started: Error in write.csv(")
    assert 'could not find function "write.csv". Check ~/.Renviron and' in str(caught.value)


@r_test
def test_too_few_files_are_told_as_such():
    code = """
import resource
from r_bridge.process.client import RProcess, RProcessError
resource.setrlimit(resource.RLIMIT_NOFILE, (16, 16))
try:
    RProcess()
except RProcessError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == (
        "R could not be started: Fatal error: the limit on the number of open files is too low. "
        "Allow more open files: ulimit -n 1024.\n"
    )


@r_test
def test_an_r_home_without_r_is_not_believed(monkeypatch, tmp_path):
    monkeypatch.setenv("R_HOME", str(tmp_path))
    with RProcess() as process:
        assert process.evaluate("1 + 1") == 2


@r_test
def test_blas_threads_are_what_was_asked_for():
    with RProcess(threads=1) as process:
        assert process.evaluate("Sys.getenv('OMP_NUM_THREADS')") == ["1"]


@r_test
def test_neither_torch_nor_rpy2_is_imported_by_the_callers_side():
    code = (
        "import sys, r_bridge.process.client; "
        "print([m for m in ('torch', 'rpy2') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_no_r_is_one_clear_line(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("R_HOME", raising=False)
    with pytest.raises(EngineMissingError, match=r"R was not found.*apt-get install r-base-dev"):
        check_r()


@pytest.mark.parametrize(
    ("installed", "words"), [("3.6.7", "needs R 4.5"), (None, "not installed")]
)
def test_r_without_an_rpy2_that_fits_is_one_clear_line(monkeypatch, tmp_path, installed, words):
    program = tmp_path / "R"
    program.write_text("#!/bin/sh\necho 'R version 4.2.2'\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.delenv("R_HOME", raising=False)
    monkeypatch.setattr(rpy2, "installed_rpy2", lambda: installed)
    with pytest.raises(RProcessError, match=rf"R 4.2.2 was found, but.*{words}.*rpy2==3.6.6"):
        check_r()


@r_test
def test_an_rpy2_that_cannot_be_imported_is_told(monkeypatch, tmp_path):
    """As when rpy2 was built for another R: what the import says, not a hang."""
    package = tmp_path / "rpy2"
    package.mkdir()
    for name in ("__init__.py", "situation.py"):
        (package / name).write_text("")
    (package / "rinterface.py").write_text("raise ImportError('undefined symbol: R_getVar')\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(RProcessError, match=r"could not be started.*undefined symbol: R_getVar"):
        RProcess()


@pytest.mark.parametrize("given", ["soon", "0", "-3", "nan"])
def test_a_time_out_that_is_none_is_refused(monkeypatch, given):
    monkeypatch.setenv("PYVAE_R_TIMEOUT", given)
    with pytest.raises(UserError, match="PYVAE_R_TIMEOUT"):
        RProcess()


@r_test
def test_the_time_out_comes_from_the_environment(monkeypatch):
    monkeypatch.setenv("PYVAE_R_TIMEOUT", "33.5")
    with RProcess() as process:
        assert process.timeout == 33.5


@r_test
def test_ctrl_c_does_not_reach_r(lasting):
    """Ctrl-C goes to the terminal's process group; R is in a session of its own."""
    assert os.getsid(lasting.pid) != os.getsid(0)
