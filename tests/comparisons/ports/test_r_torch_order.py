"""Last bits that R torch's order of operations makes, and others."""

from __future__ import annotations

import json

import pytest
import torch
from torch import nn

from comparisons.ports.compare import compare_programs
from pyvae.recording.record import record


class AdamW(torch.optim.Optimizer):
    """As R torch's optim_adamw writes it: bias corrections of type float32."""

    def __init__(self, params, lr=1e-2, factor=1.0):
        self.factor = factor  # of every update: a mistake, unless it is 1
        settings = {"lr": lr, "betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": 0.01}
        super().__init__(params, settings)

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            for p in group["params"]:
                state = self.state[p]
                if not state:
                    state["step"] = torch.tensor(0.0)
                    state["exp_avg"] = torch.zeros_like(p)
                    state["exp_avg_sq"] = torch.zeros_like(p)
                one, (beta1, beta2) = torch.tensor(1.0), group["betas"]
                state["step"] += 1
                p.mul_(1 - group["lr"] * group["weight_decay"])
                state["exp_avg"].mul_(beta1).add_(p.grad, alpha=1 - beta1)
                state["exp_avg_sq"].mul_(beta2).addcmul_(p.grad, p.grad, value=1 - beta2)
                first = one - torch.pow(torch.tensor(beta1), state["step"])
                second = one - torch.pow(torch.tensor(beta2), state["step"])
                denom = (state["exp_avg_sq"].sqrt() / second.sqrt()).add_(group["eps"])
                size = torch.tensor(group["lr"]) / first
                p.addcdiv_(state["exp_avg"], denom, value=-size.item() * self.factor)


class Nested(nn.Module):
    """Its own parameter comes first in PyTorch, and last in R."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.rand(6) + 0.5)
        self.fc = nn.Linear(9, 6)
        self.out = nn.Linear(6, 4)

    def forward(self, x):
        return self.out(torch.tanh(self.fc(x)) * self.scale)


def trained(folder, make, clip=None, steps=4, changed=0.0):
    torch.manual_seed(1)
    torch.set_num_threads(1)
    model = Nested()
    parameters = list(model.parameters())
    if clip == "r":
        parameters = [*parameters[1:], parameters[0]]
    optimiser = make(parameters)
    with record(model, optimiser, folder, steps=steps):
        for _ in range(steps):
            x = torch.randn(8, 9)
            optimiser.zero_grad()
            model(x).square().mean().backward()
            if clip:
                nn.utils.clip_grad_norm_(parameters, 0.05)
            if changed:
                model.fc.weight.grad.mul_(1 + changed)
            optimiser.step()
    return folder


def as_r_torch(folder):
    """The same trace, as if R torch had written it."""
    about = json.loads((folder / "trace.json").read_text())
    about["engine"] = "r-torch"
    (folder / "trace.json").write_text(json.dumps(about))
    return folder


def found(a, b):
    first = compare_programs(a, b, exact=True).first
    assert first is not None
    return first


def test_the_bits_of_r_torchs_adamw_are_said_to_be_its_own(tmp_path):
    python = trained(tmp_path / "python", lambda p: torch.optim.AdamW(p, 1e-2, weight_decay=0.01))
    other = trained(tmp_path / "r", AdamW)
    assert found(python, other).words[0].startswith("rounding")
    first = found(python, as_r_torch(other))
    assert "update of" in first.place
    assert (
        "r: R torch's own order of operations: the bias corrections of optim_adamw are computed in "
        "float32"
    ) in first.words[0]
    assert first.words[1].startswith("rounding")


def test_where_its_order_does_not_give_the_bits_nothing_is_said_of_it(tmp_path):
    python = trained(tmp_path / "python", AdamW)
    other = trained(tmp_path / "r", lambda p: torch.optim.AdamW(p, 1e-2, weight_decay=0.01))
    for words in found(python, as_r_torch(other)).words:
        assert words.startswith("rounding")


def test_its_order_is_not_said_to_be_what_a_mistake_of_the_other_side_is(tmp_path):
    python = trained(tmp_path / "python", lambda p: AdamW(p, factor=1.01))
    other = trained(tmp_path / "r", AdamW)
    first = found(python, as_r_torch(other))
    assert "update of" in first.place
    assert not any("own order" in words for words in first.words)


@pytest.fixture
def clipping(tmp_path):
    """Two programs whose norms are summed in another order, until a factor differs."""

    def sgd(parameters):
        return torch.optim.SGD(parameters, 0.1)

    python = trained(tmp_path / "python", sgd, "python", steps=20)
    return python, as_r_torch(trained(tmp_path / "r", sgd, "r", steps=20))


def test_a_norm_summed_in_rs_order_of_parameters_is_said_to_be(clipping):
    first = found(*clipping)
    assert "gradient that the optimiser gets" in first.place
    assert "r: R torch's own order of parameters: the norm by which" in first.words[0]
    assert first.words[0].endswith("Clip PyTorch's parameters in that order for the same ones")


def test_a_gradient_changed_otherwise_is_not(clipping, tmp_path):
    python, _ = clipping
    other = trained(
        tmp_path / "other", lambda p: torch.optim.SGD(p, 0.1), "r", steps=3, changed=1e-6
    )
    first = found(python, as_r_torch(other))
    assert "gradient that the optimiser gets" in first.place
    assert not any("order of parameters" in words for words in first.words)
