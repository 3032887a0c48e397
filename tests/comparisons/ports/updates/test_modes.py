"""Layers in another mode, and running statistics that are not updated."""

from __future__ import annotations

import pytest
from recorded.trained import Net, Training
from torch import nn

from comparisons.ports import compare_programs

pytestmark = pytest.mark.slow


class Dropping(Net):
    def __init__(self) -> None:
        super().__init__()
        self.decoder = nn.Sequential(nn.Dropout(0.1), nn.Linear(6, 9))


def evaluated(network, optimiser, step):
    network.eval()


def norm_alone(network, optimiser, step):
    network.norm.eval()


def frozen(network, optimiser, step):
    """The statistics are put back, as a layer does that does not track them."""
    for name, buffer in network.named_buffers():
        if step == 0:
            kept[name] = buffer.clone()
        else:
            buffer.copy_(kept[name])


kept = {}


def test_the_whole_network_or_one_layer(pair):
    right = Training(network=Dropping)
    (said,) = compare_programs(
        *pair(right, Training(network=Dropping, start=evaluated))
    ).first.words
    assert said == "r: the whole network is in evaluation mode where it is in training mode"
    (said,) = compare_programs(
        *pair(right, Training(network=Dropping, start=norm_alone))
    ).first.words
    assert said == "r: in evaluation mode where it is in training mode"


def test_statistics_that_are_frozen(pair):
    """Put back in the step itself, where the recorder sees it."""
    wrong = Training(start=frozen, between=frozen)
    found = compare_programs(*pair(Training(), wrong))
    assert found.first.place.startswith("step 1, norm (batch_norm1d), buffer (norm.")
    (said,) = found.first.words
    assert said == "r: its running statistics are not updated"
