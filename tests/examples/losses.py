"""Losses of numbers, of classes, of probabilities and of densities."""

from __future__ import annotations

from collections.abc import Callable
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


def extreme(*shape: int) -> Tensor:
    """Probabilities, some of them near 0."""
    return 0.6 * torch.sigmoid(12 * torch.randn(*shape, dtype=torch.float64))


def zeros_and_ones(*shape: int) -> Tensor:
    return (torch.rand(shape) < 0.4).to(torch.float64)


def one_hot() -> Tensor:
    return torch.nn.functional.one_hot(torch.randint(0, 3, (5,)), 3).to(torch.float64)


def weights() -> Tensor:
    return torch.tensor([0.5, 1.0, 1.7, 2.0], dtype=torch.float64)


def several_classes() -> Tensor:
    """Some of which are to be ignored."""
    return torch.tensor([0, 3, 1, 2, 1, 0])[torch.randperm(6)]


COUNTS = partial(torch.randint, 0, 5, (5, 3))
TRUTH = partial(zeros_and_ones, 5, 3)
TARGETS = partial(between, 6, 4)


def of(make: Callable[[], nn.Module], *inputs: Callable[[], Tensor], **fitted: float) -> Example:
    """A loss, and what goes into it; the last is the target.

    Arguments:
        make: Makes the loss.
        *inputs: As of an example.
        **fitted: The constant that is planted, by its option; of labels' smoothing and Huber's.
    """
    planted = {
        "other_smoothing" if name == "label_smoothing" else "other_delta": partial(
            lambda name, value, call: call(**{name: value}), name, value
        )
        for name, value in fitted.items()
    }
    return Example(make, inputs, planted, targets=1)


EXAMPLES = [
    of(nn.MSELoss, NUMBERS, far),
    of(partial(nn.MSELoss, reduction="sum"), NUMBERS, far),
    of(nn.MSELoss, partial(positive, 6, 1), partial(signed, 6, 1)),
    of(nn.L1Loss, NUMBERS, far),
    of(partial(nn.HuberLoss, delta=0.3), NUMBERS, NUMBERS, delta=0.2),
    of(partial(nn.SmoothL1Loss, beta=0.3), NUMBERS, NUMBERS, beta=0.2),
    of(nn.CrossEntropyLoss, LOGITS, CLASSES, label_smoothing=0.25),
    of(partial(nn.CrossEntropyLoss, label_smoothing=0.1), LOGITS, CLASSES),
    of(partial(nn.CrossEntropyLoss, ignore_index=1), LOGITS, several_classes),
    of(lambda: nn.CrossEntropyLoss(weight=weights()), LOGITS, several_classes),
    of(nn.NLLLoss, log_probabilities, CLASSES),
    of(nn.NLLLoss, partial(signed, 6, 4), CLASSES),
    of(nn.NLLLoss, TARGETS, CLASSES),
    of(lambda: nn.NLLLoss(weights(), ignore_index=1), log_probabilities, several_classes),
    of(nn.BCELoss, partial(between, 5, 3), partial(between, 5, 3)),
    of(nn.BCELoss, partial(extreme, 5, 3), TRUTH),
    of(nn.BCEWithLogitsLoss, partial(signed, 5, 3), TRUTH),
    of(nn.BCEWithLogitsLoss, partial(between, 5, 3), one_hot),
    of(lambda: nn.BCEWithLogitsLoss(pos_weight=weights()[:3]), partial(signed, 5, 3), TRUTH),
    of(nn.KLDivLoss, log_probabilities, TARGETS),
    of(partial(nn.KLDivLoss, reduction="batchmean"), log_probabilities, TARGETS),
    of(partial(nn.KLDivLoss, log_target=True), log_probabilities, log_probabilities),
    of(nn.PoissonNLLLoss, NUMBERS, COUNTS),
    of(partial(nn.PoissonNLLLoss, log_input=False), partial(between, 5, 3), COUNTS),
    *(
        Example(partial(nn.GaussianNLLLoss, full=full), (NUMBERS, far, partial(between, 5, 3)))
        for full in (False, True)
    ),
]
