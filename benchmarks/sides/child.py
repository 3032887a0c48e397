"""One side's process, as the benchmark sees it."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from benchmarks.given.case import Case
from benchmarks.sides.processes import Memory, memory_of, minor_faults, reset_peak
from pyvae.errors import UserError
from r_bridge.installed.environment import QUIET_TORCH
from r_bridge.rpy2_fit import find_r

__all__ = ["TITLES", "Child", "Turn", "side_environment", "start_python", "start_r_torch"]

ROOT = Path(__file__).parents[2]
IDX_R = ROOT / "r_bridge" / "rpackage" / "R" / "idx.R"
PLAIN_LOOP_R = ROOT / "benchmarks" / "plain_loops" / "plain_loop.R"
PATIENCE = 600.0  # seconds without an answer
GRACE = 3.0  # seconds to end by itself
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
TITLES = {
    "pyvae": "pyvae",
    "plain": "plain PyTorch loop",
    "rtorch": "plain R torch loop",
    "base_r": "base R, float64",
    "limits": "the machine's limits",
}


class Turn(NamedTuple):
    """What a side did when it was its turn."""

    milliseconds: list[float]  # of each step that counts
    faults: float | None  # minor page faults a step
    memory: Memory | None  # after it, above what was there before the first step


class Child:
    """A process that does steps when it is told to, and waits while others do theirs.

    Arguments:
        side: Its name.
        command: What to start.
        environment: In which.

    Raises:
        UserError: If it ends before it is ready.
    """

    def __init__(self, side: str, command: Sequence[str], environment: Mapping[str, str]) -> None:
        self.side = side
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 (closed in close)
        self._process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            start_new_session=True,  # Ctrl-C reaches the benchmark, which then ends its children
        )
        self._processes: list[int] = []
        self._before = 0.0

    def wait_until_ready(self) -> None:
        """Returns when everything is imported and loaded."""
        self._processes = [int(pid) for pid in self._hear("ready")]
        reset_peak(self._processes)
        memory = memory_of(self._processes)
        self._before = 0.0 if memory is None else memory.now

    def turn(self, case: str, steps: int, skip: int = 1) -> Turn:
        """Lets it do some steps.

        Arguments:
            case: Of what.
            steps: How many count.
            skip: How many it does before, which do not count: they bring caches and threads back
                that others had in between.

        Raises:
            UserError: If it ends, or does not answer.
        """
        before = minor_faults(self._processes)
        assert self._process.stdin is not None  # noqa: S101 (a pipe)
        try:
            self._process.stdin.write(f"{case} {skip + steps}\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise self._ended() from None
        took = [float(word) for word in self._hear("took")]
        after, memory = minor_faults(self._processes), memory_of(self._processes)
        return Turn(
            took[skip:],
            None if before is None or after is None else (after - before) / (skip + steps),
            None if memory is None else Memory(*(mb - self._before for mb in memory)),
        )

    def ask_for_no_more(self) -> None:
        """Lets it end by itself."""
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with suppress(OSError):  # what was not heard any more
                    pipe.close()

    def close(self) -> None:
        """Ends it: by asking for no more, then by force."""
        self.ask_for_no_more()
        try:
            self._process.wait(GRACE)
        except subprocess.TimeoutExpired:
            self.kill()
        self._log.close()

    def kill(self) -> None:
        """Ends it now."""
        self._process.kill()
        self._process.wait()

    def _hear(self, word: str) -> list[str]:
        assert self._process.stdout is not None  # noqa: S101 (a pipe)
        if not select.select([self._process.stdout], [], [], PATIENCE)[0]:
            self.kill()
            raise UserError(f"{self._name} gave no answer in {PATIENCE:g} s and was ended")
        line = self._process.stdout.readline().split()
        if not line:
            raise self._ended()
        if line[0] != word:
            raise UserError(
                f"{self._name} said '{' '.join(line)}'", expected=f"a line '{word} ...'"
            )
        return line[1:]

    @property
    def _name(self) -> str:
        return f"the side {TITLES.get(self.side, self.side)} (pid {self._process.pid})"

    def _ended(self) -> UserError:
        try:
            code = self._process.wait(GRACE)
        except subprocess.TimeoutExpired:
            self.kill()
            code = 0
        how = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
        return UserError(
            f"{self._name} ended in the middle of its work ({how}){self._last_words()}"
        )

    def _last_words(self) -> str:
        size = self._log.seek(0, os.SEEK_END)
        self._log.seek(max(0, size - 2000))
        lines = self._log.read().decode(errors="replace").strip().splitlines()
        said = " | ".join(line.strip() for line in lines[-3:] if line.strip())
        return f"; its last words: {said}" if said else ""


def start_python(side: str, cases: Mapping[str, Case], folder: Path, threads: int) -> Child:
    """One of `benchmarks.sides.sides.PYTHON_SIDES`."""
    about = {
        "side": side,
        "cases": {name: case.as_dict() for name, case in cases.items()},
        "folder": str(folder),
        "threads": threads,
    }
    command = [sys.executable, "-m", "benchmarks.sides.side_process", json.dumps(about)]
    return Child(side, command, side_environment(folder, threads))


def start_r_torch(case: Case, folder: Path, threads: int) -> Child:
    """The plain loop in R's torch."""
    _, settings = case.chosen()
    program = find_r()
    assert program is not None  # noqa: S101 (R's torch was found)
    command = [
        str(program.with_name("Rscript")), "--no-init-file", str(PLAIN_LOOP_R),
        str(IDX_R), str(folder), str(settings.batch_size), str(settings.latent_dim), str(threads),
    ]  # fmt: skip
    return Child("rtorch", command, side_environment(folder, threads) | QUIET_TORCH)


def side_environment(folder: Path, threads: int) -> dict[str, str]:
    """The same for every side: what was set for threads and for memory is taken away, so that each
    has them as it comes."""
    taken = ("MALLOC_", "OMP_", "GLIBC_TUNABLES")
    environment = {k: v for k, v in os.environ.items() if not k.startswith(taken)}
    environment |= dict.fromkeys(THREADS, str(threads))
    return environment | {"PYVAE_DATA": str(folder)}
