"""Linear layers, convolutions and transposed convolutions."""

from __future__ import annotations

from functools import partial

from torch import nn

from examples.example import Example, positive

IMAGES = partial(positive, 3, 4, 7, 7)

EXAMPLES = [
    Example(lambda: nn.Linear(4, 4), (partial(positive, 5, 4),)),
    Example(lambda: nn.Linear(3, 4), (partial(positive, 5, 3),)),
    Example(lambda: nn.Linear(3, 3), (partial(positive, 5, 3, 3),)),
    Example(lambda: nn.Conv1d(2, 3, 3, padding=1), (partial(positive, 3, 2, 7),)),
    Example(lambda: nn.Conv2d(4, 4, 3, padding=1), (IMAGES,)),
    Example(
        lambda: nn.Conv2d(4, 6, 3, stride=2, padding=1, groups=2), (partial(positive, 3, 4, 8, 8),)
    ),
    Example(lambda: nn.Conv2d(4, 6, 2, padding="same"), (IMAGES,)),
    Example(lambda: nn.Conv3d(2, 3, 3, padding=1), (partial(positive, 2, 2, 5, 5, 5),)),
    Example(lambda: nn.ConvTranspose1d(2, 3, 3, padding=1), (partial(positive, 3, 2, 7),)),
    Example(lambda: nn.ConvTranspose2d(4, 4, 3, stride=2, padding=1), (IMAGES,)),
    Example(lambda: nn.ConvTranspose3d(2, 3, 3), (partial(positive, 2, 2, 4, 4, 4),)),
]
