"""Which program a trace is of."""

from __future__ import annotations

import sys

import pytest
import torch
from torch import nn

from pyvae.recording.given import program
from pyvae.recording.given.program import Program, set_program, this_program
from pyvae.recording.record import record
from pyvae.trace.program import ProgramTrace


@pytest.fixture(autouse=True)
def as_it_was(monkeypatch):
    monkeypatch.setattr(program, "_set", [])


def test_it_is_the_script_of_python_s_own(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["there/train.py", "5"])
    assert this_program() == Program("python", "train.py", {})


def test_a_trace_says_what_was_set(tmp_path):
    set_program(Program("r", "train.R", {"R": "4.2.2"}))
    model = nn.Linear(2, 1)
    with record(model, None, tmp_path / "r", steps=1):
        model(torch.ones(1, 2))
    trace = ProgramTrace.load(tmp_path / "r")
    assert (trace.language, trace.program, trace.index_base) == ("r", "train.R", 0)
    assert trace.environment["R"] == "4.2.2"
    assert trace.environment["torch"] in torch.__version__
