from __future__ import annotations

from concurrent.futures import Future
from dataclasses import replace

import pytest
import torch
from processes.reused_r import ReusedR
from stand_ins.narrow import NARROW_CONV
from stand_ins.patched_r import PatchedBaseR

from comparisons.runs.live import compare as compare_engines
from comparisons.seeds import run_seeds as native
from pyvae.engines.pytorch import PyTorchEngine
from pyvae.model.run import Run
from r_bridge.engines import base as engines


@pytest.fixture(scope="session")
def conv():
    """Where the published widths do not matter, a comparison takes a quarter of the time."""
    return NARROW_CONV


@pytest.fixture(autouse=True)
def _threads():
    """A run in a worker, which is this process here, leaves PyTorch with its threads."""
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def processes():
    processes = ReusedR()
    yield processes
    processes.end()


@pytest.fixture(scope="module", autouse=True)
def _reused_r(processes):
    """R engines of this process take an R that has served another test, emptied."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(engines, "RProcess", processes)
        yield


@pytest.fixture
def compare(conv, settings, digits, tmp_path):
    """Runs both engines for a few small steps, R with a patch if one is given."""

    def run(objectives=("vae",), patch=None, **changes):
        runs = [Run(conv, settings(objective=name, **changes), digits) for name in objectives]
        with PatchedBaseR(patch) as reference:
            return compare_engines(runs, PyTorchEngine("cpu"), reference, tmp_path)

    return run


@pytest.fixture(scope="module")
def few(digits):
    """Thirty images: two batches of 12 an epoch."""
    return replace(digits, name="few", pixels=digits.pixels[:30])


@pytest.fixture
def inline(monkeypatch):
    """Runs seeds in this process, one after the other; as a pool that is ready at once."""

    class Pool:
        def submit(self, function, *arguments):
            future = Future()
            try:
                future.set_result(function(*arguments))
            except Exception as error:
                future.set_exception(error)
            return future

        def shutdown(self, **options):
            native.close_engines()

    monkeypatch.setattr("pyvae.parallel.processes._open_pool", lambda processes, jobs: Pool())
