"""Fixtures for the tests of the benchmarks: turns and results that were made up."""

from __future__ import annotations

import os
import subprocess
from types import SimpleNamespace

import pytest

from benchmarks.given.case import Case
from benchmarks.measured.conv import summary
from benchmarks.sides import child
from benchmarks.sides.arithmetic import Series
from benchmarks.sides.child import Turn
from benchmarks.sides.processes import Memory


@pytest.fixture
def series():
    """A series of turns with these milliseconds, and with page faults and memory."""

    def make(*turns: list[float]) -> Series:
        return Series(
            [
                Turn(list(ms), 10.0 * number, Memory(100.0 + number, 200.0 + number))
                for number, ms in enumerate(turns, start=1)
            ]
        )

    return make


@pytest.fixture
def warm_sides(warm, monkeypatch):
    """Sides are processes that have imported PyTorch and torchvision before, the same as those of
    other tests: they are told of threads by the one variable that these have, too."""

    def start(command, *, cwd, env, stderr, **others):
        theirs, to_them = os.pipe()
        from_them, ours = os.pipe()
        side = warm.start(
            *command[1:], folder=cwd, environment=env, stdin=theirs, stdout=ours,
            stderr=stderr.fileno(),
        )  # fmt: skip
        os.close(theirs)
        os.close(ours)
        side.stdin, side.stdout = os.fdopen(to_them, "w"), os.fdopen(from_them)
        return side

    changed = SimpleNamespace(**vars(subprocess) | {"Popen": start})
    monkeypatch.setattr(child, "subprocess", changed)
    monkeypatch.setattr(child, "THREADS", ("OMP_NUM_THREADS",))


@pytest.fixture
def conv_results(series):
    """What a run of two rounds would leave, with these sides."""

    def make(*sides: str) -> dict:
        steps = {"pyvae": 150.0, "plain": 300.0, "rtorch": 200.0, "base_r": 1500.0}
        found = {(side, "conv"): series([steps[side]], [2 * steps[side]]) for side in sides}
        found["limits", "product"] = series([100.0], [200.0])
        found["limits", "copy"] = series([10.0], [20.0])
        return summary(found, Case())

    return make


@pytest.fixture
def results(conv_results):
    """What a whole run would leave."""
    machine = {"cpu": "a processor", "cores": 2, "memory_gb": 8.0}
    versions = ("python", "torch", "torch_blas", "r", "r_blas", "r_torch", "libtorch_of_r")
    about = {"date": "2026-01-01T00:00:00+00:00", "machine": machine, "system": "Linux",
             "threads": 2, "data": "mnist"} | dict.fromkeys(versions, "1.0")  # fmt: skip
    recipe = {"batch_size": 1000, "pyvae_ms": 10.0, "plain_ms": 20.0, "ratio_plain": 0.5,
              "floor_ms": 8.0, "ratio_floor": 1.25, "images_per_second": 10000.0,
              "gflop_per_step": 1.5}  # fmt: skip
    point = {"pyvae_ms": 100.0, "images_per_second": 2500.0}
    plain = {"peak_mb": 1.0, "plain_ms": 200.0, "plain_peak_mb": 2.0, "ratio_plain": 0.5}
    return {
        "about": about,
        "conv": conv_results("pyvae", "plain", "rtorch", "base_r"),
        "recipes": {"mlp": recipe, "clustering-semi-supervised": recipe},
        "startup": {"runs": 1, "help_s": 0.2, "import_torch_s": 1.0, "first_step_s": 3.0},
        "draws": {"steps": 20, "writing_ms": 30.0, "mb_per_step": 3.1, "trace_s": 5.0,
                  "trace_with_draws_s": 6.0, "more_ms_per_step": 250.0},
        "bridge": {"call_ms": 0.2, "array_ms": 2.0, "array_mb": 1.6, "step_ms": 1500.0,
                   "step_bridge_ms": 15.0, "share": 0.01},
        "growth": {
            "batch_size": [{"batch_size": size} | point | plain for size in (50, 250)],
            "latent_dim": [{"latent_dim": size} | point for size in (2, 30)],
            "images": [{"images": size, "epoch_s": 1.0} | point for size in (1000, 10000)],
            "threads": [{"threads": size} | point | plain for size in (1, 2)],
        },
    }  # fmt: skip
