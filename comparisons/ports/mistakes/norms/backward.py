"""The backward pass of layers that normalise, where statistics are taken for constants."""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor

from comparisons.ports.mistakes.mistake import Call, mistake
from comparisons.ports.mistakes.norms import batch_norm, other_norms


@mistake((*batch_norm.BATCH_NORMS, *other_norms.ALL), backward=True)
def constants(call: Call) -> Iterator[tuple[str, Tensor]]:
    own = batch_norm if call.layer in batch_norm.BATCH_NORMS else other_norms
    one = own.normalised(call)
    if one.running is not None:
        return
    mean, root = one.mean, (one.variance + one.eps).sqrt()
    yield (
        "no gradient flows through its mean and variance",
        one.over(mean.detach(), root.detach()),
    )
    yield "no gradient flows through its mean", one.over(mean.detach(), root)
    yield "no gradient flows through its variance", one.over(mean, root.detach())
