"""How the errors of all elements become one number."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from comparisons.ports.mistakes.mistake import Call, mistake

__all__ = ["of_any_loss", "with_other_rows"]

REDUCED = (
    "cross_entropy_loss", "cross_entropy", "nll_loss", "nll_loss2d", "nll_loss_nd",
    "mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss", "soft_margin_loss",
    "binary_cross_entropy", "bce_loss", "binary_cross_entropy_with_logits",
    "bce_with_logits_loss", "kl_div", "kl_div_loss", "poisson_nll_loss", "gaussian_nll_loss",
)  # fmt: skip


@mistake(REDUCED)
def of_any_loss(call: Call) -> Iterator[tuple[str, Any]]:
    """Another reduction, a factor, the other sign."""
    right, each = call(), call(reduction="none")
    reduction = call.options["reduction"]
    yield "its sign changed", -right
    yield "halved", right / 2
    yield "doubled: a factor 1/2 is missing", right * 2
    if right.numel() > 1:
        return
    several = each.dim() > 1 and 1 < len(each) < each.numel()
    if several and reduction != "batchmean":
        yield "summed over each row, averaged over the rows", each.flatten(1).sum(1).mean()
    if reduction == "mean" and several:
        yield "averaged over each row, summed over the rows", each.flatten(1).mean(1).sum()


@mistake(("mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss"))
def with_other_rows(call: Call) -> Iterator[tuple[str, Any]]:
    """The famous broadcast of (N, 1) against (N): every prediction with every target."""
    x, y = call["input"], call["target"]
    if x.numel() == x.shape[0] == y.numel() and x.numel() > 1:
        column, row = x.reshape(-1, 1), y.reshape(1, -1)
        words = "every row with every other: (N, 1) was broadcast against (N)"
        yield words, call(column.expand(len(x), len(x)), row.expand(len(x), len(x)))
    if x.dim() > 1 or len(x) > 1:
        yield "the targets in reverse order", call(x, y.flip(0))
        yield "the targets one row further", call(x, y.roll(1, 0))
