"""Masks that a layer draws within itself."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from pyvae.recording.seen.masks_within import DrawnWithin, drops_within, masks_as_one, masks_of_one


def test_which_layers_drop_within():
    assert drops_within("lstm", {"num_layers": 2, "dropout": 0.3}, True) == 0.3
    assert drops_within("gru", {"num_layers": 2, "dropout": 0.3}, False) == 0
    assert drops_within("rnn", {"num_layers": 1, "dropout": 0.3}, True) == 0
    assert drops_within("multihead_attention", {"dropout": 0.1}, True) == 0.1
    assert drops_within("multihead_attention", {"dropout": 0.1}, False) == 0
    assert drops_within("scaled_dot_product_attention", {"dropout_p": 0.2}, False) == 0.2
    assert drops_within("scaled_dot_product_attention", {}, True) == 0
    assert drops_within("lstm", {"num_layers": 2, "dropout": 1.0}, True) == 0  # draws nothing
    assert drops_within("linear", {"dropout": 0.3}, True) == 0


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU, nn.RNN])
@pytest.mark.parametrize("batch_first", [False, True])
def test_the_layers_of_a_recurrent_layer_are_joined_by_its_masks(kind, batch_first):
    """One layer after the other, with the masks between them, is the layer itself."""
    torch.manual_seed(1)
    module, x = kind(3, 4, 3, dropout=0.3, batch_first=batch_first), torch.randn(6, 5, 3)
    state = torch.get_rng_state()
    alone = module(x)[0]
    torch.set_rng_state(state)
    with DrawnWithin(0.3) as within:
        seen = module(x)[0]
    assert torch.equal(alone, seen)
    layer = kind.__name__.lower()
    mask = masks_as_one(layer, {"num_layers": 3}, within.drawn)
    assert mask.shape == (2, *((5, 6) if batch_first else (6, 5)), 4)
    values = x
    for at in range(3):
        single = kind(values.shape[2], 4, batch_first=batch_first)
        for name, one in single.named_parameters():
            one.data = getattr(module, name.replace("_l0", f"_l{at}")).data
        values = single(values)[0]
        if at < 2:
            held = masks_of_one(layer, torch.from_numpy(mask))[at]
            values = values * (held.transpose(0, 1) if batch_first else held) / 0.7
    assert torch.allclose(values, alone, atol=1e-6)


def test_given_masks_replace_the_drawn_ones():
    module, x = nn.MultiheadAttention(4, 2, dropout=0.5), torch.randn(3, 2, 4)
    with DrawnWithin(0.5) as within:
        first, weights = module(x, x, x, average_attn_weights=False)
    mask = masks_as_one("multihead_attention", {"num_heads": 2}, within.drawn)
    assert np.array_equal(mask, weights.detach().numpy() != 0)
    before = torch.get_rng_state()

    def put(drawn: torch.Tensor) -> None:
        drawn.copy_(torch.from_numpy(mask).reshape(drawn.shape))

    with DrawnWithin(0.5, put, drawing=False):
        again = module(x, x, x)[0]
    assert torch.equal(first, again)
    assert torch.equal(torch.get_rng_state(), before)
    with DrawnWithin(0.5, put):
        assert torch.equal(module(x, x, x)[0], first)
    assert not torch.equal(torch.get_rng_state(), before)


def test_what_is_not_the_layers_own_is_not_taken_for_it():
    with DrawnWithin(0.25) as within:
        F.dropout(torch.ones(3), 0.5)
        torch.bernoulli(torch.full((3,), 0.75))
    assert within.drawn == []
    ones = [torch.ones(2, 3, 4)]
    assert masks_as_one("lstm", {"num_layers": 3}, ones) is None
    assert masks_as_one("lstm", {"num_layers": 3}, [*ones, torch.ones(2, 3, 5)]) is None
    assert masks_as_one("multihead_attention", {"num_heads": 3}, ones) is None
    assert masks_as_one("scaled_dot_product_attention", {}, [*ones, *ones]) is None
    assert masks_as_one("scaled_dot_product_attention", {}, []) is None


def test_it_is_closed_once():
    within = DrawnWithin(0.5).open()
    within.close()
    within.close()
    F.dropout(torch.ones(3), 0.5)
    assert within.drawn == []
