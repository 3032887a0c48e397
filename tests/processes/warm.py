"""Programs in processes that have imported PyTorch before they begin.

A Python that imports PyTorch, pandas and matplotlib takes four seconds until it does anything. Here
one process imports them, does nothing else, and forks for each program: that runs in its folder and
its environment, with standard streams of its own, and ends as a Python that was started for it.
What is read at the start only (`FIXED`) is as it was asked for: for other values there is another
process that forks. At its end it does what Python does, except that it frees nothing, which takes
longer than most programs. A test of the start itself, or of a terminal, needs a process of its own.
A program with `SERVED` in its environment has its fork server of multiprocessing's forked, too: it
would import all of that again. It is forked before the program begins, and waits until it is
wanted. `PYVAE_TESTS_PYTHON` is the Python that the program takes itself to run in.

    python tests/processes/warm.py DESCRIPTOR MODULE ...   the process that forks (`Warm` starts it)
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import importlib
import json
import os
import re
import runpy
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping
from multiprocessing import util
from pathlib import Path
from typing import IO, Any

__all__ = ["SERVED", "Command", "Warm"]

SERVED = {"PYVAE_TESTS_SERVED": "1"}

# Variables that Python, the C library or a library reads only once. Not matplotlib's backend and
# its file: pyvae has its own for both, whatever they are, and leaves them in the environment.
FIXED = re.compile(
    r"PYTHON(?!PATH$|UNBUFFERED$)|MPL(?!BACKEND$)|MATPLOTLIB(?!RC$)|MALLOC_|LD_|LC_(ALL|CTYPE)$|LANG$"
    r"|\w+_THREADS$"
)
MODULES = (
    "pyvae.cli.main", "pyvae.figures.runs", "pyvae.figures.draw_run", "pyvae.runs.train",
    "comparisons.cli.compare", "comparisons.runs.live", "r_bridge.engines.base_r",
    "comparisons.ports.compare", "comparisons.report.ports.conclude", "pyvae.recording.record",
    "matplotlib.backends.backend_agg", "torch.distributed", "torch._dynamo", "typer._adapters",
    # what commands import when they come to it
    "pyvae.cli.again", "pyvae.runs.record", "pyvae.runs.verify", "pyvae.runs.trained.generated",
    "pyvae.terminal.step_progress", "pyvae.figures.latents", "pyvae.figures.latent_map",
    "pyvae.figures.points", "pyvae.figures.reconstructions", "pyvae.recording.script",
    "comparisons.cli.progress", "comparisons.cli.starts", "comparisons.runs.sides",
    "comparisons.saved.compare", "comparisons.saved.folder", "comparisons.report.write",
    "comparisons.report.html", "comparisons.report.ports.figure", "comparisons.report.ports.page",
    "matplotlib.style", "pandas.io.formats.csvs", "safetensors.torch", "PIL.JpegImagePlugin",
    "PIL.BmpImagePlugin", "PIL.GifImagePlugin", "PIL.PpmImagePlugin", "rich.table",
    "rich._emoji_codes", "pydantic.plugin._loader", "charset_normalizer", "pydoc", "fileinput",
    "psutil",
)  # fmt: skip
LONGEST = 2**18  # bytes of a request
PATIENCE = 300.0


class Command:
    """A program that was begun, as `subprocess.Popen` has it; what it writes goes to files unless
    it was given others."""

    def __init__(self, pid: int, ended: int, out: IO[bytes] | None, err: IO[bytes] | None) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self._ended, self._out, self._err = ended, out, err

    def fileno(self) -> int:
        """The descriptor that `select` finds readable once the program has ended."""
        return self._ended

    def poll(self) -> int | None:
        """Its exit code; None if it still runs."""
        if self.returncode is None and select.select([self._ended], [], [], 0)[0]:
            return self.wait()
        return self.returncode

    def wait(self, timeout: float = PATIENCE) -> int:
        """Waits for its end; returns the exit code, less than zero after a signal."""
        if self.returncode is None:
            if not select.select([self._ended], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired(f"process {self.pid}", timeout)
            self.returncode = int(os.read(self._ended, 100))
            os.close(self._ended)
        return self.returncode

    def communicate(self) -> tuple[str, str]:
        """Waits for its end; returns what it wrote to standard output and standard error."""
        self.wait()
        return _content(self._out), _content(self._err)

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


def _content(file: IO[bytes] | None) -> str:
    if file is None:
        return ""
    with file:
        file.seek(0)
        return file.read().decode()


class Warm:
    """Starts programs in processes that have imported everything.

    Arguments:
        python: Which Python; by default this one.
    """

    def __init__(self, python: str | Path = sys.executable) -> None:
        self._python = python
        self._forking: dict[frozenset[tuple[str, str]], _Forking] = {}

    def start(
        self,
        *words: str | Path,
        folder: Path,
        environment: Mapping[str, str] | None = None,
        stdin: int | None = None,
        stdout: int | None = None,
        stderr: int | None = None,
    ) -> Command:
        """Starts a Python program.

        Arguments:
            words: Its file, or `-m` and a module, or `-c` and its text; and its arguments.
            folder: Where it runs.
            environment: Variables; by default those of this process.
            stdin, stdout, stderr: Descriptors; by default nothing to read, and files for what it
                writes.
        """
        environment = dict(os.environ if environment is None else environment)
        fixed = frozenset(  # an empty one is read as one that is not there
            (name, text) for name, text in environment.items() if text and FIXED.match(name)
        )
        if fixed not in self._forking:
            others = {name: text for name, text in os.environ.items() if not FIXED.match(name)}
            self._forking[fixed] = _Forking(self._python, others | dict(fixed))
        files = [
            tempfile.TemporaryFile() if descriptor is None else None  # noqa: SIM115
            for descriptor in (stdout, stderr)
        ]
        out, err = (
            given if file is None else file.fileno()
            for file, given in zip(files, (stdout, stderr), strict=True)
        )
        request = {
            "words": [str(word) for word in words],
            "folder": str(folder),
            "environment": environment,
        }
        with Path(os.devnull).open() as nothing:
            given = nothing.fileno() if stdin is None else stdin
            pid, ended = self._forking[fixed].ask(request, [given, out, err])
        return Command(pid, ended, *files)

    def run(
        self, *words: str | Path, folder: Path, environment: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Runs a Python program to its end."""
        command = self.start(*words, folder=folder, environment=environment)
        try:
            out, err = command.communicate()
        finally:
            command.kill()
        return subprocess.CompletedProcess(words, command.wait(), out, err)

    def close(self) -> None:
        """Ends what still runs."""
        for one in self._forking.values():
            one.close()


class _Forking:
    """A process that has imported everything, seen from outside."""

    def __init__(self, python: str | Path, environment: Mapping[str, str]) -> None:
        # whole requests, not a stream of bytes
        self._connection, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen(
                [python, "-P", __file__, str(theirs.fileno()), *MODULES],
                pass_fds=[theirs.fileno()],
                env=environment,
                stdin=subprocess.DEVNULL,
            )

    def ask(self, request: Mapping[str, Any], streams: list[int]) -> tuple[int, int]:
        """Has a program started; returns its process, and the descriptor that tells of its end."""
        ended, tell = os.pipe()
        try:
            socket.send_fds(self._connection, [json.dumps(request).encode()], [*streams, tell])
        finally:
            os.close(tell)
        return int(self._connection.recv(100)), ended

    def close(self) -> None:
        self._connection.close()
        self._process.wait()


def main(descriptor: int, modules: list[str]) -> None:
    """Imports, forks for each request and, in the process that is forked, runs its program."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # who interrupts the tests closes the connection
    importlib.import_module("pyvae.cli.main")._own_matplotlib()
    for name in modules:
        importlib.import_module(name)
    os.fsync = lambda handle: None  # no power cut in tests
    gc.freeze()  # else whoever collects garbage copies all pages
    _fork(socket.socket(fileno=descriptor))
    _end(_run())


def _run() -> int:
    """Runs the program of `sys.argv`; returns its exit code."""
    kind, *words = sys.argv
    try:
        if kind == "-c":
            sys.argv[1:2] = []
            sys.path.insert(0, "")
            exec(words[0], sys.modules["__main__"].__dict__)  # noqa: S102
        elif kind == "-m":
            sys.argv = words
            sys.path.insert(0, str(Path.cwd()))
            runpy.run_module(words[0], run_name="__main__", alter_sys=True)
        else:
            sys.path.insert(0, str(Path(kind).parent))
            runpy.run_path(kind, run_name="__main__")
    except SystemExit as end:
        if end.code is None or isinstance(end.code, int):
            return end.code or 0
        print(end.code, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        raise  # Python ends itself with the signal
    except BaseException:
        sys.excepthook(*sys.exc_info())
        return 1
    return 0


def _end(code: int) -> None:
    """Ends as Python does, in its order, without freeing what is there."""
    threading._shutdown()
    atexit._run_exitfuncs()
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except OSError:  # a pipe that is closed: Python has an exit code and words for that
        sys.exit(code)
    os._exit(code & 0xFF)


def _fork(connection: socket.socket) -> None:
    """Forks for each request, until the connection is closed. Returns in what is forked."""
    running: dict[int, int] = {}  # process: where its end is told
    wake, woken = os.pipe()
    os.set_blocking(woken, False)
    signal.set_wakeup_fd(woken)
    signal.signal(signal.SIGCHLD, lambda *given: None)
    while True:
        ready, *_ = select.select([connection, wake], [], [])
        if wake in ready:
            os.read(wake, 1000)
            _tell_of_ends(running)
        if connection not in ready:
            continue
        said, given, *_ = socket.recv_fds(connection, LONGEST, 4)
        if not said:
            for pid in running:
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
            os._exit(0)
        pid = os.fork()
        if pid == 0:
            signal.set_wakeup_fd(-1)
            for own in (connection.detach(), wake, woken, given[3], *running.values()):
                os.close(own)
            _become(json.loads(said), given[:3])
            return
        running[pid] = given.pop()
        for descriptor in given:
            os.close(descriptor)
        connection.send(str(pid).encode())


def _tell_of_ends(running: dict[int, int]) -> None:
    while running:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if pid == 0:
            break
        with os.fdopen(running.pop(pid), "w") as tell:
            tell.write(str(os.waitstatus_to_exitcode(status)))


def _become(request: dict[str, Any], streams: list[int]) -> None:
    """Makes this process one that was started for the program."""
    for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for standard, given in enumerate(streams):
        os.dup2(given, standard)
        os.close(given)
    before = _search_path()
    os.environ.clear()
    os.environ.update(request["environment"])
    os.chdir(request["folder"])
    at_once = bool(os.environ.get("PYTHONUNBUFFERED"))
    sys.stdin = sys.__stdin__ = _stream(0, "r")
    sys.stdout = sys.__stdout__ = _stream(1, "w", write_through=at_once)
    sys.stderr = sys.__stderr__ = _stream(2, "w", line_buffering=True, errors="backslashreplace")
    sys.path[:] = [*_search_path(), *(path for path in sys.path if path not in before)]
    sys.executable = os.environ.pop("PYVAE_TESTS_PYTHON", sys.executable)
    if os.environ.pop("PYVAE_TESTS_UNDRAWN", ""):
        runpy.run_path(str(Path(__file__).with_name("undrawn.py")))["leave_undrawn"]()
    if os.environ.pop("PYVAE_TESTS_SERVED", ""):
        _fork_server()
    sys.argv = request["words"]


def _fork_server() -> None:
    """Forks a process that waits; the first fork server that this one starts is that process."""
    here, there = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    pid = os.fork()
    if pid == 0:
        here.close()
        said, given, *_ = socket.recv_fds(there, LONGEST, 2)
        there.close()
        if said:
            _serve(given, **json.loads(said))
        os._exit(0)
    there.close()
    start = util.spawnv_passfds

    def start_or_wake(program: bytes, words: list[str], descriptors: list[int]) -> int:
        code = words[-1]
        if here.fileno() < 0 or not str(code).startswith("from multiprocessing.forkserver import"):
            return start(program, words, descriptors)
        about = {
            "code": code,
            "descriptors": list(descriptors),
            "environment": dict(os.environ),
            "blocked": list(signal.pthread_sigmask(signal.SIG_BLOCK, ())),
        }
        with here:
            socket.send_fds(here, [json.dumps(about).encode()], descriptors)
        return pid

    util.spawnv_passfds = start_or_wake  # type: ignore[assignment]


def _serve(
    given: list[int],
    code: str,
    descriptors: list[int],
    environment: dict[str, str],
    blocked: list[int],
) -> None:
    """What a fork server does, with descriptors of the numbers that stand in its code."""
    beyond = max(*given, *descriptors) + 1  # where neither stands
    for place, one in enumerate(given):
        os.dup2(one, beyond + place)
        os.close(one)
    for place, number in enumerate(descriptors):
        os.dup2(beyond + place, number)
        os.close(beyond + place)
    os.environ.clear()
    os.environ.update(environment)
    signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
    with contextlib.suppress(SystemExit):
        exec(code, {})  # noqa: S102


def _search_path() -> list[str]:
    return [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]


def _stream(descriptor: int, mode: str, **options: Any) -> Any:
    stream = open(descriptor, mode, closefd=False)  # noqa: SIM115
    stream.reconfigure(**options)
    return stream


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
