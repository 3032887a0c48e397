"""Activations, softmax, dropout, calculations with a number."""

from __future__ import annotations

from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from examples.example import Example
from examples.function import Function


def mixed(*shape: int) -> Tensor:
    """Numbers of both signs, some large."""
    return 4 * torch.randn(*shape, dtype=torch.float64)


def kinked(*shape: int) -> Tensor:
    """Some are 0."""
    x = mixed(*shape)
    return torch.where(torch.rand(shape) < 0.2, 0.0, x)


def narrow(*shape: int) -> Tensor:
    """Between 0.5 and 2: no activation of them is a number that is not finite."""
    return 0.5 + 1.5 * torch.rand(*shape, dtype=torch.float64)


def layers(*makes, fitted=None):
    return [Example(make, (partial(mixed, 6, 4, 3),), fitted or {}) for make in makes]


SLOPE = {
    "leaky": lambda call: F.leaky_relu(call.inputs[0], 0.17),
    "other_slope": lambda call: F.leaky_relu(call.inputs[0], 0.17),
    "other_prelu_slope": lambda call: F.leaky_relu(call.inputs[0], 0.17),
    "other_alpha": lambda call: F.elu(call.inputs[0], 0.6),
    "other_bounds": lambda call: call.inputs[0].clamp(-0.5, 3),
}
ACTIVATIONS = [
    Example(nn.ReLU, (partial(kinked, 6, 4, 3),), SLOPE),
    Example(lambda: nn.LeakyReLU(0.05), (partial(kinked, 6, 4, 3),), SLOPE),
    Example(lambda: nn.PReLU(4), (partial(mixed, 6, 4, 4),), SLOPE),
    *layers(
        nn.PReLU, nn.ELU, lambda: nn.ELU(0.5), lambda: nn.CELU(0.5), nn.Hardtanh,
        lambda: nn.Hardtanh(-2, 4), nn.ReLU6, fitted=SLOPE,
    ),
    *layers(
        nn.SELU, nn.GELU, lambda: nn.GELU("tanh"), nn.SiLU, nn.Mish, nn.Tanh, nn.Sigmoid,
        nn.Softplus, lambda: nn.Softplus(3.0), nn.Softsign, nn.Hardswish, nn.Hardsigmoid,
        nn.LogSigmoid, nn.Hardshrink, nn.Softshrink, nn.Tanhshrink, lambda: nn.Threshold(0.2, 0.1),
    ),
    Example(nn.GLU, (partial(mixed, 6, 3, 8),)),
]  # fmt: skip
SOFT = {
    "temperature": lambda call: call(call.inputs[0] / 1.7),
    "added_in_logarithm": lambda call: torch.log(call().exp() + 1e-4),
}
SOFTMAX = [
    Example(lambda: nn.Softmax(1), (partial(mixed, 6, 4),), SOFT),
    Example(lambda: nn.Softmax(1), (partial(mixed, 3, 4, 2, 5),), SOFT),
    Example(lambda: nn.Softmin(1), (partial(mixed, 6, 4),), SOFT),
    Example(nn.Softmax2d, (partial(mixed, 3, 4, 2, 5),), SOFT),
    Example(lambda: nn.LogSoftmax(1), (partial(mixed, 6, 4),), SOFT),
    Example(
        lambda: nn.LogSoftmax(1),
        (partial(mixed, 6, 4),),
        {"added_in_logarithm": lambda call: call().clamp(min=-3.0)},
    ),
]


def scaled_with(p):
    return lambda call: call.inputs[0] * call.draw / (1 - p)


def whole(first):
    """What is dropped as a whole: the axes from `first` on."""

    def dropped(call):
        keep = call.draw[(slice(None),) * first + (slice(0, 1),) * (call.draw.dim() - first)]
        return call.inputs[0] * keep / (1 - call.options["p"])

    return dropped


def for_all_rows(call):
    return call.inputs[0] * call.draw[:1] / (1 - call.options["p"])


def single(call):
    keep = call.inputs[0] > -0.3
    return call.inputs[0] * keep / (1 - call.options["p"])


def dropout(make, shape, **fitted):
    return Example(make, (partial(mixed, *shape),), fitted)


SHAPES = {nn.Dropout: (6, 8), nn.Dropout1d: (6, 8, 3), nn.Dropout2d: (6, 8, 3, 3)}
DROPOUT = [
    *(
        dropout(partial(kind, 0.2), shape, other_probability=scaled_with(0.35))
        for kind, shape in SHAPES.items()
    ),
    dropout(partial(nn.Dropout3d, 0.2), (6, 8, 2, 2, 2)),
    dropout(partial(nn.Dropout, 0.2), (6, 8, 3, 3), other_mask=whole(2)),
    dropout(partial(nn.Dropout, 0.2), (9, 8), other_mask=whole(1)),
    dropout(partial(nn.Dropout, 0.2), (6, 8), other_mask=for_all_rows),
    dropout(partial(nn.Dropout2d, 0.2), (6, 8, 3, 3), other_mask=for_all_rows),
    dropout(partial(nn.Dropout2d, 0.2), (6, 8, 3, 3), other_mask=single),
    dropout(lambda: nn.Dropout(0.2).eval(), (6, 8), in_evaluation=lambda call: single(call)),
]
NUMBERS = [
    Example(lambda function=function: Function(function, 0.3), (partial(mixed, 6, 4),))
    for function in (torch.add, torch.sub, torch.rsub, torch.mul, torch.div)
]
EXAMPLES = [*ACTIVATIONS, *SOFTMAX, *DROPOUT, *NUMBERS]
