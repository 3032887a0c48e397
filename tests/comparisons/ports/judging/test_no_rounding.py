"""What is within the rule, or follows from each side's own inputs, and yet no rounding: small
columns of an input, a small term of a gradient, a teacher that follows the model otherwise, values
rounded to bfloat16."""

from __future__ import annotations

import re
import shutil

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from comparisons.ports import compare_programs
from pyvae.recording.record import record


def trained(folder, batch=lambda x: x, forward=None, teacher=None, steps=3, dtype=torch.float32):
    """A small network on amounts of money, measures and labels; its teacher is no module, and is
    not recorded."""
    torch.manual_seed(1)
    network = nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 3)).to(dtype)
    target = [nn.Parameter(one.detach().clone()) for one in network.parameters()]
    optimiser = torch.optim.Adam(network.parameters(), lr=1e-3)
    with record(network, optimiser, folder, steps=steps):
        for _ in range(steps):
            x = torch.randn(20, 6, dtype=dtype)
            y = torch.randn(20, 3, dtype=dtype)
            if teacher is not None:
                with torch.no_grad():
                    y = F.linear(F.relu(F.linear(x, *target[:2])), *target[2:])
                x = x + 0.1 * torch.randn(20, 6, dtype=dtype)
            x = batch(x)
            optimiser.zero_grad()
            F.mse_loss(network(x) if forward is None else forward(network, x), y).backward()
            if teacher is not None and not teacher[1]:
                follow(target, network, teacher[0])
            optimiser.step()
            if teacher is not None and teacher[1]:
                follow(target, network, teacher[0])
    return folder


def follow(target, network, share):
    with torch.no_grad():
        for own, followed in zip(target, network.parameters(), strict=True):
            own.lerp_(followed, share)


@pytest.fixture(autouse=True)
def _in_a_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def compared(*programs):
    """Both ways round."""
    for name, one in zip("ab", programs, strict=True):
        shutil.rmtree(name, ignore_errors=True)
        trained(name, **one)
    return [compare_programs(*pair) for pair in ("ab", "ba")]


def with_labels(shift=0, scale=1.0, rounding=0.0, money=1e6):
    """Money, two measures and three columns of a label."""

    def batch(x):
        label = (torch.arange(len(x)) + shift) % 3
        amount = money * (2 * x[:, :1] + 5) * (1 + rounding)
        measures = x[:, 1:3] * scale * (1 + rounding)
        return torch.cat([amount, measures, F.one_hot(label, 3).to(x.dtype)], 1)

    return batch


@pytest.mark.parametrize(
    ("money", "port", "columns"),
    [(1e6, {"shift": 1}, "3, 4, 5"), (1e4, {"scale": 1.01}, "1, 2")],
    ids=["other labels", "another scale"],
)
def test_a_small_column_beside_large_numbers(money, port, columns):
    paper = {"batch": with_labels(money=money)}
    for found in compared(paper, {"batch": with_labels(money=money, **port)}):
        assert found.first is not None
        assert found.first.place.startswith("step 1, input")
        assert found.first.words[0].startswith(f"columns {columns} (counted from 0) differ")


def normalised(exact):
    """A column without a deviation, whose mean is subtracted: nothing is left, or rounding."""

    def batch(x):
        rest = torch.zeros(len(x)) if exact else torch.full((len(x),), 6e-8)
        return torch.cat([rest[:, None], x[:, 1:]], 1)

    return batch


@pytest.mark.parametrize(
    ("paper", "port"),
    [
        (with_labels(), with_labels(rounding=1e-7)),
        (normalised(exact=True), normalised(exact=False)),
    ],
    ids=["rounding", "what is left of zero"],
)
def test_rounding_of_a_small_column_is_no_difference(paper, port):
    for found in compared({"batch": paper}, {"batch": port}):
        assert found.agrees, found.verdict


@pytest.mark.parametrize("port", [(0.005, True), (0.001, False)], ids=["how much", "when"])
def test_a_teacher_that_follows_the_model_otherwise(port):
    """It moves away slowly, within the rule of what is computed."""
    for found in compared({"teacher": (0.001, True)}, {"teacher": port}):
        assert found.first is not None
        assert found.first.judged.quantity.passing == "input"
        assert found.first.judged.difference.needed < found.first.judged.rtol
        assert any("follow the model in the same way" in words for words in found.first.words)


def in_another_order(network, x):
    """The same function, whose sums are added up in another order."""
    order = torch.randperm(16, generator=torch.Generator().manual_seed(2))
    hidden = F.relu(F.linear(x, network[0].weight[order], network[0].bias[order]))
    return F.linear(hidden, network[2].weight[:, order], network[2].bias)


def test_a_teacher_that_follows_alike_agrees():
    paper = {"teacher": (0.1, True)}
    for found in compared(paper, paper | {"forward": in_another_order}):
        if found.agrees:
            assert any("did not record" in note for note in found.notes)
        else:
            assert found.first.judged.quantity.passing != "input"
    for found in compared(paper, paper):
        assert found.verdict.startswith("equal")
        assert any("did not record" in note for note in found.notes)


def rounded(what):
    """A forward pass in which something goes through bfloat16."""

    def forward(network, x):
        keep = {name: (lambda value: value) for name in ("hidden", "weight", "bias", "output")}
        keep[what] = lambda value: value.bfloat16().float()
        hidden = keep["hidden"](network[1](network[0](x)))
        weight, bias = keep["weight"](network[2].weight), keep["bias"](network[2].bias)
        return keep["output"](F.linear(hidden, weight, bias))

    return forward


def plain(network, x):
    return F.linear(network[1](network[0](x)), network[2].weight, network[2].bias)


@pytest.mark.parametrize("what", ["hidden", "weight", "bias", "output"])
def test_one_side_alone_rounds_to_bfloat16(what):
    for found in compared({"forward": plain}, {"forward": rounded(what)}):
        assert found.first is not None, found.verdict
        assert re.match(r"only b rounds .* to bfloat16", found.first.words[0])


def by_hand(network, x):
    """What autocast does, written out."""
    hidden = network[1](network[0](x)).bfloat16()
    return F.linear(hidden, network[2].weight.bfloat16(), network[2].bias.bfloat16()).float()


def autocast(network, x):
    hidden = network[1](network[0](x))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = F.linear(hidden, network[2].weight, network[2].bias)
    return output.float()


@pytest.mark.parametrize(
    ("paper", "port"),
    [(autocast, by_hand), (rounded("hidden"), rounded("hidden"))],
    ids=["autocast and by hand", "both"],
)
def test_both_sides_round_to_bfloat16(paper, port):
    for found in compared({"forward": paper}, {"forward": port}):
        assert found.agrees, found.verdict


def scaled(role):
    def forward(network, x):
        given = {"weight": network[2].weight, "bias": network[2].bias}
        given[role] = given[role] * (1 + 5e-5)
        return F.linear(network[1](network[0](x)), given["weight"], given["bias"])

    return forward


def test_stages_of_one_side_before_a_weight():
    """They are held to what rounding makes, as those before an input are."""
    for found in compared({"forward": plain}, {"forward": scaled("weight")}):
        assert found.first is not None, found.verdict
        assert any("only b has mul (mul)" in words for words in found.first.words)


class Normalised(nn.Sequential):
    """Calls itself again in training mode, or in evaluation mode, before what is trained on."""

    def __init__(self, again=""):
        super().__init__(nn.Linear(6, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 3))
        self.again = again

    def forward(self, x):
        result = super().forward(x)
        if self.again:
            self.train(self.again == "training")
            super().forward(x)
            self.train()
        return result


def normalising(folder, again=""):
    torch.manual_seed(1)
    network = Normalised(again)
    optimiser = torch.optim.SGD(network.parameters(), lr=0.01)
    with record(network, optimiser, folder, steps=2):
        for _ in range(2):
            optimiser.zero_grad()
            network(torch.randn(20, 6)).square().mean().backward()
            optimiser.step()
    return folder


def test_running_statistics_that_one_side_moves_once_more():
    """Each side's are what its own calls make of them."""
    pair = normalising("a"), normalising("b", "training")
    for found in (compare_programs(*pair), compare_programs(*pair[::-1])):
        assert found.first is not None, found.verdict
        assert found.first.place == "step 1, 1 (batch_norm1d), buffer (1.running_mean)"
        assert found.first.words[0].startswith("b moves 1.running_mean once more, in 1#2 (batch")


def test_another_call_in_evaluation_mode_moves_nothing():
    assert compare_programs(normalising("a"), normalising("b", "evaluation")).agrees


def test_both_sides_call_again():
    found = compare_programs(normalising("a", "training"), normalising("b", "training"))
    assert found.verdict.startswith("equal")


def tanh_of(hidden, cut, network):
    return 1e-5 * torch.tanh(cut(hidden))[:, :3]


def mean_of(hidden, cut, network):
    return 1e-5 * cut(hidden).abs().mean()


def entropy_of(hidden, cut, network):
    p = torch.softmax(network[2](hidden), 1)
    return 1e-5 * (cut(p) * p.log()).mean()


def entropy_otherwise(hidden, cut, network):
    p = torch.softmax(network[2](hidden), 1)
    return -1e-5 * (torch.log(1 / p) * cut(p)).mean()


def weights_of(hidden, cut, network):
    return 1e-7 * cut(network[0].weight).pow(2).sum()


def weights_otherwise(hidden, cut, network):
    weight = network[0].weight
    return (weight * cut(weight)).sum() * 1e-7


def with_a_small_term(term, cut):
    def forward(network, x):
        network.given = x
        hidden = network[1](network[0](x))
        return network[2](hidden) + term(hidden, torch.detach if cut else lambda x: x, network)

    return forward


@pytest.mark.parametrize("term", [tanh_of, mean_of, entropy_of, weights_of])
def test_a_small_term_of_a_gradient_that_one_side_cuts(term):
    """However small it is beside the rest of the gradient."""
    for found in compared(*({"forward": with_a_small_term(term, cut)} for cut in (False, True))):
        assert found.first is not None, found.verdict
        assert found.first.judged.quantity.passing in ("backward", "parameter gradient")
        assert any(
            words in one
            for one in found.first.words
            for words in ("b has detach (detach)", "a takes", "b detaches it")
        )


def hidden_again(hidden, cut, network):
    return 1e-5 * cut(network[1](network[0](network.given))).abs().mean()


def nothing_at_zero(hidden, cut, network):
    """Another derivative where a ReLU is zero, which it does not hand on."""
    return 1e-5 * torch.where(hidden < 0, -cut(hidden), cut(hidden)).mean()


WAYS = [(entropy_of, entropy_otherwise), (weights_of, weights_otherwise)]


@pytest.mark.parametrize("pair", [*WAYS, (mean_of, hidden_again), (mean_of, nothing_at_zero)])
def test_a_small_term_that_is_written_another_way(pair):
    for found in compared(*({"forward": with_a_small_term(term, False)} for term in pair)):
        assert found.agrees, found.verdict


@pytest.mark.parametrize("pair", WAYS)
def test_a_small_term_that_is_written_another_way_and_cut(pair):
    cut = zip(pair, (False, True), strict=True)
    for found in compared(*({"forward": with_a_small_term(term, cut)} for term, cut in cut)):
        assert found.first is not None, found.verdict
        assert found.first.judged.quantity.passing in ("backward", "parameter gradient")


def shifted(cut):
    def forward(network, x):
        output = network(x)
        largest = output.max(1, keepdim=True).values
        shift = largest.detach() if cut else largest
        return torch.softmax(output - shift, 1)

    return forward


def test_a_cut_term_that_adds_up_to_nothing():
    for found in compared({"forward": shifted(cut=False)}, {"forward": shifted(cut=True)}):
        assert found.agrees, found.verdict


def signed(through, turned):
    """Signs, which bfloat16 has exactly, on a way through another type; and a sum in its order or
    the other one, so that what they are multiplied by is rounded otherwise."""

    def forward(network, x):
        hidden = network[0](x)
        other = (
            F.linear(x.flip(1), network[0].weight.flip(1)) if turned else x @ network[0].weight.T
        )
        return network[2](through(hidden.sign()) * other)

    return forward


def test_numbers_that_lose_nothing_are_not_rounded():
    paper, port = signed(lambda sign: sign, False), signed(lambda sign: sign.double().float(), True)
    for found in compared({"forward": paper}, {"forward": port}):
        assert found.agrees
