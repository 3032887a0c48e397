"""What befalls the R process: in every stage of a call it ends in one line, and leaves nothing."""

from __future__ import annotations

import errno
import fcntl
import resource
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import termios
import threading
import time
from contextlib import suppress

import numpy as np
import psutil
import pytest

from r_bridge.errors import RError, RProcessError
from r_bridge.process import client as worker
from r_bridge.process.client import RProcess
from r_bridge.process.wire import receive

pytestmark = pytest.mark.r

LARGE = 20_000_000  # bytes, or elements: more than a socket takes before somebody reads
PATIENCE = 600.0  # seconds for what takes one, on a machine that does much else


@pytest.fixture(autouse=True)
def _nothing_is_left(tmp_path, monkeypatch):
    """No process, dead or alive, no descriptor, no file."""
    folder = tmp_path / "temporary files"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr(tempfile, "tempdir", None)
    here = psutil.Process()
    before = here.num_fds(), here.children(), threading.active_count()
    yield
    monkeypatch.undo()
    assert (here.num_fds(), here.children(), threading.active_count()) == before
    assert list(folder.iterdir()) == []


@pytest.fixture
def r():
    with RProcess(timeout=PATIENCE) as process:
        yield process


def assert_over(r, error):
    """One line, and the same again for who asks on; the process is gone."""
    assert "\n" not in str(error)
    assert f"pid {r.pid}" in str(error)
    assert not psutil.pid_exists(r.pid) or psutil.Process(r.pid).ppid() != psutil.Process().pid
    with pytest.raises(RProcessError) as again:
        r.evaluate("1")
    assert str(again.value) == str(error)


@pytest.fixture
def in_the_middle(monkeypatch):
    """Does something between an answer's first byte and the next."""

    def make(do):
        def receive_later(connection):
            assert connection.recv(1, socket.MSG_PEEK)
            do()
            return receive(connection)

        monkeypatch.setattr(worker, "receive", receive_later)

    return make


@pytest.mark.parametrize("name", ["SIGKILL", pytest.param("SIGSEGV", marks=pytest.mark.long)])
def test_death_while_a_request_is_being_sent(r, name):
    """R is stopped, so that of the request no more is sent than the connection takes."""
    process = psutil.Process(r.pid)
    process.suspend()

    def kill():
        wait_until(lambda: unread(r._connection))
        process.send_signal(getattr(signal, name))
        with suppress(psutil.NoSuchProcess):
            process.resume()  # a stopped process takes SIGKILL alone

    killer = threading.Thread(target=kill)
    killer.start()
    with pytest.raises(RProcessError, match=f"in the middle of its work .signal.*{name}") as caught:
        r.call("sum", x=np.ones(LARGE // 8))
    killer.join()
    assert ("out of memory" in str(caught.value)) == (name == "SIGKILL")
    assert_over(r, caught.value)


def test_death_while_an_answer_is_half_sent(r, in_the_middle):
    in_the_middle(psutil.Process(r.pid).kill)
    with pytest.raises(RProcessError, match="signal 9, SIGKILL") as caught:
        r.evaluate(f"numeric({LARGE // 8})")
    assert_over(r, caught.value)


def test_a_stop_in_the_middle_of_an_answer_is_a_time_out(r, in_the_middle):
    """The time is counted from the last byte."""
    in_the_middle(psutil.Process(r.pid).suspend)
    r.timeout = 0.5
    with pytest.raises(RProcessError, match=r"no answer in 0.5 s and was ended") as caught:
        r.evaluate(f"numeric({LARGE // 8})")
    assert_over(r, caught.value)


def test_a_stop_while_a_request_is_being_sent_is_a_time_out(r):
    psutil.Process(r.pid).suspend()
    r.timeout = 0.5
    with pytest.raises(RProcessError, match=r"no answer in 0.5 s and was ended") as caught:
        r.call("sum", x=np.ones(LARGE // 8))
    assert_over(r, caught.value)


@pytest.mark.long
def test_a_stopped_process_is_ended_at_the_end(r):
    psutil.Process(r.pid).suspend()


def test_the_answer_to_a_call_that_was_interrupted_is_nobodys(r, in_the_middle):
    def interrupt():
        raise KeyboardInterrupt

    in_the_middle(interrupt)
    with pytest.raises(KeyboardInterrupt):
        r.evaluate("'the old one'")
    in_the_middle(lambda: None)
    with pytest.raises(RProcessError, match=r"was ended in an earlier call\. Start a new one"):
        r.evaluate("'the new one'")


def test_garbage_in_place_of_an_answer_is_told(r, monkeypatch):
    """As if something in R had written to the connection."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(b"\xff" * 100)
        monkeypatch.setattr(r, "_connection", ours)
        said = r"an invalid message \(a head of 4294967295 "
        with pytest.raises(RProcessError, match=said) as caught:
            r.evaluate("1")
        assert_over(r, caught.value)


@pytest.mark.parametrize(
    "answer", [{"neither": 1}, *(pytest.param(one, marks=pytest.mark.long) for one in ([1], 7))]
)
def test_an_answer_that_is_none_is_told(r, monkeypatch, answer):
    monkeypatch.setattr(worker, "receive", lambda connection: receive(connection) and answer)
    with pytest.raises(RProcessError, match="sent an invalid message") as caught:
        r.evaluate("1")
    assert_over(r, caught.value)


def test_an_argument_that_cannot_be_sent_leaves_r_as_it_was(r):
    with pytest.raises(TypeError):
        r.call("sum", x=np.array([object()]))
    with pytest.raises(RError, match="no R array for int64"):
        r.call("sum", x=np.ones(3, np.int64))
    assert r.call("sum", x=np.ones(3)) == 3


def test_who_calls_after_the_end_is_told(r):
    for _ in range(2):
        r.close()
        with pytest.raises(RProcessError, match=r"was ended\. Start a new one"):
            r.evaluate("1")


# Starting


def failing(monkeypatch, where, what, code):
    def fail(*arguments, **options):
        raise OSError(code, "as it is")

    monkeypatch.setattr(where, what, fail)


@pytest.mark.parametrize(
    ("where", "what", "code", "words"),
    [
        (subprocess, "Popen", errno.ENOMEM, "out of memory"),
        (socket, "socketpair", errno.EMFILE, "more open files"),
        (tempfile, "TemporaryFile", errno.ENOSPC, "set TMPDIR to another"),
        (tempfile, "mkdtemp", errno.EACCES, ""),
    ],
)
def test_what_keeps_it_from_starting_is_one_line(monkeypatch, where, what, code, words):
    program = worker.check_r()
    monkeypatch.setattr(worker, "check_r", lambda: program)
    failing(monkeypatch, where, what, code)
    with pytest.raises(RProcessError, match=f"could not be started .*as it is.*{words}"):
        RProcess()
    monkeypatch.undo()


def test_a_source_that_is_not_there_is_one_line(tmp_path):
    with pytest.raises(RError, match="cannot open"):
        RProcess((tmp_path / "none.R",))


def youngest():
    """Not the one with the highest number: they begin again at 300 some day."""
    return max(psutil.Process().children(), key=psutil.Process.create_time)


def test_death_at_the_start_is_one_line(monkeypatch):
    def killed(connection):
        youngest().kill()
        return receive(connection)

    monkeypatch.setattr(worker, "receive", killed)
    with pytest.raises(RProcessError, match="signal 9, SIGKILL"):
        RProcess()


# Memory


def test_rs_own_word_for_too_little_memory_leaves_it_usable(r):
    for _ in range(3):
        with pytest.raises(RError, match="cannot allocate vector of size"):
            r.evaluate("numeric(1e13)")
        assert r.call("sum", x=np.ones(1000)) == 1000


@pytest.mark.skipif(not hasattr(resource, "prlimit"), reason="needs Linux' prlimit")
@pytest.mark.parametrize(
    "room", [50 * 2**20, *(pytest.param(n * 2**20, marks=pytest.mark.long) for n in (1, 200))]
)
@pytest.mark.parametrize(
    "call",
    [
        # 160 MB, sent and made R's; 20 MB, and 80 as integers; 80 MB, and 20 as NumPy's
        pytest.param(lambda r: r.call("sum", x=np.ones(LARGE)), id="request"),
        pytest.param(lambda r: r.call("sum", x=np.ones(LARGE, np.uint8)), id="conversion"),
        pytest.param(lambda r: r.evaluate("logical(2e7)"), id="answer", marks=pytest.mark.long),
        pytest.param(
            lambda r: r.evaluate("x <- list(); repeat x <- c(x, list(numeric(1e6)))"),
            id="everything",
            marks=pytest.mark.long,
        ),
    ],
)
def test_an_address_space_that_is_too_small_is_one_line(call, room):
    """Wherever it runs out: in Python, in R, on the way from one to the other. Then R either goes
    on or is gone."""
    with RProcess(timeout=PATIENCE) as r:
        limit = psutil.Process(r.pid).memory_info().vms + room
        resource.prlimit(r.pid, resource.RLIMIT_AS, (limit, limit))
        error = None
        try:
            call(r)
        except (RError, RProcessError) as caught:
            error = caught
        assert error is not None or room > 2**20
        assert "\n" not in str(error)
        if isinstance(error, RProcessError):
            assert_over(r, error)
        else:
            assert r.evaluate("1 + 1") == 2


# The end of those that started it


def wait_until(happens) -> None:
    deadline = time.monotonic() + PATIENCE
    while not happens():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def unread(connection: socket.socket) -> int:
    """Bytes that the other side has yet to read."""
    number = fcntl.ioctl(connection, termios.TIOCOUTQ, struct.pack("i", 0))
    return struct.unpack("i", number)[0]


def gone(process: psutil.Process) -> bool:
    """Dead, whether or not somebody has asked for its exit code."""
    try:
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


@pytest.mark.parametrize(
    "code",
    [
        "NULL",
        "repeat {}",
        pytest.param("a <- diag(2000); repeat a <- a %*% a", marks=pytest.mark.long),
    ],
)
def test_it_ends_when_python_is_killed(code, tmp_path):
    """Idle, in R's interpreter, in BLAS; its temporary files go, too."""
    script = (
        "import time; from r_bridge.process.client import RProcess; r = RProcess();"
        "r.evaluate('writeLines(\"kept\", tempfile()); NULL');"
        f"print(r.pid, flush=True); r.evaluate('{code}'); time.sleep(600)"
    )
    parent = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    with parent:
        r = psutil.Process(int(parent.stdout.readline()))
        (folder,) = (tmp_path / "temporary files").glob("pyvae-r-*")
        assert list(folder.glob("Rtmp*/file*"))
        parent.kill()
    wait_until(lambda: gone(r))
    wait_until(lambda: not folder.exists())


def test_it_ends_with_a_process_that_ended_without_closing(tmp_path):
    """Which had it in another thread than the main one, too: that thread's end is not its end."""
    script = """
import threading
from r_bridge.process.client import RProcess
made = []
thread = threading.Thread(target=lambda: made.append(RProcess()))
thread.start()
thread.join()
print(made[0].pid, made[0].evaluate("1 + 1")[0], flush=True)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    pid, two = done.stdout.split()
    assert two == "2.0"
    if psutil.pid_exists(int(pid)):
        r = psutil.Process(int(pid))
        wait_until(lambda: gone(r))
    wait_until(lambda: not list((tmp_path / "temporary files").glob("pyvae-r-*")))
