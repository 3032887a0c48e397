"""Linear layers."""

from __future__ import annotations

from torch import Tensor

from comparisons.ports.mistakes.mistake import Call, mistake
from comparisons.ports.mistakes.recycling import recycled


@mistake("linear", "its weight is transposed")
def transposed(call: Call) -> Tensor | None:
    weight = call["weight"]
    return call(weight=weight.T) if weight.shape[0] == weight.shape[1] else None


@mistake("linear", "its weight's numbers are filled column by column")
def column_major(call: Call) -> Tensor | None:
    rows, columns = call["weight"].shape
    if rows == columns:  # then it is transposed
        return None
    return call(weight=call["weight"].reshape(columns, rows).T)


@mistake("linear", "its weight is reshaped where it is to be transposed: matrix() in place of t()")
def reshaped(call: Call) -> Tensor | None:
    rows, columns = call["weight"].shape
    if 1 in (rows, columns) or rows == columns:  # then it is right, or transposed
        return None
    return call(weight=call["weight"].T.reshape(rows, columns))


@mistake("linear", "its bias is added twice")
def bias_twice(call: Call) -> Tensor:
    return call() + call["bias"]


@mistake("linear", "its bias is added down the columns, as R's `+` recycles a vector")
def bias_recycled(call: Call) -> Tensor | None:
    plain = call(bias=None)
    return plain + recycled(call["bias"], plain.shape) if plain.numel() else None


@mistake("linear", "its bias is subtracted")
def bias_subtracted(call: Call) -> Tensor:
    return call(bias=-call["bias"])


@mistake("linear", "applied to the last axis but one, not to the last")
def other_axis(call: Call) -> Tensor | None:
    (x,) = call.inputs
    if x.dim() < 3 or x.shape[-1] != x.shape[-2]:
        return None
    y = call(x.transpose(-1, -2)).transpose(-1, -2)
    return y if y.shape == call().shape else None
