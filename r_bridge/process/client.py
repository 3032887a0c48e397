"""A process that runs R: it can be called, timed out and killed.

R runs in a process of its own: two LibTorch do not live in one, R swallows SIGINT, and a
crash of R must not take Python with it.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from pyvae.environment import read_seconds
from r_bridge.errors import NO_MEMORY, RError, RProcessError
from r_bridge.installed.environment import r_environment
from r_bridge.installed.rpy2 import check_r
from r_bridge.process.wire import ClosedError, FrameError, frame, receive

__all__ = ["RProcess"]

TIMEOUT = 600.0  # seconds for one call, unless PYVAE_R_TIMEOUT says otherwise
GRACE = 2.0  # seconds to end by itself once the connection is closed
DYING = 30.0  # seconds to be gone for one that has closed it itself
OF_RPY2 = "R callback write-console:"  # in front of what R says
MEMORY_HINT = "the system may have been out of memory: free some, or use a smaller batch"
R_ERROR = re.compile(r"\b(Error|Fatal error)\b(: | in ).*")  # as R begins it
MORE_FILES = "allow more open files: ulimit -n 1024"
CHECK_R = "check ~/.Renviron and the environment variables that begin with R_"


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
        self.timeout = read_seconds("PYVAE_R_TIMEOUT", TIMEOUT) if timeout is None else timeout
        self._idle = False
        self._problem: tuple[str, str] | None = None  # why there is no process any more
        program = check_r()
        with ExitStack() as held:
            try:
                self._start(program, threads, held)
            except OSError as error:
                raise RProcessError(
                    f"the R process could not be started ({error})",
                    _room(error),
                ) from error
            self._greet()
            for source in sources:
                self.call("bridge_source", file=str(source))
            self._held = held.pop_all()

    def _start(self, program: Path, threads: int, held: ExitStack) -> None:
        """Starts the process; `held` releases what it holds, in reverse order."""
        # R leaves its temporary files behind when it is killed
        folder = tempfile.mkdtemp(prefix="pyvae-r-")
        held.callback(shutil.rmtree, folder, ignore_errors=True)
        self._log = held.enter_context(tempfile.TemporaryFile())  # noqa: SIM115 (held)
        self._connection, theirs = socket.socketpair()
        held.enter_context(self._connection)
        with theirs:
            module = [sys.executable, "-P", "-m", "r_bridge.process.server"]
            self._process = subprocess.Popen(
                [*module, str(theirs.fileno()), folder],
                env=r_environment(program, threads) | {"TMPDIR": folder},
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=self._log,
                stderr=self._log,
                start_new_session=True,  # Ctrl-C reaches Python, which then ends R
            )
        held.callback(self._end)

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
            The result: arrays, lists, dicts (see `r_bridge.process.conversion.from_r`).

        Raises:
            RError: If R raises an error.
            RProcessError: If the process dies, does not answer in time, or has ended.
            TypeError, ValueError: If an argument is none of these.
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
        self._held.close()

    def _end(self) -> None:
        ended = f"the R process (pid {self.pid}) was ended", "start a new one"
        self._problem = self._problem or ended
        self._connection.close()
        try:
            with suppress(subprocess.TimeoutExpired):
                # A call that is under way is not waited for.
                self._process.wait(GRACE if self._idle else 0)
        finally:
            self._kill()

    def _kill(self) -> int:
        """Ends the process by force, if it still runs; returns its exit code."""
        self._process.kill()
        return self._process.wait()

    def __enter__(self) -> RProcess:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _greet(self) -> None:
        with self._watched():
            answer = receive(self._connection)
        if "error" not in answer:
            return
        said = R_ERROR.search(self._last_words())
        if said is not None:  # from the Rscript that rpy2 asks for R's variables
            few_files = "number of open files" in said[0]
            raise RProcessError(
                f"R could not be started: {said[0].removesuffix(' | Execution halted')}",
                MORE_FILES if few_files else CHECK_R,
            )
        raise RProcessError(
            f"R could not be started through rpy2: {answer['error']}",
            "run pyvae doctor",
        )

    def _exchange(self, request: dict[str, Any]) -> dict[str, Any]:
        if self._problem is not None:
            raise RProcessError(*self._problem)
        parts = frame(request)
        with self._watched():
            for part in parts:
                self._connection.sendall(part)
            answer = receive(self._connection)
            if not (isinstance(answer, dict) and answer.keys() & {"value", "error"}):
                raise FrameError("neither a value nor an error")
        return answer

    @contextmanager
    def _watched(self) -> Iterator[None]:
        """Ends the process if sending or receiving fails: half a message, or a late one, would be
        taken for the answer to the next call."""
        self._idle = False
        self._connection.settimeout(self.timeout)  # of each wait for a byte
        who = f"the R process (pid {self.pid})"
        ended = f"{who} was ended in an earlier call", "start a new one"
        try:
            yield
        except TimeoutError:
            # OpenBLAS asks for memory in a loop without end
            slow = (
                "if the machine is slow, set PYVAE_R_TIMEOUT to more seconds (a BLAS that finds no "
                "memory never answers)"
            )
            ended = f"{who} gave no answer in {self.timeout:g} s and was ended", slow
            raise RProcessError(*ended) from None
        except (ClosedError, OSError):
            ended = self._died(who)
            raise RProcessError(*ended) from None
        except FrameError as error:
            ended = f"{who} sent an invalid message ({error}) and was ended", ""
            raise RProcessError(*ended) from error
        except MemoryError as error:
            ended = f"no memory for an answer of {who} ({error})", "free some memory"
            raise RProcessError(*ended) from error
        else:
            self._idle = True
        finally:
            if not self._idle:
                self._problem = ended
                self._kill()

    def _died(self, who: str) -> tuple[str, str]:
        try:
            code = self._process.wait(DYING)
        except subprocess.TimeoutExpired:
            code = self._kill()
        how = f"exit code {code}"
        if code < 0:
            names = {int(one): one.name for one in signal.Signals}
            how = f"signal {-code}, {names.get(-code, 'without a name')}"
        said = self._last_words()
        words = f"; its last words: {said}" if said else ""
        no_memory = code == -signal.SIGKILL or any(words in said for words in NO_MEMORY)
        hint = MEMORY_HINT if no_memory else ""
        return f"{who} ended in the middle of its work ({how}){words}", hint

    def _last_words(self) -> str:
        size = self._log.seek(0, os.SEEK_END)
        self._log.seek(max(0, size - 2000))
        lines = self._log.read().decode(errors="replace").strip().splitlines()
        said = [line.removeprefix(OF_RPY2).strip() for line in lines[-3:]]
        return " | ".join(line for line in said if line)


def _room(error: OSError) -> str:
    """What to do about an error that keeps a process from starting; empty if that is not known."""
    return {
        errno.EMFILE: MORE_FILES,
        errno.ENOSPC: "free some space in the folder for temporary files, or set TMPDIR to another",
        errno.ENOMEM: MEMORY_HINT,
    }.get(error.errno or 0, "")


def _r_error_text(answer: dict[str, Any]) -> str:
    message, call = (" ".join(answer[name]) for name in ("error", "call"))
    message = message.partition("Exception raised from ")[0].strip()  # LibTorch's C++ frames
    where = answer.get("where") or []
    text = f"R error: {message}"
    if call:
        text += f"; in {call}"
    return text + (f"; at {', called from '.join(where)}" if len(where) else "")
