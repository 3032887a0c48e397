"""What can be held to without a GPU: the same code on the CPU."""

from __future__ import annotations

import pytest
import torch

from benchmarks import cuda


@pytest.mark.slow
@pytest.mark.usefixtures("narrow_recipes")
@pytest.mark.parametrize("rng", cuda.RNGS)
def test_both_objectives_are_timed_and_held_against_the_cpu(digits, rng):
    found = cuda.measure(digits, 1, "cpu", "full", rng, steps=2)
    assert found["steps"] == 4
    assert found["ms_a_step"] == pytest.approx(1000 * found["seconds"] / 4)
    assert set(found["last_nats"]) == {"vae", "emae"}
    assert all(100 < nats < 1000 for nats in found["last_nats"].values())
    assert found["peak_mb"] is None
    assert found["worst_against_cpu"] == (0.0 if rng == "injected" else None)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_one_line_says_so(capsys):
    assert cuda.main([]) == 2
    said = capsys.readouterr().err
    assert said.startswith("benchmarks: --device cuda, but PyTorch finds no NVIDIA GPU. Install ")
    assert said.count("\n") == 1
