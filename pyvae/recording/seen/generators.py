"""The state of PyTorch's generator, and the masks that dropout draws from it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from pyvae.recording.seen.values import unseen

__all__ = ["DROPOUT", "draw_mask", "generator_state", "state_checksum"]

DROPOUT: dict[
    str, Callable[[Tensor, float, bool], Tensor]
] = {  # layers whose mask is recorded, and who draws it
    "dropout": F.dropout,
    "dropout1d": F.dropout1d,
    "dropout2d": F.dropout2d,
    "dropout3d": F.dropout3d,
    "feature_dropout": torch.feature_dropout,
}


def _generator_of(device: torch.device) -> torch.Generator:
    if device.type == "cuda":
        return torch.cuda.default_generators[device.index or 0]
    return torch.default_generator


def generator_state(device: torch.device) -> Tensor:
    return _generator_of(device).get_state()


def state_checksum() -> str:
    """SHA-256 of the state of the CPU's generator, the same in R's torch."""
    return hashlib.sha256(torch.get_rng_state().numpy().tobytes()).hexdigest()


@contextmanager
def _in_state(device: torch.device, state: Tensor) -> Iterator[None]:
    generator = _generator_of(device)
    now = generator.get_state()
    generator.set_state(state)
    try:
        yield
    finally:
        generator.set_state(now)


def draw_mask(
    layer: str, state: Tensor, given: NDArray | None, returned: Tensor, p: float
) -> NDArray | None:
    """Draws the mask of a dropout layer once more.

    Arguments:
        layer: One of `DROPOUT`.
        state: The generator's when the layer was called; it is left as it is now.
        given: What went in.
        returned: What came out.
        p: The probability to drop.

    Returns:
        1 to keep and 0 to drop; None if other numbers were dropped than the layer would have. How
        it scales those that are kept is its own affair.
    """
    if given is None or given.shape != tuple(returned.shape) or not 0 <= p < 1:
        return None
    with unseen(), _in_state(returned.device, state):
        noise = DROPOUT[layer](torch.ones_like(returned), p, True)
        expected = torch.from_numpy(given).to(returned) * noise
        if not torch.equal(expected != 0, returned.detach() != 0):
            return None
        return (noise != 0).to(torch.uint8).cpu().numpy().astype(np.uint8)
