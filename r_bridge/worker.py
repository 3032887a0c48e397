"""An R process that can be called, timed out and killed.

R runs in a process of its own: two LibTorch do not live in one, R swallows SIGINT, and a
crash of R must not take Python with it.
"""

from __future__ import annotations

import os
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from pyvae.errors import UserError
from pyvae.seconds import seconds_of
from r_bridge.rpy2_fit import dotted, find_r, installed_rpy2, misfit, r_version, requirements
from r_bridge.wire import ClosedError, receive, send

__all__ = ["RError", "RProcess", "RProcessError", "check_r", "r_environment"]

TIMEOUT = 600.0  # seconds for one call, unless PYVAE_R_TIMEOUT says otherwise
GRACE = 2.0  # seconds to end by itself once the connection is closed
HOW_TO_GET_R = "install it (Debian, Ubuntu: apt-get install r-base-dev libopenblas0-pthread)"
MEMORY = {
    # With the usual thresholds glibc hands large blocks back to the system after every use, and
    # each use pays for the page faults again. Other systems ignore these.
    "MALLOC_MMAP_THRESHOLD_": "4000000000",
    "MALLOC_TRIM_THRESHOLD_": "400000000",
    # R collects garbage beyond 200 MB of vectors and lets its heap grow by no more than it
    # needs: a fifth less memory at batch 250, at the same speed.
    "R_VSIZE": "200M",
    "R_GC_MEM_GROW": "0",
}
QUIET_TORCH = {
    "TORCH_INSTALL": "0",  # R's torch offers to download LibTorch when it is loaded
    "TORCH_VERIFY_LOAD": "FALSE",  # and starts a second R to see whether it can
}


class RError(UserError):
    """An error raised in R: R's own text, the call and the place in the R sources."""


class RProcessError(UserError):
    """The R process did not start, died, or did not answer in time."""


def check_r() -> Path:
    """The R program, after checking that rpy2 fits it.

    Raises:
        RProcessError: If there is no R, no rpy2, or the two do not fit.
    """
    program = find_r()
    if program is None:
        raise RProcessError("R was not found", "R on the PATH, or R_HOME set", HOW_TO_GET_R)
    version = r_version(program)
    if version is None:
        raise RProcessError(f"'{program} --version' names no R version", "R 4.0 or newer")
    wrong = misfit(version, installed_rpy2())
    if wrong:
        raise RProcessError(
            f"R {dotted(version)} is there, but {wrong}",
            "an rpy2 that fits this R",
            f"run: {shlex.quote(sys.executable)} -m pip install {' '.join(requirements(version))}",
        )
    return program


class RProcess:
    """R in a process of its own. Use as a context manager, so that it always ends.

    Arguments:
        sources: R files to source, in order.
        threads: Threads of R's BLAS.
        timeout: Seconds that one call may take; by default $PYVAE_R_TIMEOUT, else 600.

    Raises:
        RProcessError: If R cannot be started.
        RError: If a source file fails.

    Example:
        >>> with RProcess() as r:
        ...     r.call("sqrt", x=np.array([4.0, 9.0]))  # doctest: +SKIP
        array([2., 3.])
    """

    def __init__(
        self, sources: tuple[Path, ...] = (), threads: int = 1, timeout: float | None = None
    ) -> None:
        self.timeout = seconds_of("PYVAE_R_TIMEOUT", TIMEOUT) if timeout is None else timeout
        self._idle = False
        program = check_r()
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 (closed in close)
        self._connection, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "r_bridge.process", str(theirs.fileno())],
                env=r_environment(program, threads),
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=self._log,
                stderr=self._log,
                start_new_session=True,  # Ctrl-C reaches Python, which then ends R
            )
        try:
            self._greet()
            for source in sources:
                self.call("bridge_source", file=str(source))
        except BaseException:
            self.close()
            raise

    @property
    def pid(self) -> int:
        return self._process.pid

    def call(self, function: str, /, *, keep: str | None = None, **arguments: Any) -> Any:
        """Calls an R function with named arguments.

        Arguments:
            function: Its name.
            keep: Leave the result in R under this name and return a reference to it.
            arguments: None, bool, int, float, str, arrays, lists and dicts of these, and
                references to what was kept.

        Returns:
            The result: arrays, lists, dicts (see `r_bridge.conversion.from_r`).

        Raises:
            RError: If R raises an error.
            RProcessError: If the process dies or does not answer in time.
        """
        answer = self._exchange({"function": function, "arguments": arguments, "keep": keep})
        if "error" in answer:
            raise RError(_r_error_text(answer))
        return answer["value"]

    def evaluate(self, code: str) -> Any:
        """Evaluates R code in R's global environment and returns the last value.

        Raises:
            RError: If R raises an error, or the value is none that Python can hold (end the
                code in `NULL` where the value does not matter).
        """
        return self.call("bridge_evaluate", code=code)

    def close(self) -> None:
        """Ends the process: by closing the connection, then by force."""
        self._connection.close()
        try:
            # A call that is under way is not waited for.
            self._process.wait(GRACE if self._idle else 0)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._log.close()

    def __enter__(self) -> RProcess:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _greet(self) -> None:
        answer = self._receive()
        if "error" in answer:
            raise RProcessError(
                f"R could not be started through rpy2: {answer['error']}",
                "an rpy2 that fits this R",
                "see pyvae doctor",
            )

    def _exchange(self, request: dict[str, Any]) -> Any:
        self._idle = False
        try:
            self._connection.settimeout(self.timeout)
            send(self._connection, request)
        except TimeoutError:
            raise self._hung() from None
        except OSError as error:
            raise self._died() from error
        return self._receive()

    def _receive(self) -> Any:
        self._connection.settimeout(self.timeout)
        try:
            answer = receive(self._connection)
        except TimeoutError:
            raise self._hung() from None
        except ClosedError:
            raise self._died() from None
        self._idle = True
        return answer

    def _hung(self) -> RProcessError:
        self._process.kill()
        return RProcessError(
            f"the R process (pid {self.pid}) gave no answer in {self.timeout:g} s and was ended",
            "",
            "set PYVAE_R_TIMEOUT to more seconds if the machine is slow",
        )

    def _died(self) -> RProcessError:
        try:
            code = self._process.wait(GRACE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            code = self._process.wait()
        how = f"exit code {code}"
        if code < 0:
            how = f"signal {-code}, {signal.Signals(-code).name}"
        hint = "the system may have been out of memory" if code == -signal.SIGKILL else ""
        said = self._last_words()
        return RProcessError(
            f"the R process (pid {self.pid}) ended in the middle of its work ({how})"
            + (f"; its last words: {said}" if said else ""),
            "",
            hint,
        )

    def _last_words(self) -> str:
        size = self._log.seek(0, os.SEEK_END)
        self._log.seek(max(0, size - 2000))
        lines = self._log.read().decode(errors="replace").strip().splitlines()
        return " | ".join(line.strip() for line in lines[-3:] if line.strip())


def _r_error_text(answer: dict[str, Any]) -> str:
    message, call = (" ".join(answer[name]) for name in ("error", "call"))
    message = message.partition("Exception raised from ")[0].strip()  # LibTorch's C++ frames
    where = answer.get("where") or []
    text = f"R error: {message}"
    if call:
        text += f"; in {call}"
    return text + (f"; at {', called from '.join(where)}" if len(where) else "")


def r_environment(program: Path, threads: int) -> dict[str, str]:
    """The environment in which R is started."""
    environment = dict(os.environ)
    environment["PATH"] = f"{program.parent}{os.pathsep}{environment.get('PATH', '')}"
    # What an R that started this Python left behind is not for the new one.
    for name in ("R_SESSION_TMPDIR", "R_ARCH"):
        environment.pop(name, None)
    # rpy2 would believe an R_HOME that holds no R.
    if program != Path(environment.get("R_HOME", "")) / "bin" / "R":
        environment.pop("R_HOME", None)
    # A user's profile could change the numbers. --no-init-file alone is not enough: rpy2 also
    # asks Rscript where R's libraries are.
    for name in ("R_PROFILE", "R_PROFILE_USER"):
        environment[name] = os.devnull
    # In the locale C R opens no file whose path has any character but ASCII. In this one it sorts
    # and speaks as there.
    if environment.get("LC_ALL") in ("C", "POSIX"):
        environment["LC_ALL"] = "C.UTF-8"
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        environment[name] = str(threads)
    return environment | MEMORY | QUIET_TORCH
