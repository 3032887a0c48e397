"""Updates and clipping in R torch's order, held against the same in exact numbers."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from comparisons.ports.expected.r_torch_order import clipped, r_torch_update
from comparisons.ports.expected.update import expected_update
from pyvae.recording.record import record
from pyvae.trace.program import ProgramTrace

ADAM = {"lr": 0.01, "weight_decay": 0.02}
OPTIMISERS = {
    "adam": lambda p: torch.optim.Adam(p, **ADAM),
    "amsgrad": lambda p: torch.optim.Adam(p, amsgrad=True, **ADAM),
    "adamw": lambda p: torch.optim.AdamW(p, **ADAM),
    "adamw-amsgrad": lambda p: torch.optim.AdamW(p, amsgrad=True, **ADAM),
    "rmsprop": lambda p: torch.optim.RMSprop(p, centered=True, weight_decay=0.02),
    "rmsprop-momentum": lambda p: torch.optim.RMSprop(p, centered=True, momentum=0.5),
}


def recorded(folder, make, clip=0.0):
    torch.manual_seed(1)
    model = nn.Sequential(nn.Linear(5, 7), nn.Tanh(), nn.Linear(7, 3))
    optimiser = make(model.parameters())
    with record(model, optimiser, folder, steps=3):
        for _ in range(3):
            optimiser.zero_grad()
            model(torch.randn(6, 5)).square().mean().backward()
            if clip:
                nn.utils.clip_grad_norm_(model.parameters(), clip)
            optimiser.step()
    return ProgramTrace.load(folder)


@pytest.mark.parametrize("kind", OPTIMISERS)
def test_in_exact_numbers_it_is_the_same_update(kind, tmp_path):
    trace = recorded(tmp_path / "trace", OPTIMISERS[kind])
    before = {}
    for number in (1, 2, 3):
        step, arrays = trace.recorded(number), trace.arrays(number)
        exact = expected_update(step, arrays, before)
        for name in ("0.weight", "2.bias"):
            ours = r_torch_update(name, step, arrays, before)
            assert {*ours} == {"parameter", *exact[name].state} - {"step"}
            for key, value in ours.items():
                wanted = exact[name].parameter if key == "parameter" else exact[name].state[key]
                assert value.dtype == np.float32
                np.testing.assert_allclose(value, wanted.numpy(), rtol=1e-5, atol=1e-7)
        before = arrays


def test_an_optimiser_whose_order_is_pytorchs_has_none_of_its_own(tmp_path):
    trace = recorded(tmp_path / "trace", lambda p: torch.optim.SGD(p, 0.1))
    assert r_torch_update("0.weight", trace.recorded(1), trace.arrays(1), {}) == {}
    assert r_torch_update("lacking", trace.recorded(1), trace.arrays(1), {}) == {}


@pytest.mark.parametrize("clip", [0.05, 0.123456, 1e-3])
def test_clipping_is_found_with_its_bound(clip, tmp_path):
    trace = recorded(tmp_path / "trace", lambda p: torch.optim.SGD(p, 0.1), clip)
    names = [one.name for one in trace.parameters]
    for number in (1, 2, 3):
        arrays = trace.arrays(number)
        found = clipped(arrays, names)
        assert {*found} == {*names}
        for name, value in found.items():
            assert np.array_equal(value, arrays[f"given/{name}"])


def test_what_was_not_clipped_is_not_explained(tmp_path):
    trace = recorded(tmp_path / "trace", lambda p: torch.optim.SGD(p, 0.1))
    assert clipped(trace.arrays(1), [one.name for one in trace.parameters]) == {}
