"""A layer of one program that the other writes out, with a mistake in it."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from recorded.by_hand import Written, batch_norm, conv, of_images, record_steps
from torch import nn

from comparisons.ports import compare_programs
from pyvae.trace.program import ProgramTrace

pytestmark = pytest.mark.slow


class Network(nn.Module):
    """Its norm and its loss are given."""

    def __init__(self, norm) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(5, 6), nn.Linear(6, 4)
        self.norm = norm

    def forward(self, x):
        return self.second(torch.relu(self.norm(self.first(x))))


class Norm(nn.Module):
    """Layer norm, as it is written by hand."""

    def __init__(self, compute) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(6)), nn.Parameter(torch.zeros(6))
        self.compute = compute

    def forward(self, x):
        return self.compute(x, x.mean(-1, keepdim=True)) * self.weight + self.bias


def by_unbiased(x, mean):
    return (x - mean) / torch.sqrt(x.var(-1, keepdim=True) + 1e-5)


def by_deviation(x, mean):
    return (x - mean) / (x.std(-1, keepdim=True) + 1e-5)


def by_eps(x, mean):
    return (x - mean) / torch.sqrt(x.var(-1, keepdim=True, correction=0) + 0.0123)


def rightly(x, mean):
    return (x - mean) / torch.sqrt(((x - mean) ** 2).mean(-1, keepdim=True) + 1e-5)


def summed(x, y):
    return -F.log_softmax(x, 1)[torch.arange(len(y)), y].sum()


def smoothed(x, y):
    log_p = F.log_softmax(x, 1)
    return -(0.9 * log_p[torch.arange(len(y)), y] + 0.1 * log_p.mean(1)).mean()


def of_probabilities(x, y):
    return F.nll_loss(torch.log_softmax(torch.softmax(x, 1), 1), y)


def trained(folder, norm, loss=F.cross_entropy, dtype=torch.float64):
    torch.manual_seed(1)
    network = Network(norm()).to(dtype)
    torch.manual_seed(2)
    batches = [(torch.randn(8, 5).to(dtype), torch.randint(0, 4, (8,))) for _ in range(2)]
    return record_steps(folder, network, batches, loss)


def layer_norm():
    return nn.LayerNorm(6)


WRITTEN_OUT = {
    "the unbiased variance": (
        {"norm": lambda: Norm(by_unbiased)},
        "r: the unbiased variance, divided by n - 1, where it is divided by n "
        "(in what it has for norm, layer_norm)",
    ),
    "the standard deviation": (
        {"norm": lambda: Norm(by_deviation)},
        "r: epsilon added to the unbiased standard deviation, where it is to the variance "
        "(in what it has for norm, layer_norm)",
    ),
    "another epsilon": (
        {"norm": lambda: Norm(by_eps)},
        "r: eps = 0.0123 where it is 1e-05 (in what it has for norm, layer_norm)",
    ),
    "the loss summed": (
        {"norm": layer_norm, "loss": summed},
        "r: reduction = sum where it is mean (in what it has for cross_entropy_loss)",
    ),
    "the loss smoothed": (
        {"norm": layer_norm, "loss": smoothed},
        "r: label_smoothing = 0.1 where it is 0 (in what it has for cross_entropy_loss)",
    ),
}


def normalised(eps_outside=False, correction=1):
    def compute(x, layer):
        mean = x.mean((0, 2, 3), keepdim=True)
        variance = x.var((0, 2, 3), correction=correction, keepdim=True)
        root = variance.sqrt() + 1e-5 if eps_outside else (variance + 1e-5).sqrt()
        y = (x - mean) / root
        return y * layer.weight[:, None, None] + layer.bias[:, None, None]

    return compute


IMAGES = {
    "batch norm's variance": (
        {"norm": lambda: Written(batch_norm(), normalised())},
        "r: the unbiased variance, divided by n - 1, where it is divided by n "
        "(in what it has for norm, batch_norm2d)",
    ),
    "batch norm's epsilon": (
        {"norm": lambda: Written(batch_norm(), normalised(True, 0))},
        "r: epsilon is outside the square root (in what it has for norm, batch_norm2d)",
    ),
    "a kernel that is flipped": (
        {"conv": lambda: Written(conv(), lambda x, own: F.conv2d(
            x, own.weight.flip(2, 3), own.bias, stride=2, padding=1))},
        "r: its kernel is flipped (torch correlates, it does not convolve) "
        "(in what it has for conv, conv2d)",
    ),
    "a bias that is not added": (
        {"conv": lambda: Written(conv(), lambda x, own: F.conv2d(
            x, own.weight, stride=2, padding=1))},
        "r: no bias where there is one",
    ),
    "TensorFlow's padding": (
        {"conv": lambda: Written(conv(), lambda x, own: F.conv2d(
            F.pad(x, (0, 1, 0, 1)), own.weight, own.bias, stride=2))},
        "r: padded by 0 before and 1 after (TensorFlow's 'same') "
        "(in what it has for conv, conv2d)",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", IMAGES)
def test_a_mistake_in_a_layer_of_images_is_named(tmp_path, name):
    other, words = IMAGES[name]
    python = of_images(tmp_path / "python")
    found = compare_programs(python, of_images(tmp_path / "r", **other))
    assert found.first.words[0] == words


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("name", WRITTEN_OUT)
def test_a_mistake_is_named_in_what_is_written_out(tmp_path, name, dtype):
    other, words = WRITTEN_OUT[name]
    python = trained(tmp_path / "python", layer_norm, dtype=dtype)
    found = compare_programs(python, trained(tmp_path / "r", **other, dtype=dtype))
    assert found.first.words[0] == words


PORTS = {  # the paper writes it out, and the port has the layer
    "smoothed": (smoothed, "r: cross_entropy_loss has label_smoothing = 0 where python's own "
                 "stages have 0.1"),
    "summed": (summed, "r: cross_entropy_loss has reduction = mean where python's own stages have "
               "sum"),
    "doubled": (lambda x, y: 2 * F.cross_entropy(x, y), "r: has cross_entropy_loss where python's "
                "own stages compute it with a difference: doubled: a factor 1/2 is missing"),
}  # fmt: skip


@pytest.mark.parametrize("name", PORTS)
def test_the_port_is_what_is_judged(tmp_path, monkeypatch, name):
    loss, words = PORTS[name]
    monkeypatch.chdir(tmp_path)
    trained(tmp_path / "python", layer_norm, loss)
    trained(tmp_path / "r", layer_norm)
    assert compare_programs("python", "r").first.words[0] == words


def test_nothing_is_found_where_it_is_written_out_rightly(tmp_path):
    python = trained(tmp_path / "python", layer_norm)
    assert compare_programs(python, trained(tmp_path / "r", lambda: Norm(rightly))).agrees


class Before(nn.Module):
    """A GRU that resets before its product, with its weights as Keras keeps them."""

    def __init__(self, gru) -> None:
        super().__init__()
        self.kernel = nn.Parameter(_as_keras_has(gru.weight_ih_l0))
        self.recurrent_kernel = nn.Parameter(_as_keras_has(gru.weight_hh_l0))
        self.bias = nn.Parameter(_as_keras_has(gru.bias_ih_l0))

    def forward(self, x):
        h = x.new_zeros(len(x), 4)
        for step in (x @ self.kernel + self.bias).unbind(1):
            z, r, new = step.chunk(3, 1)
            over_z, over_r = (h @ self.recurrent_kernel[:, :8]).chunk(2, 1)
            z, r = torch.sigmoid(z + over_z), torch.sigmoid(r + over_r)
            h = z * h + (1 - z) * torch.tanh(new + (r * h) @ self.recurrent_kernel[:, 8:])
        return h


def _as_keras_has(weight):
    r, z, n = weight.detach().chunk(3)
    return torch.cat([z, r, n]).T.contiguous() if weight.dim() > 1 else torch.cat([z, r, n])


class Last(nn.Module):
    def __init__(self, gru) -> None:
        super().__init__()
        self.gru = gru

    def forward(self, x):
        return self.gru(x)[1].squeeze(0)


def test_a_gru_of_keras_that_pytorch_has_not(tmp_path):
    """Its gates are in another order: no weight of one is a weight of the other."""
    torch.manual_seed(3)
    gru = nn.GRU(3, 4, batch_first=True).double()
    nn.init.zeros_(gru.bias_hh_l0)
    weights = nn.Linear(4, 4).double().state_dict()
    batches = [(torch.randn(5, 6, 3).double(), torch.randint(0, 4, (5,))) for _ in range(2)]
    for name, net in (("keras", Before(gru)), ("port", Last(gru))):
        head = nn.Linear(4, 4).double()
        head.load_state_dict(weights)
        record_steps(tmp_path / name, nn.Sequential(net, head), batches, F.cross_entropy)
    trace = ProgramTrace.load(tmp_path / "keras")
    trace.environment["keras"] = "3"
    trace.save(tmp_path / "keras")
    words = compare_programs(tmp_path / "keras", tmp_path / "port").first.words[0]
    assert "its reset gate before the product with the hidden state" in words
