"""What comes after the values are normalised: weight and bias."""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor

from comparisons.ports.mistakes.mistake import Call, mistake
from comparisons.ports.mistakes.norms.batch_norm import BATCH_NORMS
from comparisons.ports.mistakes.norms.other_norms import ALL
from comparisons.ports.mistakes.recycling import recycled


@mistake((*BATCH_NORMS, *ALL))
def other_affine(call: Call) -> Iterator[tuple[str, Tensor]]:
    weight, bias = call["weight"], call["bias"]
    yield "its weight and bias are exchanged", call(weight=bias, bias=weight)
    yield "its bias is added before the weight multiplies", call(bias=weight * bias)


@mistake((*BATCH_NORMS, *ALL, "rms_norm"), "its weight counts from 0: multiplied by 1 + weight")
def weight_from_zero(call: Call) -> Tensor:
    return call(weight=1 + call["weight"])


@mistake((*BATCH_NORMS, "layer_norm"))
def recycled_affine(call: Call) -> Iterator[tuple[str, Tensor]]:
    """`x * weight + bias` of a matrix in R, where sweep() is meant."""
    weight, bias = call["weight"], call["bias"]
    plain = call(weight=None, bias=None)
    end = "down the columns, as R recycles a vector"
    into = plain * recycled(weight, plain.shape)
    yield f"its weight and bias are taken {end}", into + recycled(bias, plain.shape)
    yield f"its weight multiplies {end}", into + (call() - call(bias=None))
    yield f"its bias is added {end}", call(bias=None) + recycled(bias, plain.shape)
