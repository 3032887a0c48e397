"""Losses of numbers, of classes, of probabilities and of densities."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn

from examples.example import Example, positive

NUMBERS = partial(positive, 5, 3)
CLASSES = partial(torch.randint, 0, 4, (6,))
LOGITS = partial(positive, 6, 4)


def far() -> Tensor:
    return 3 * positive(5, 3)


def signed(*shape: int) -> Tensor:
    return 2 * torch.randn(*shape, dtype=torch.float64)


def log_probabilities() -> Tensor:
    return torch.log_softmax(3 * positive(6, 4), 1)


def between(*shape: int) -> Tensor:
    """Numbers between 0 and 1."""
    return 0.1 + 0.8 * torch.rand(*shape, dtype=torch.float64)


def zeros_and_ones(*shape: int) -> Tensor:
    return (torch.rand(shape) < 0.4).to(torch.int64)


def one_hot() -> Tensor:
    return torch.nn.functional.one_hot(torch.randint(0, 3, (5,)), 3)


def weights() -> Tensor:
    return torch.tensor([0.5, 1.0, 1.7, 2.0], dtype=torch.float64)


def several_classes() -> Tensor:
    """Some of which are to be ignored."""
    return torch.tensor([0, 3, 1, 2, 1, 0])[torch.randperm(6)]


SMOOTHED = {"other_smoothing": lambda call: call(label_smoothing=0.25)}
EXAMPLES = [
    Example(nn.MSELoss, (NUMBERS, far)),
    Example(partial(nn.MSELoss, reduction="sum"), (NUMBERS, far)),
    Example(nn.MSELoss, (partial(positive, 6, 1), partial(signed, 6, 1))),
    Example(nn.L1Loss, (NUMBERS, far)),
    Example(
        partial(nn.HuberLoss, delta=0.3),
        (NUMBERS, NUMBERS),
        {"other_delta": lambda call: call(delta=0.2)},
    ),
    Example(
        partial(nn.SmoothL1Loss, beta=0.3),
        (NUMBERS, NUMBERS),
        {"other_delta": lambda call: call(beta=0.2)},
    ),
    Example(nn.CrossEntropyLoss, (LOGITS, CLASSES), SMOOTHED),
    Example(partial(nn.CrossEntropyLoss, label_smoothing=0.1), (LOGITS, CLASSES)),
    Example(partial(nn.CrossEntropyLoss, ignore_index=1), (LOGITS, several_classes)),
    Example(lambda: nn.CrossEntropyLoss(weight=weights()), (LOGITS, several_classes)),
    Example(nn.NLLLoss, (log_probabilities, CLASSES)),
    Example(nn.NLLLoss, (partial(signed, 6, 4), CLASSES)),
    Example(
        lambda: nn.NLLLoss(weight=weights(), ignore_index=1), (log_probabilities, several_classes)
    ),
    Example(nn.BCELoss, (partial(between, 5, 3), partial(between, 5, 3))),
    Example(nn.BCEWithLogitsLoss, (partial(signed, 5, 3), partial(zeros_and_ones, 5, 3))),
    Example(nn.BCEWithLogitsLoss, (partial(between, 5, 3), one_hot)),
    Example(
        lambda: nn.BCEWithLogitsLoss(pos_weight=weights()[:3]),
        (partial(signed, 5, 3), partial(zeros_and_ones, 5, 3)),
    ),
    Example(nn.KLDivLoss, (log_probabilities, partial(between, 6, 4))),
    Example(
        partial(nn.KLDivLoss, reduction="batchmean"), (log_probabilities, partial(between, 6, 4))
    ),
    Example(partial(nn.KLDivLoss, log_target=True), (log_probabilities, log_probabilities)),
    Example(nn.GaussianNLLLoss, (NUMBERS, NUMBERS, partial(between, 5, 3))),
    Example(partial(nn.GaussianNLLLoss, full=True), (NUMBERS, NUMBERS, partial(between, 5, 3))),
    Example(nn.PoissonNLLLoss, (NUMBERS, partial(torch.randint, 0, 5, (5, 3)))),
    Example(
        partial(nn.PoissonNLLLoss, log_input=False),
        (partial(between, 5, 3), partial(torch.randint, 0, 5, (5, 3))),
    ),
]
