"""Where something that no recorder sees computes a value, that is said, and what it is called."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from comparisons.ports import compare_programs
from pyvae.recording.record import record


def swish(factor=1.0, right=True):
    class Swish(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            s = torch.sigmoid(x)
            ctx.save_for_backward(x, s)
            return factor * x * s

        @staticmethod
        def backward(ctx, gradient):
            x, s = ctx.saved_tensors
            return factor * gradient * (s + x * s * (1 - s) if right else s)

    return Swish.apply


class Network(nn.Module):
    def __init__(self, act):
        super().__init__()
        self.inner, self.act, self.outer = nn.Linear(3, 5), act, nn.Linear(5, 2)

    def forward(self, x):
        return self.outer(self.act(self.inner(x)))


def train(name, act=F.silu, follow=0.0, dtype=None):
    """Two steps; the targets are of a network that follows this one, and is no module."""
    torch.manual_seed(1)
    model = Network(act)
    teacher = [nn.Parameter(one.detach().clone()) for one in model.parameters()]
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    with record(model, optimizer, name, steps=2):
        for _ in range(2):
            x = torch.randn(6, 3)
            optimizer.zero_grad()
            with torch.no_grad():
                y = F.linear(F.silu(F.linear(x, *teacher[:2])), *teacher[2:]) + 1
            with torch.autocast("cpu", dtype=torch.bfloat16, enabled=dtype is not None):
                z = model(x)
            F.mse_loss(z.float(), y).backward()
            optimizer.step()
            with torch.no_grad():
                for one, other in zip(teacher, model.parameters(), strict=True):
                    one.lerp_(other, follow)
    return name


def tripled(columns):
    """A change in place through a part of a tensor, which the recorder sees as another tensor."""

    def act(x):
        x = x.clone()
        x[:, :columns].mul_(3)
        return torch.tanh(x)

    return act


TEACHER = (
    "it was computed without gradients from parameters, as by a target network or a teacher, "
    "which is not looked into"
)


@pytest.mark.parametrize(
    ("original", "port", "place", "words"),
    [
        (
            {"act": swish()}, {"act": swish(right=False)}, "backward (gradient of inner)",
            "original's comes from the program's own function Swish, which is not looked into",
        ),
        (
            {"act": swish()}, {"act": lambda x: swish(1.5)(x + 0.01 * x.detach().cos())},
            "input (input), input",
            "it is what the program's own function Swish returned, which is not looked into",
        ),
        (
            {"act": tripled(2)}, {"act": tripled(1)}, "index (index), forward",
            "port: index = (:, :1) where it is (:, :2)",
        ),
        ({"follow": 0.5}, {"follow": 0.4}, "input (input), input", TEACHER),
        (
            {"dtype": torch.bfloat16}, {}, "inner (linear), forward",
            "original computes in bfloat16, port does not",
        ),
    ],
)  # fmt: skip
def test_it_is_said(original, port, place, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    first = compare_programs(train("original", **original), train("port", **port)).first
    assert first.place.partition(", ")[2] == place
    assert words in " ".join(first.words)


def test_a_gradient_that_it_may_have_added_to_is_not_laid_at_a_side(tmp_path, monkeypatch):
    """The function takes a weight, and hands back a gradient of it that no recorder sees."""
    monkeypatch.chdir(tmp_path)

    def penalised(factor):
        class Penalty(torch.autograd.Function):
            @staticmethod
            def forward(ctx, x, weight):
                return x.clone()

            @staticmethod
            def backward(ctx, gradient):
                return gradient, factor * torch.ones(5, 3)

        class Penalised(Network):
            def forward(self, x):
                return self.outer(Penalty.apply(torch.tanh(self.inner(x)), self.inner.weight))

        return Penalised

    for name, factor in (("original", 0.1), ("port", 0.0)):
        torch.manual_seed(1)
        model = penalised(factor)(None)
        optimizer = torch.optim.SGD(model.parameters(), 0.1)
        with record(model, optimizer, name, steps=1):
            model(torch.randn(6, 3)).square().mean().backward()
            optimizer.step()
    first = compare_programs("original", "port").first
    assert first.place == "step 1, inner (linear), backward (gradient of inner.weight)"
    assert first.words == ("port is original minus 0.1",)
    assert first.wrong == ""


def train_with_penalty(name, of=""):
    """Three steps; the loss has a penalty on the network's slopes, which are computed in one way or
    another, and followed or not."""
    torch.manual_seed(1)
    model = Network(torch.tanh)
    weights = dict(model.named_parameters())
    optimizer = torch.optim.SGD(weights.values(), 0.1)
    followed = {k: w.detach() for k, w in weights.items()} if of == "detached" else weights

    def out(given, x):
        return torch.func.functional_call(model, given, (x,)).sum()

    with record(model, optimizer, name, steps=3):
        for _ in range(3):
            x, y = torch.randn(6, 3), torch.randn(6, 2)
            at = torch.ones(4, 3)
            optimizer.zero_grad()
            loss = F.mse_loss(model(x), y)
            if of == "autograd":
                at.requires_grad_()
                (slopes,) = torch.autograd.grad(model(at).sum(), at, create_graph=True)
            else:
                slopes = torch.func.vmap(torch.func.grad(out, 1), (None, 0))(followed, at)
            (loss + 0.1 * (slopes**2).mean()).backward()
            optimizer.step()
    return name


def test_what_is_computed_unseen_is_not_what_the_other_side_is_given(tmp_path, monkeypatch):
    """It has the shape of it, here."""
    monkeypatch.chdir(tmp_path)
    original = train_with_penalty("original", "autograd")
    assert compare_programs(original, train_with_penalty("port")).agrees


def test_derivatives_of_derivatives_are_no_mistake_of_the_side_that_has_them(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    original = train_with_penalty("original", "autograd")
    first = compare_programs(original, train_with_penalty("port", "detached")).first
    assert first.place == "step 1, outer (linear), backward (gradient of outer.weight)"
    assert first.words == (
        "original's may come from the derivative of what torch.autograd.grad computed as well, "
        "which is not looked into",
    )
    assert not first.wrong


COMPLEX = {
    "an option": (
        lambda y: torch.fft.rfft(y).abs(), lambda y: torch.fft.rfft(y, norm="ortho").abs(),
        "r: norm = ortho, of which python says nothing (in fft_rfft, whose numbers are not "
        "recorded)",
    ),
    "a stage": (
        lambda y: (torch.fft.rfft(y) * torch.fft.rfft(y).conj()).real.sqrt(),
        lambda y: (torch.fft.rfft(y) * torch.fft.rfft(y)).real.sqrt(),
        "only python has conj (conj) between fft_rfft#2 and real",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", COMPLEX)
def test_what_leads_to_complex_numbers_is_told(tmp_path, monkeypatch, name):
    """A trace has no type for them: the first number that parts is what is made of them."""
    monkeypatch.chdir(tmp_path)
    right, wrong, words = COMPLEX[name]
    for folder, function in (("python", right), ("r", wrong)):
        torch.manual_seed(1)
        model = nn.Linear(3, 6)
        optimizer = torch.optim.SGD(model.parameters(), 0.1)
        with record(model, optimizer, folder, steps=1):
            function(model(torch.randn(5, 3))).sum().backward()
            optimizer.step()
    first = compare_programs("python", "r").first
    assert first.words == (words,)
