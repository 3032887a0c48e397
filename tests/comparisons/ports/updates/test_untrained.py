"""Parameters that one side alone trains, or shares."""

from __future__ import annotations

import pytest
import torch
from recorded.trained import Net, Training
from torch import nn

from comparisons.ports import compare_programs
from pyvae.recording.record import record

pytestmark = pytest.mark.slow


def of(choose):
    return lambda network: torch.optim.Adam(choose(network), 1e-3)


def weights(network):
    return [one for name, one in network.named_parameters() if "bias" not in name]


def frozen(network, optimiser, step):
    network.encoder.requires_grad_(False)


def one_bias(network, optimiser, step):
    network.decoder[0].bias.requires_grad_(False)


def new_head(network, optimiser, step):
    """A layer that is exchanged after the optimiser was made."""
    layer = nn.Linear(6, 9)
    layer.load_state_dict(network.decoder[2].state_dict())
    network.decoder[2] = layer


CASES = {
    "the encoder": (
        Training(optimiser=of(lambda n: n.encoder.parameters())),
        "r: norm.*, decoder.* are not in the optimiser",
    ),
    "no biases": (
        Training(optimiser=of(weights)),
        "r: the biases are not in the optimiser",
    ),
    "frozen": (Training(start=frozen), "r: encoder.* are frozen"),
    "one": (Training(start=one_bias), "r: decoder.0.bias is frozen"),
    "replaced": (
        Training(start=new_head),
        "r: decoder.2.* are not in the optimiser; it has 2 others that the network does not use "
        "(of shape 9x6, 9): were they replaced after the optimiser was made?",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_parameters_that_are_not_trained(pair, name):
    wrong, words = CASES[name]
    found = compare_programs(*pair(Training(), wrong))
    assert found.first.words[0] == words
    (said,) = [one for one in compare_programs("r", "python").first.words if one.startswith("r: ")]
    assert said == words


class Tied(Net):
    """Two layers with one weight."""

    def __init__(self) -> None:
        super().__init__()
        self.decoder[0].weight = self.encoder[2].weight


class Copied(Net):
    def __init__(self) -> None:
        super().__init__()
        self.decoder[0].weight = nn.Parameter(self.encoder[2].weight.detach().clone())


@pytest.mark.parametrize(
    ("networks", "words"),
    [
        ((Copied, Tied), "r shares one parameter as decoder.0.weight and encoder.2.weight; in "
         "python they are 2: decoder.0.weight, encoder.2.weight"),
        ((Tied, Copied), "python shares one parameter as decoder.0.weight and encoder.2.weight; in "
         "r they are 2: decoder.0.weight, encoder.2.weight"),
        ((Net, Tied), "r shares one parameter as decoder.0.weight and encoder.2.weight"),
    ],
)  # fmt: skip
def test_parameters_that_are_shared_on_one_side(pair, networks, words):
    found = compare_programs(*pair(*(Training(network=one) for one in networks)))
    assert found.first.words[0].startswith(words)


def test_two_that_share_the_same_agree(pair):
    found = compare_programs(*pair(Training(network=Tied), Training(network=Tied)))
    assert found.agrees


class ByHand(nn.Module):
    """A layer norm that is written out, on one side without its weight."""

    def __init__(self, weight: bool):
        super().__init__()
        self.weighted = weight
        self.inner = nn.Linear(4, 6)
        self.norm = nn.LayerNorm(6)
        self.outer = nn.Linear(6, 2)

    def forward(self, x):
        x = self.inner(x)
        x = (x - x.mean(1, keepdim=True)) / (x.var(1, keepdim=True, unbiased=False) + 1e-5).sqrt()
        return self.outer(x * self.norm.weight + self.norm.bias if self.weighted else x)


def test_a_parameter_that_no_stage_takes_is_said_to_get_no_gradient(tmp_path, monkeypatch):
    """The optimiser has it all the same."""
    monkeypatch.chdir(tmp_path)
    for name in ("original", "port"):
        torch.manual_seed(1)
        model = ByHand(name == "original")
        optimizer = torch.optim.Adam(model.parameters(), 1e-2)
        with record(model, optimizer, name, steps=2):
            for _ in range(2):
                optimizer.zero_grad()
                model(torch.randn(5, 4)).square().mean().backward()
                optimizer.step()
    found = compare_programs("original", "port")
    assert found.first.words == ("port: norm.* get no gradient",)
