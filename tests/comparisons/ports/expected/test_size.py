"""Sizes are checked before anything is computed, of most layers without PyTorch's compiler."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from comparisons.ports.expected.recompute import recompute
from comparisons.ports.expected.size import NO_LARGER
from comparisons.ports.expected.table import LAYERS
from pyvae.recording.record import record
from pyvae.trace.program import ProgramStage

COMPARED = """
import sys
sys.modules.pop("torch._dynamo", None)  # of the process that was forked
from comparisons.ports import compare_programs
found = compare_programs("a", "b")
assert "torch._dynamo" not in sys.modules
print(found.verdict)
"""


@pytest.mark.parametrize(
    ("layer", "options"),
    [
        ("upsample", {"scale_factor": 1000}),
        ("adaptive_avg_pool2d", {"output_size": 2000}),
        ("expand", {"size": [1000, 1000, 2, 2]}),
        ("repeat", {"repeats": [1000, 1000, 1, 1]}),
        ("pad", {"pad": [0, 2 * 10**6]}),
        ("conv2d", {"padding": 1000}),
    ],
)
def test_nothing_is_computed_that_is_far_larger_than_what_was_recorded(layer, options):
    """Each would take 32 MB, which there are: it is the check that refuses."""
    x = {"forward/x": np.ones((1, 1, 2, 2))}
    stage = ProgramStage("s", layer, ("x",), options, {"weight": "x"} if "conv" in layer else {})
    assert recompute(stage, x, 0) is None


@pytest.mark.parametrize("layer", ["mul", "mse_loss", "matmul"])
def test_nor_is_what_two_small_inputs_would_be_broadcast_to(layer):
    long = np.ones((2**11, 1))
    arrays = {"forward/x": long, "forward/y": long.T.copy()}
    assert recompute(ProgramStage("s", layer, ("x", "y"), {"reduction": "none"}
                                  if "loss" in layer else {}), arrays, 0) is None  # fmt: skip
    assert (layer in NO_LARGER) == (layer != "matmul")
    assert layer in LAYERS


def test_a_usual_network_is_compared_without_pytorchs_compiler(tmp_path, warm):
    for name, eps in (("a", 1e-5), ("b", 1e-3)):
        torch.manual_seed(1)
        network = nn.Sequential(nn.Linear(6, 5), nn.BatchNorm1d(5, eps=eps), nn.ReLU())
        optimiser = torch.optim.Adam(network.parameters())
        with record(network, optimiser, tmp_path / name):
            x = torch.rand(8, 6)
            nn.functional.mse_loss(network(x), 0.1 + x[:, :5]).backward()
            optimiser.step()
    done = warm.run("-c", COMPARED, folder=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (
        0, "part at step 1, 1 (batch_norm1d), forward\n", ""
    )  # fmt: skip
