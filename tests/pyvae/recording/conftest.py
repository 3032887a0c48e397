"""Fixtures for the tests of the recorder."""

from __future__ import annotations

import pytest
import torch

from pyvae.recording.record import record
from pyvae.recording.recording import running
from pyvae.trace.program import ProgramTrace


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
    left = running()
    if left is not None:
        left.cancel()


@pytest.fixture
def recorded(tmp_path):
    """Records a program's first steps, and returns its trace."""

    def run(program, steps=2, name="trace", *, train=None, **options):
        with record(program.model, program.optimizer, tmp_path / name, steps=steps, **options):
            program.losses = program.train(train or steps)
        return ProgramTrace.load(tmp_path / name)

    return run
