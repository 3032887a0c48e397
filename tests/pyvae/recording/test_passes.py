"""Forward passes of networks that are used and not trained."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from pyvae import record
from pyvae.errors import UserError
from pyvae.recording.passes import Networks
from pyvae.recording.recording import running
from pyvae.trace.program import ProgramTrace


class Vae(nn.Module):
    """Its parts are called by the program itself, through methods."""

    def __init__(self):
        super().__init__()
        self.fc1, self.mu, self.log_var = nn.Linear(6, 5), nn.Linear(5, 2), nn.Linear(5, 2)
        self.fc2 = nn.Linear(2, 6)

    def encode(self, x):
        h = F.relu(self.fc1(x))
        return self.mu(h), self.log_var(h)

    def forward(self, x):
        mu, log_var = self.encode(x)
        return torch.sigmoid(self.fc2(mu + torch.randn_like(mu) * (0.5 * log_var).exp()))


class Tree(nn.Module):
    """Calls itself."""

    def __init__(self):
        super().__init__()
        self.leaf, self.both = nn.Linear(4, 3), nn.Linear(6, 3)

    def forward(self, tree):
        if isinstance(tree, torch.Tensor):
            return self.leaf(tree)
        return torch.tanh(self.both(torch.cat([self(one) for one in tree], -1)))


def mlp():
    return nn.Sequential(
        nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.4), nn.Linear(8, 3)
    )


def batches(size, count=4):
    return [torch.rand(5, size) for _ in range(count)]


PROGRAMS = {  # what is called, and what is returned of each call
    "mlp": (mlp, lambda net: [net(x).softmax(1) for x in batches(4)]),
    "vae": (Vae, lambda net: [net(x) for x in batches(6)]),
    "methods": (Vae, lambda net: [net.encode(x)[0] for x in batches(6)]),
    "tree": (Tree, lambda net: [net(((x[0], x[1]), x[2])) for x in batches(4)]),
    "lstm": (lambda: nn.LSTM(4, 3), lambda net: [net(x)[0] for x in batches(4)]),
}


def made(name, training=False):
    torch.manual_seed(1)
    model, run = PROGRAMS[name][0](), PROGRAMS[name][1]
    torch.manual_seed(2)
    return model.train(training), run


def stages(trace, step=1):
    return [(one.name, one.layer) for one in trace.network_of(step)]


@pytest.fixture
def passes(tmp_path):
    """Records what a function computes with a model, and returns its trace."""

    def run(model, compute, name="trace", **options):
        with record(model, None, tmp_path / name, **{"quiet": True, **options}):
            compute(model)
        return ProgramTrace.load(tmp_path / name)

    return run


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode, torch.enable_grad])
@pytest.mark.parametrize("name", PROGRAMS)
def test_no_bit_changes_and_every_value_is_there(name, mode, training, passes):
    model, run = made(name, training)
    with mode():
        alone = run(model)
    after = {key: value.clone() for key, value in model.state_dict().items()}
    model, run = made(name, training)
    found = []
    with mode():
        trace = passes(model, lambda net: found.extend(run(net)), steps=2)
    assert all(torch.equal(one, two) for one, two in zip(alone, found, strict=True))
    assert all(torch.equal(value, after[key]) for key, value in model.state_dict().items())
    assert trace.complete
    assert [(one.step, one.optimiser) for one in trace.steps] == [(1, None), (2, None)]
    for step, returned in zip((1, 2), found, strict=False):
        arrays = trace.arrays(step)
        outputs = {value for one in trace.network_of(step) for value in one.outputs}
        assert {key[8:] for key in arrays if key.startswith("forward/")} == outputs
        assert any(
            np.array_equal(arrays[f"forward/{one}"], returned.detach().numpy()) for one in outputs
        )
        assert not any(key.startswith(("gradient/", "parameter/", "loss/")) for key in arrays)


def test_what_is_written_gives_what_is_returned(passes):
    model, run = made("mlp")
    with torch.no_grad():
        trace = passes(model, run)
    arrays = {key: torch.from_numpy(value) for key, value in trace.arrays(3).items()}
    again = mlp().eval()
    again.load_state_dict({k[6:]: v for k, v in arrays.items() if k.startswith("start/")})
    with torch.no_grad():
        out = again(arrays["forward/rand"])
    assert torch.equal(out, arrays["forward/4"])
    assert torch.equal(out.softmax(1), arrays["forward/softmax"])
    assert trace.recorded(3).returned == ("4",)


def test_a_step_is_a_call_of_each_network_with_what_is_computed_from_it(passes):
    """What was drawn before a call goes into it; what is only looked at is left out."""
    torch.manual_seed(1)
    both = {"encoder": nn.Linear(4, 2), "decoder": nn.Sequential(nn.Linear(2, 4), nn.Sigmoid())}

    def run(net):
        for _ in range(3):
            noise = torch.randn(5, 2)
            z = both["encoder"](torch.ones(5, 4)) + noise
            image = both["decoder"](z)
            image.detach().clone().double().numpy()
            (image > 0.5).sum(1)

    with torch.no_grad():
        trace = passes(both, run)
    assert len(trace.steps) == 3
    for step in (1, 2, 3):
        assert sorted(stages(trace, step)) == sorted(
            [("randn", "draw"), ("input", "input"), ("encoder", "linear"), ("add", "add"),
             ("decoder.0", "linear"), ("decoder.1", "sigmoid"), ("gt", "gt"), ("sum", "sum")]
        )  # fmt: skip
        assert trace.recorded(step).returned == ("encoder", "decoder.1")


def test_a_value_of_the_step_before_is_an_input(passes):
    """Two calls of one network are two steps; what takes both is of the second."""
    net = nn.Linear(4, 2)
    with torch.no_grad():
        trace = passes(net, lambda net: (net(torch.ones(3, 4)) - net(torch.zeros(3, 4))).norm())
    assert stages(trace, 1) == [("input", "input"), ("linear", "linear")]
    names = [one for _, one in stages(trace, 2)]
    assert sorted(names) == ["input", "input", "linear", "norm", "sub"]


def test_a_network_that_is_not_named_begins_no_step(passes):
    net, other = nn.Linear(4, 2), nn.Linear(3, 4)

    def run(net):
        for _ in range(2):
            net(other(torch.ones(5, 3)) + other(torch.zeros(5, 3))).sum()

    with torch.no_grad():
        trace = passes(net, run)
    assert [one.step for one in trace.steps] == [1, 2]
    assert [layer for _, layer in stages(trace, 2)] == ["input", "linear", "sum"]


def test_every_so_many_calls_until_there_are_enough(passes):
    model, run = made("mlp")
    with torch.no_grad():
        assert [one.step for one in passes(model, run, every=3).steps] == [1, 4]
        assert [one.step for one in passes(model, run, "one", steps=1).steps] == [1]
        assert len(passes(model, run, "all", steps=None).steps) == 4
    assert running() is None


def test_a_call_that_raises_an_error_is_no_step(passes, tmp_path):
    net = nn.Linear(4, 2)

    def run(net):
        with pytest.raises(RuntimeError):
            net(torch.ones(3, 5))
        net(torch.ones(3, 4))

    trace = passes(net, run)
    assert [one.step for one in trace.steps] == [1]
    assert trace.complete

    def fail(net):
        net(torch.ones(3, 4))
        net(torch.ones(3, 5))

    with pytest.raises(RuntimeError):
        passes(net, fail, "cut")
    trace = ProgramTrace.load(tmp_path / "cut")
    assert (len(trace.steps), trace.ended) == (1, "the program ended: RuntimeError")


def test_gradients_of_an_image_and_updates_by_hand_are_recorded(passes):
    net = nn.Linear(4, 2)
    image = torch.rand(3, 4, requires_grad=True)
    trace = passes(net, lambda net: net(image)[:, 1].sum().backward(), "saliency")
    arrays = trace.arrays(1)
    assert np.array_equal(arrays["gradient/input"], image.grad.numpy())

    def train(net):
        for _ in range(2):
            net.zero_grad()
            net(torch.ones(3, 4)).square().mean().backward()
            with torch.no_grad():
                for one in net.parameters():
                    one -= 0.1 * one.grad

    trace = passes(net, train, "by hand")
    for step in (1, 2):
        arrays = trace.arrays(step)
        for name in ("weight", "bias"):
            by_hand = torch.from_numpy(arrays[f"start/{name}"]) - 0.1 * torch.from_numpy(
                arrays[f"gradient/{name}"]
            )
            assert np.array_equal(arrays[f"parameter/{name}"], by_hand.numpy())
        assert [layer for _, layer in stages(trace, step)] == ["input", "linear", "square", "mean"]
    assert len(list(trace.losses())) == 2


def test_attention_is_said_to_be_without_its_fast_path(passes, capsys):
    net = nn.MultiheadAttention(4, 2, batch_first=True).eval()
    x = torch.rand(2, 3, 4)
    for mode, said in ((torch.no_grad, 1), (torch.enable_grad, 0)):
        with mode():
            passes(net, lambda net: [net(x, x, x), net(x, x, x)], mode.__name__, quiet=False)
        assert capsys.readouterr().err.count("without PyTorch's fast path") == said


def test_what_torch_jit_and_torch_func_call_is_no_pass(passes):
    net = nn.Linear(4, 2).eval()

    def run(net):
        torch.func.vmap(net)(torch.ones(2, 3, 4))
        with pytest.warns(FutureWarning):
            torch.jit.trace(net, torch.ones(3, 4), check_trace=False)
        net(torch.zeros(3, 4))

    with torch.no_grad():
        trace = passes(net, run)
    assert len(trace.steps) == 1
    assert not trace.arrays(1)["forward/input"].any()


def test_bad_input_is_told_at_once(tmp_path):
    with pytest.raises(UserError, match="the model has no parameters"):
        record(nn.ReLU(), None, tmp_path / "out")
    with pytest.raises(UserError, match="steps=0"):
        record(nn.Linear(2, 2), None, tmp_path / "out", steps=0)
    assert not (tmp_path / "out").exists()


def test_a_network_that_is_not_called_leaves_nothing(tmp_path, capsys):
    with record(nn.Linear(2, 2), None, tmp_path / "out"):
        pass
    assert "the model was not called" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_networks_have_the_first_ones_names_and_then_their_own():
    networks = Networks(nn.Sequential(nn.Linear(2, 2)))
    assert networks.add(nn.Linear(2, 1), "head") == "head"
    assert networks.add(nn.Linear(2, 1), "head") == "head2"
    assert networks.add(nn.Linear(2, 1), "0") == "02"
    names = [name for name, _ in networks.named_parameters()]
    assert names == ["0.weight", "0.bias", "head.weight", "head.bias", "head2.weight",
                     "head2.bias", "02.weight", "02.bias"]  # fmt: skip
    assert Networks().add(nn.Linear(2, 1), "net") == ""
