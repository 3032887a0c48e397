"""The backward pass of linear layers and convolutions, where it is written by hand."""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor

from comparisons.ports.mistakes.mistake import Call, mistake

CONVOLUTIONS = ("conv1d", "conv2d", "conv3d")
TRANSPOSED = ("conv_transpose1d", "conv_transpose2d", "conv_transpose3d")
WEIGHTED = ("linear", *CONVOLUTIONS, *TRANSPOSED)


def slower(x: Tensor, factor: float) -> Tensor:
    """The same numbers; their gradient is a multiple of what it was."""
    return x.detach() + factor * (x - x.detach())


def backwards(call: Call, weight: Tensor) -> Tensor:
    """What the layer returns; the gradient of its input is that with another weight."""
    x = call.inputs[0]
    other = call(x, weight=weight.detach(), bias=None)
    return call(x.detach()) + other - other.detach()


@mistake(WEIGHTED, "its bias's gradient is averaged over the batch, not summed", backward=True)
def averaged_bias(call: Call) -> Tensor:
    return call(bias=slower(call["bias"], 1 / len(call.inputs[0])))


@mistake(WEIGHTED, "its weight's gradient is averaged over the batch, not summed", backward=True)
def averaged_weight(call: Call) -> Tensor:
    return call(weight=slower(call["weight"], 1 / len(call.inputs[0])))


@mistake("linear", "its weight is transposed once too often in the backward pass", backward=True)
def not_transposed(call: Call) -> Tensor | None:
    weight = call["weight"]
    return backwards(call, weight.T) if weight.shape[0] == weight.shape[1] else None


@mistake("linear", backward=True)
def turned_gradient(call: Call) -> Iterator[tuple[str, Tensor]]:
    """Where a matrix of the other shape is filled with it, as R does with `matrix(x, rows)`."""
    weight = call["weight"]
    rows, columns = weight.shape
    change = weight - weight.detach()
    if rows == columns:
        yield "its weight's gradient is transposed", call(weight=weight.detach() + change.T)
    else:
        filled, read = change.T.reshape(rows, columns), change.reshape(columns, rows).T
        words = "its weight's gradient is filled column by column"
        yield words, call(weight=weight.detach() + filled)
        words = "its weight's gradient is read column by column"
        yield words, call(weight=weight.detach() + read)


@mistake(
    "conv2d", "its kernel's rows and columns are exchanged in the backward pass", backward=True
)
def transposed_kernel(call: Call) -> Tensor | None:
    weight = call["weight"]
    square = weight.shape[2] == weight.shape[3]
    return backwards(call, weight.transpose(2, 3)) if square else None


@mistake(CONVOLUTIONS, "its kernel is not flipped in the backward pass", backward=True)
def not_flipped(call: Call) -> Tensor:
    weight = call["weight"]
    return backwards(call, weight.flip(tuple(range(2, weight.dim()))))


@mistake(TRANSPOSED, "its kernel is flipped in the backward pass", backward=True)
def flipped(call: Call) -> Tensor:
    weight = call["weight"]
    return backwards(call, weight.flip(tuple(range(2, weight.dim()))))


@mistake(
    CONVOLUTIONS, "its bias's gradient is averaged over the positions, not summed", backward=True
)
def averaged_over_positions(call: Call) -> Tensor:
    y = call()
    return call(bias=slower(call["bias"], y.shape[1] / y[0].numel()))
