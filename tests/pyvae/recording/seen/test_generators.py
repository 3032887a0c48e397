"""Masks that are drawn once more."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from pyvae.recording.seen.generators import draw_mask, generator_state

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("layer", "module", "shape"),
    [
        ("dropout", nn.Dropout(0.3), (40, 5)), ("dropout1d", nn.Dropout1d(0.3), (9, 4, 5)),
        ("dropout2d", nn.Dropout2d(0.3), (9, 4, 5, 3)), ("dropout3d", nn.Dropout3d(0.3),
        (9, 4, 2, 2, 2)),
    ],
)  # fmt: skip
@pytest.mark.parametrize("turned", [False, True])
def test_the_mask_is_the_one_that_was_drawn(layer, module, shape, turned):
    torch.manual_seed(3)
    given = torch.randn(shape)
    if turned and len(shape) == 4:
        given = given.to(memory_format=torch.channels_last)
    given[::3] = 0  # where the mask cannot be seen in what comes out
    before = generator_state(CPU)
    returned = module(given)
    after = generator_state(CPU)
    mask = draw_mask(layer, before, given.numpy(), returned, 0.3)
    assert torch.equal(generator_state(CPU), after)
    assert torch.allclose(given * torch.from_numpy(mask) / 0.7, returned)
    assert 0 < mask.mean() < 1
    unscaled = draw_mask(layer, before, given.numpy(), 0.7 * returned, 0.3)
    assert np.array_equal(unscaled, mask)  # a mistake of the layer's, not of its mask
    other = draw_mask(layer, after, given.numpy(), returned, 0.3)
    assert other is None  # of another state: not what was drawn


def test_nothing_is_made_up():
    state, ones = generator_state(CPU), torch.ones(3)
    assert draw_mask("dropout", state, None, ones, 0.5) is None
    assert draw_mask("dropout", state, np.ones(2, np.float32), ones, 0.5) is None
    assert draw_mask("dropout", state, np.ones(3, np.float32), ones, 1.0) is None
