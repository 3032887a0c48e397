"""Page faults and memory of processes, as Linux tells them in /proc; elsewhere nobody does."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

__all__ = ["Memory", "memory_of", "minor_faults", "reset_peak"]

PROC = Path("/proc")
AFTER_NAME = 7  # fields of /proc/PID/stat from the process's name, in brackets, to minflt


class Memory(NamedTuple):
    """Of one or more processes together, in MB (10^6 bytes)."""

    now: float
    peak: float


def minor_faults(processes: Sequence[int]) -> int | None:
    """Page faults that needed no disk, since the processes began; None where nobody counts."""
    try:
        return sum(_minor_faults((PROC / str(pid) / "stat").read_text()) for pid in processes)
    except OSError:
        return None


def _minor_faults(stat: str) -> int:
    fields = stat.rpartition(")")[2].split()  # a process's name may hold blanks
    return int(fields[AFTER_NAME])


def memory_of(processes: Sequence[int]) -> Memory | None:
    """What the processes hold now, and held at most (VmRSS and VmHWM); None where nobody tells."""
    try:
        texts = [(PROC / str(pid) / "status").read_text() for pid in processes]
    except OSError:
        return None
    return Memory(*(sum(_status(text, name) for text in texts) for name in ("VmRSS", "VmHWM")))


def _status(text: str, name: str) -> float:
    line = next(line for line in text.splitlines() if line.startswith(f"{name}:"))
    return int(line.split()[1]) * 1024 / 1e6


def reset_peak(processes: Sequence[int]) -> None:
    """Lets the peak begin again from what is held now, where that is allowed."""
    for pid in processes:
        try:
            (PROC / str(pid) / "clear_refs").write_text("5")
        except OSError:
            return
