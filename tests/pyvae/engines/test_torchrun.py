"""One batch over two processes is the same run as in one."""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path

import numpy as np
import pytest
from processes.undrawn import UNDRAWN

from pyvae.engines.pytorch import PyTorchEngine
from pyvae.model.run import Run
from pyvae.recipes import open_recipe
from pyvae.trace.trace import Trace
from pyvae.training.loop import train

TESTS = str(Path(__file__).parents[2])
TORCHRUN = Path(sys.executable).with_name("torchrun")
BATCH = 13  # shares of 6 and 7
MINE = """
from dataclasses import replace

from stand_ins.narrow import NARROW

CONV = replace(NARROW["conv"], name="narrow-conv")
STRIDED_CONV = replace(NARROW["strided-conv"], name="narrow-strided-conv")
"""


@pytest.fixture
def two_processes(warm, tmp_path):
    """Runs pyvae in two processes with the variables that torchrun sets; what both of them said."""

    def run(*arguments):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        shared = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": "2"}
        started = []
        for rank in "01":
            mine = UNDRAWN | {"RANK": rank, "LOCAL_RANK": rank, "PYTHONPATH": TESTS}
            one = warm.start(
                "-m", "pyvae", *arguments, folder=tmp_path, environment=os.environ | shared | mine
            )
            started.append(one)
        said = [one.communicate() for one in started]
        assert [one.returncode for one in started] == [0, 0], said
        return "".join(out for out, _ in said)

    return run


@pytest.mark.slow
@pytest.mark.parametrize(
    ("recipe", "objective", "dtype", "tolerance"),
    [
        ("of_torchrun_conv.py:CONV", "both", "float64", 1e-13),
        ("of_torchrun_strided.py:STRIDED_CONV", "elbo", "float64", 1e-13),  # a mean over images
        ("mlp", "elbo", "float64", 1e-9),  # batch norm: rounded otherwise over processes
    ],
)
def test_two_processes_go_through_the_same_run_as_one(
    two_processes, tmp_path, monkeypatch, digits, recipe, objective, dtype, tolerance
):
    monkeypatch.chdir(tmp_path)
    Path(recipe.partition(":")[0]).write_text(MINE)
    said = two_processes(
        "train", recipe, "--data", "digits", "--objective", objective, "--steps", "3",
        "--batch-size", str(BATCH), "--dtype", dtype, "--out", "run",
    )  # fmt: skip
    assert said.count("written: run") == 1  # only one of them speaks, and writes
    chosen = open_recipe(recipe)
    for settings in chosen.runs(objective, steps=3, batch_size=BATCH, dtype=dtype):
        expected = train(Run(chosen, settings, digits), PyTorchEngine("cpu"))
        found = Trace.load(tmp_path / "run" / settings.objective)
        assert found.environment["processes"] == "2"
        np.testing.assert_allclose(found.losses, expected.losses, rtol=tolerance)
        for name, value in expected.latent_means.items():
            np.testing.assert_allclose(
                found.latent_means[name], value, rtol=10 * tolerance, atol=10 * tolerance
            )


@pytest.mark.slow
def test_a_mistake_is_told_once(warm, tmp_path):
    done = warm.run(
        TORCHRUN, "--standalone", "--nproc-per-node", "2", "-m", "pyvae", "train", "conv",
        "--data", "digits", "--batch-size", "1", "--out", "run",
        folder=tmp_path, environment=os.environ | {"OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode != 0
    assert done.stderr.count("pyvae: a batch of 1 is too small for 2 processes") == 1
    assert not (tmp_path / "run").exists()
