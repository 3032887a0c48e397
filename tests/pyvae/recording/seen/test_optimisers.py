"""Optimisers: kind, settings, groups and state."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn, optim

from pyvae.recording.parameters import Parameters
from pyvae.recording.record import record
from pyvae.recording.seen.optimisers import describe_optimiser, state_arrays
from pyvae.trace.program import ProgramTrace

KINDS = {
    "sgd": (optim.SGD, {"momentum": 0.9, "nesterov": True}, {"momentum_buffer"}),
    "adam": (optim.Adam, {"amsgrad": True}, {"step", "exp_avg", "exp_avg_sq", "max_exp_avg_sq"}),
    "adamw": (optim.AdamW, {"betas": (0.8, 0.9)}, {"step", "exp_avg", "exp_avg_sq"}),
    "nadam": (optim.NAdam, {}, {"step", "exp_avg", "exp_avg_sq", "mu_product"}),
    "rmsprop": (optim.RMSprop, {"centered": True}, {"step", "square_avg", "grad_avg"}),
    "adagrad": (optim.Adagrad, {"lr_decay": 0.1}, {"step", "sum"}),
    "adadelta": (optim.Adadelta, {"rho": 0.8}, {"step", "square_avg", "acc_delta"}),
}


@pytest.mark.parametrize("kind", KINDS)
def test_an_optimizer_can_be_made_again_from_its_settings(kind):
    made, settings, keys = KINDS[kind]
    model = nn.Linear(2, 1)
    optimizer = made(model.parameters(), lr=0.1, weight_decay=0.01, **settings)
    parameters = Parameters(model, [optimizer])
    begun = {f"before/{n}.{key}" for n in ("weight", "bias") for key in ("step", "sum")}
    before = state_arrays(optimizer, parameters, "before")
    assert before.keys() == (begun if kind == "adagrad" else set())
    model(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    about = describe_optimiser(optimizer, "optimizer", parameters)
    assert (about.name, about.kind) == ("optimizer", kind)
    (group,) = about.groups
    assert group.parameters == ("weight", "bias")
    own = {key: value for key, value in group.settings.items() if key != "decoupled_weight_decay"}
    again = made(nn.Linear(2, 1).parameters(), **own)
    for key, value in again.param_groups[0].items():
        if key != "params":
            assert value == optimizer.param_groups[0][key] or list(value) == list(
                optimizer.param_groups[0][key]
            )
    state = state_arrays(optimizer, parameters, "state")
    assert state.keys() == {f"state/{name}.{key}" for name in group.parameters for key in keys}
    for name, parameter in model.named_parameters():
        for key in keys:
            theirs = torch.as_tensor(optimizer.state[parameter][key]).numpy()
            assert np.array_equal(state[f"state/{name}.{key}"], theirs)


def test_groups_have_settings_of_their_own_and_rates_may_be_tensors():
    model = nn.Linear(2, 1)
    groups = [{"params": [model.weight], "lr": torch.tensor(0.5)}, {"params": [model.bias]}]
    optimizer = optim.SGD(groups, lr=0.25)
    optim.lr_scheduler.ExponentialLR(optimizer, 0.5)
    about = describe_optimiser(optimizer, "optimizer.1", Parameters(model, [optimizer]))
    assert [one.settings["lr"] for one in about.groups] == [0.5, 0.25]
    assert [one.parameters for one in about.groups] == [("weight",), ("bias",)]
    assert not any("initial_lr" in one.settings or "foreach" in one.settings
                   for one in about.groups)  # fmt: skip


def test_state_that_is_a_list_or_a_number():
    model = nn.Linear(2, 1)
    optimizer = optim.LBFGS(model.parameters(), max_iter=4)

    def closure():
        optimizer.zero_grad()
        loss = model(torch.ones(3, 2)).pow(2).sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    state = state_arrays(optimizer, Parameters(model, [optimizer]), "state")
    assert state["state/weight.func_evals"].dtype == np.float64
    assert state["state/weight.old_dirs.0"].shape == (3,)


class Counting(optim.Optimizer):
    """Keeps what all parameters share in its state, beside what each has."""

    def __init__(self, parameters):
        super().__init__(parameters, {"lr": 0.1})

    def step(self, closure=None):
        self.state["count"] = self.state.get("count", torch.zeros(())) + 1
        for parameter in self.param_groups[0]["params"]:
            self.state[parameter]["rate"] = 0.1 / self.state["count"]
            parameter.data.sub_(self.state[parameter]["rate"] * parameter.grad)


def test_a_state_that_all_parameters_share(tmp_path):
    """As MADGRAD's `k`."""
    model = nn.Linear(2, 1)
    optimizer = Counting(model.parameters())
    with record(model, optimizer, tmp_path / "out", steps=2):
        for _ in range(2):
            optimizer.zero_grad()
            model(torch.ones(3, 2)).sum().backward()
            optimizer.step()
    trace = ProgramTrace.load(tmp_path / "out")
    assert (trace.complete, len(trace.steps)) == (True, 2)
    assert trace.stored(2)["state/weight.rate"] == np.float32(0.05)
