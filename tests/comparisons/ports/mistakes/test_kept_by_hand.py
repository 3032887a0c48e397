"""Running statistics that one program moves by hand, with a mistake in it."""

from __future__ import annotations

import pytest
import torch
from recorded.by_hand import Written, batch_norm, of_images

from comparisons.ports import compare_programs

pytestmark = pytest.mark.slow


def by_hand(kept=0.9, correction=1):
    """Batch norm as it is written by hand.

    Arguments:
        kept: How much of the running statistics stays.
        correction: 1 for the unbiased variance.
    """

    def compute(x, own):
        mean, variance = x.mean((0, 2, 3)), x.var((0, 2, 3), correction=0)
        with torch.no_grad():
            own.running_mean.mul_(kept).add_((1 - kept) * mean)
            own.running_var.mul_(kept).add_((1 - kept) * x.var((0, 2, 3), correction=correction))
            own.num_batches_tracked.add_(1)
        y = (x - mean[:, None, None]) / torch.sqrt(variance[:, None, None] + 1e-5)
        return y * own.weight[:, None, None] + own.bias[:, None, None]

    return lambda: Written(batch_norm(), compute)


MISTAKES = {
    "its running variance moves towards the biased variance, not the unbiased one": (
        by_hand(correction=0), "running_var",
    ),
    "momentum = 0.9 where it is 0.1 (Keras's convention: what is kept)": (
        by_hand(0.1), "running_mean",
    ),
    "momentum = 0.3 where it is 0.1": (by_hand(0.7), "running_mean"),
    "its running statistics are not updated": (by_hand(1.0), "running_mean"),
}  # fmt: skip


@pytest.mark.parametrize("words", MISTAKES)
def test_a_mistake_is_named_in_buffers_that_are_moved_by_hand(tmp_path, words):
    norm, buffer = MISTAKES[words]
    python, r = of_images(tmp_path / "python"), of_images(tmp_path / "r", norm=norm)
    for sides in ((python, r), (r, python)):
        found = compare_programs(*sides)
        assert found.first.judged.quantity.value[0] == f"norm.{buffer}"
        assert found.first.words == (f"r: {words}",)


def test_nothing_is_found_where_they_are_moved_rightly(tmp_path):
    python = of_images(tmp_path / "python")
    assert compare_programs(python, of_images(tmp_path / "r", norm=by_hand())).agrees
