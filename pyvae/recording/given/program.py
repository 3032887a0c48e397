"""Which program this process runs, as its traces say it: Python's own, or R's, within which
reticulate runs Python."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

__all__ = ["Program", "set_program", "this_program"]


@dataclass(frozen=True)
class Program:
    """The program that is recorded.

    Attributes:
        language: As in a trace: `python` or `r`.
        name: Its file's name.
        environment: What a trace says beside the versions of Python and PyTorch.
    """

    language: str = "python"
    name: str = ""
    environment: Mapping[str, str] = field(default_factory=dict)


_set: list[Program] = []


def set_program(program: Program) -> None:
    """Says for what is recorded from now on which program this process runs."""
    _set[:] = [program]


def this_program() -> Program:
    """The program that this process runs: the script that Python was started with, unless
    `set_program` has said another."""
    return _set[0] if _set else Program(name=Path(sys.argv[0]).name)
