"""Any recipe's network trained by the plain loop."""

from __future__ import annotations

import math

import pytest

from benchmarks.given.case import Case
from benchmarks.given.images import write_idx_files
from benchmarks.measured.recipes import OTHERS
from benchmarks.plain_loops import plain_loop, plain_recipes


@pytest.mark.slow
@pytest.mark.parametrize("name", OTHERS)
def test_it_trains(name, tmp_path, digits):
    write_idx_files(digits, tmp_path / "digits")
    images = plain_loop.load(str(tmp_path / "digits"))
    steps = plain_recipes.train(images, Case(name, batch_size=10))
    losses = [next(steps) for _ in range(3)]
    assert all(math.isfinite(loss) for loss in losses)
    assert len(set(losses)) == 3
