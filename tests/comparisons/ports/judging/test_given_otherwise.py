"""Inputs in another form, of which both sides compute the same; parts of a value that are taken in
another order; numbers that are missing; classes that are taken as numbers."""

from __future__ import annotations

import re
import shutil

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from comparisons.ports import compare_programs
from pyvae import Optimiser, OptimiserGroup, ProgramStage, write_program_trace
from pyvae.recording.record import record

ROWS, CLASSES = 12, 3
LARGE, SMALL = 1e4, 1e-6


def trained(folder, loss, steps=2, rate=0.1):
    """A small classifier that gets random classes, and numbers with which to do as one likes."""
    shutil.rmtree(folder, ignore_errors=True)
    torch.manual_seed(1)
    network = nn.Sequential(nn.Linear(5, 8), nn.Tanh(), nn.Linear(8, CLASSES))
    optimiser = torch.optim.SGD(network.parameters(), rate)
    with record(network, optimiser, folder, steps=steps):
        for _ in range(steps):
            x, numbers = torch.randn(ROWS, 5), torch.rand(ROWS, CLASSES)
            y = torch.randint(CLASSES, (ROWS,))
            optimiser.zero_grad()
            loss(network(x), y, numbers).backward()
            optimiser.step()
    return folder


@pytest.fixture(autouse=True)
def _in_a_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def compared(paper, port):
    """Both ways round."""
    pair = trained("paper", paper), trained("port", port)
    return [compare_programs(*pair), compare_programs(*pair[::-1])]


def one_hot(y):
    return F.one_hot(y, CLASSES).float()


def smoothed(share, of=CLASSES):
    return lambda z, y, _: F.cross_entropy(
        z, one_hot(y) * (1 - share) + (share / of) * (1.0 if of == CLASSES else 1 - one_hot(y))
    )


def divergence(target, **options):
    return lambda z, y, t: F.kl_div(
        F.log_softmax(z, 1), target(t), reduction="batchmean", **options
    )


def dropped(way):
    return lambda z, y, t: F.cross_entropy(way(z, t < 0.7), y)


def weighted(by=SMALL, first=False):
    """One of the classes hardly counts."""
    weights = torch.tensor([1.0, 1.0, by])
    if first:
        return dropped(lambda z, mask: z * (mask * weights))
    return dropped(lambda z, mask: z * mask * weights)


def convolved(z, x, padding=0, kept=slice(None)):
    kernel = z[:CLASSES, :, None].expand(-1, -1, 2)
    return F.conv1d(x, kernel, padding=padding)[..., kept].tanh().mean()


def at(z, y):
    return z.log_softmax(1)[torch.arange(ROWS), y]


def risk_in_order(z, t):
    order = t[:, 0].argsort(descending=True)
    event, risk = (t[:, 1] < 0.7).float()[order], z[:, 0][order]
    return -((risk - risk.logcumsumexp(0)) * event).sum() / event.sum()


def risk_of_all(z, t, later=torch.ge):
    event, risk = (t[:, 1] < 0.7).float(), z[:, 0]
    there = later(t[:, 0], t[:, 0][:, None])
    others = risk[None].expand(ROWS, ROWS).masked_fill(~there, -torch.inf).logsumexp(1)
    return -((risk - others) * event).sum() / event.sum()


FORMS = {  # as the paper has it, the same in another form, and that with a mistake
    "classes, their probabilities": (
        lambda z, y, _: F.cross_entropy(z, y),
        lambda z, y, _: F.cross_entropy(z, one_hot(y)),
        lambda z, y, _: F.cross_entropy(z, one_hot((y + 1) % CLASSES)),
    ),
    "classes that are smoothed": (
        lambda z, y, _: F.cross_entropy(z, y, label_smoothing=0.1),
        smoothed(0.1),
        smoothed(0.1, CLASSES - 1),
    ),
    "classes that are smoothed a little otherwise": (
        lambda z, y, _: F.cross_entropy(z, y, label_smoothing=0.1),
        smoothed(0.1),
        smoothed(0.10004),
    ),
    "classes, one of which counts little": (
        weighted(),
        weighted(first=True),
        weighted(1.5 * SMALL, first=True),
    ),
    "probabilities, their logarithms": (
        divergence(lambda t: t.softmax(1)),
        divergence(lambda t: t.log_softmax(1), log_target=True),
        divergence(lambda t: t.log_softmax(0), log_target=True),
    ),
    "a mask, what it multiplies by": (
        dropped(lambda z, mask: z * mask / 0.7),
        dropped(lambda z, mask: z * (mask / 0.7)),
        dropped(lambda z, mask: z * (mask / 0.70004)),
    ),
    "a mask, its inverse": (
        dropped(lambda z, mask: z.masked_fill(~mask, 0)),
        dropped(lambda z, mask: z * mask),
        dropped(lambda z, mask: z * ~mask),
    ),
    "padded before a layer, and by it": (
        lambda z, y, t: convolved(z, F.pad(t.T[None], (1, 0))),
        lambda z, y, t: convolved(z, t.T[None], padding=1, kept=slice(0, -1)),
        lambda z, y, t: convolved(z, t.T[None], padding=1, kept=slice(1, None)),
    ),
    "a mask that is beside an order": (  # the likelihood of survival, sorted or not
        lambda z, y, t: risk_in_order(z, t),
        lambda z, y, t: risk_of_all(z, t),
        lambda z, y, t: risk_of_all(z, t, later=torch.le),
    ),
    "two classes of each row, their shares": (
        lambda z, y, _: 0.3 * F.cross_entropy(z, y) + 0.7 * F.cross_entropy(z, y.flip(0)),
        lambda z, y, _: F.cross_entropy(z, 0.3 * one_hot(y) + 0.7 * one_hot(y.flip(0))),
        lambda z, y, _: F.cross_entropy(z, 0.3 * one_hot(y) + 0.7 * one_hot(y.roll(1))),
    ),
    "a logarithm, its exponential, each beside another function": (
        lambda z, y, t: (at(z, y) - t[:, 0].log()).exp().clamp(0.8, 1.2).mean(),
        lambda z, y, t: (at(z, y).exp() / t[:, 0]).clamp(0.8, 1.2).mean(),
        lambda z, y, t: (at(z, y).exp() / t[:, 1]).clamp(0.8, 1.2).mean(),
    ),
    "signs, zero and one": (
        lambda z, y, _: F.soft_margin_loss(z, one_hot(y) * 2 - 1),
        lambda z, y, _: F.binary_cross_entropy_with_logits(z, one_hot(y)),
        lambda z, y, _: F.binary_cross_entropy_with_logits(z, 1 - one_hot(y)),
    ),
}


@pytest.mark.parametrize("name", FORMS)
def test_an_input_in_another_form_is_no_difference(name):
    paper, port, _ = FORMS[name]
    for found in compared(paper, port):
        assert found.agrees, found.verdict


@pytest.mark.parametrize("name", FORMS)
def test_a_mistake_in_it_is_told(name):
    paper, _, port = FORMS[name]
    for found in compared(paper, port):
        assert found.first is not None, found.verdict
        assert found.first.judged.step == 1


def test_a_mistake_beside_an_input_in_another_form_has_its_own_place():
    paper = trained("paper", lambda z, y, _: F.cross_entropy(z, y))
    port = trained("port", lambda z, y, _: F.cross_entropy(z, one_hot(y)), rate=0.101)
    for pair in ((paper, port), (port, paper)):
        found = compare_programs(*pair)
        assert found.first is not None, found.verdict
        assert found.first.place.startswith("step 1, optimiz"), found.first.place
        assert any("lr = 0.1" in words for words in found.first.words)


def beside_large(change):
    """Numbers beside others that are large: what they make in a sum is less than rounding."""
    return lambda z, y, t: ((z * 1e-3 + LARGE * 1e3 + change(t)) / LARGE).square().mean()


def test_other_numbers_are_no_other_form():
    """That what is computed of them is the same says nothing."""
    for found in compared(beside_large(lambda t: t), beside_large(lambda t: t.flip(0))):
        assert found.first is not None, found.verdict


def of_a_normal(first):
    """Means and deviations, of which either is taken first."""

    def loss(z, y, t):
        mean, deviation = (z[:, :1], z[:, 1:2]) if first == "mean" else (z[:, :1], z[:, 1:2])[::-1]
        return loss_of(mean, deviation, t)

    def loss_of(mean, deviation, t):
        return ((t - mean) / F.softplus(deviation)).square().mean() + F.softplus(deviation).mean()

    def taken_late(z, y, t):
        deviation = F.softplus(z[:, 1:2])
        return ((t - z[:, :1]) / deviation).square().mean() + deviation.mean()

    def taken_early(z, y, t):
        mean = z[:, :1]
        deviation = F.softplus(z[:, 1:2])
        return ((t - mean) / deviation).square().mean() + deviation.mean()

    return {"late": taken_late, "early": taken_early, "exchanged": loss}[first]


def product(first, second):
    """The same whichever of two parts comes first."""
    return lambda z, y, t: (z[:, first] * z[:, second] - t).square().mean()


def by_library(z, y, t):
    return F.gaussian_nll_loss(z[:, :1], t[:, :1], F.softplus(z[:, 1:2]))


def by_hand(z, y, t, power=1):
    variance = F.softplus(z[:, 1:2])
    return 0.5 * (variance.log() + (z[:, :1] - t[:, :1]) ** 2 / variance**power).mean()


@pytest.mark.parametrize(
    "pair",
    [
        (of_a_normal("early"), of_a_normal("late")),
        (by_library, by_hand),
        (product(slice(0, 1), slice(1, 2)), product(slice(1, 2), slice(0, 1))),
    ],
    ids=["to the same places", "the same parts", "the same parts to other places"],
)
def test_parts_in_another_order_are_no_difference(pair):
    for found in compared(*pair):
        assert found.agrees, found.verdict


@pytest.mark.parametrize(
    "pair",
    [
        (of_a_normal("early"), of_a_normal("exchanged")),
        (by_library, lambda z, y, t: by_hand(z, y, t, power=2)),
    ],
    ids=["exchanged", "another power"],
)
def test_a_mistake_in_parts_is_told(pair):
    for found in compared(*pair):
        assert found.first is not None, found.verdict


def with_missing(error):
    """Targets of which some are missing."""

    def loss(z, y, t):
        return error(z, torch.where(t < 0.2, torch.nan, t))

    return loss


def of_known(z, t):
    return (z - t)[~torch.isnan(t)].square().mean()


@pytest.mark.parametrize(
    "port", [of_known, lambda z, t: (z - t)[~t.isnan()].square().sum() / (~t.isnan()).sum()]
)
def test_numbers_that_are_missing_agree(port):
    for found in compared(with_missing(of_known), with_missing(port)):
        assert found.agrees, found.verdict


def test_missing_numbers_that_are_counted_are_told():
    port = with_missing(lambda z, t: (z - t).nan_to_num().square().mean())
    for found in compared(with_missing(of_known), port):
        assert found.first is not None, found.verdict
        assert "NaN" not in " ".join(found.first.words)


def weighted_by_class(folder, base, corrected=False):
    """A loss that is multiplied by the number of the class, in a language that counts from `base`:
    as it is, or counted from 0."""
    rows = torch.Generator().manual_seed(1)
    x, y = torch.randn(ROWS, 5, generator=rows), torch.randint(CLASSES, (ROWS,), generator=rows)
    weight = torch.randn(CLASSES, 5, generator=rows, requires_grad=True)
    z = x @ weight.T
    errors = F.cross_entropy(z, y, reduction="none")
    product = errors * (y if corrected else y + base)
    loss = product.mean()
    for value in (z, errors, product):
        value.retain_grad()
    loss.backward()
    forward = {"x": x, "y": y + base, "fc": z, "errors": errors, "product": product, "loss": loss}
    stages = [
        ProgramStage("x", "input"),
        ProgramStage("y", "input"),
        ProgramStage("fc", "linear", ("x",), parameters={"weight": "fc.weight"}),
        ProgramStage("errors", "cross_entropy_loss", ("fc", "y"), {"reduction": "none"}),
        ProgramStage("product", "mul", ("errors", "y")),
        ProgramStage("loss", "mean", ("product",)),
    ]
    if corrected and base:
        stages.insert(4, ProgramStage("number", "sub", ("y",), {"other": base}))
        stages[5] = ProgramStage("product", "mul", ("errors", "number"))
        forward["number"] = y
    after = (weight - 0.1 * weight.grad).detach()
    step = {
        "start": {"fc.weight": weight.detach().numpy()},
        "forward": {name: value.detach().numpy() for name, value in forward.items()},
        "loss": loss.item(),
        "gradient": {
            "fc.weight": weight.grad.numpy(),
            "fc": z.grad.numpy(),
            "errors": errors.grad.numpy(),
            "product": product.grad.numpy(),
        },
        "parameter": {"fc.weight": after.numpy()},
    }
    group = OptimiserGroup(("fc.weight",), {"lr": 0.1})
    write_program_trace(
        folder, "mine", stages, steps=[step], optimiser=Optimiser("optimizer", "sgd", (group,)),
        language="r" if base else "python", index_base=base,
    )  # fmt: skip
    return folder


def test_a_class_that_is_taken_as_a_number():
    """In R it is one more, which a class is not, and a number is."""
    pair = weighted_by_class("r", 1), weighted_by_class("python", 0)
    for found in (compare_programs(*pair), compare_programs(*pair[::-1])):
        assert found.first is not None, found.verdict
        assert found.first.place == "step 1, product (mul), forward"
        assert re.match(
            r"y counts from [01] in \w+ and from [01] in \w+, and is taken as a number here",
            found.first.words[0],
        )


def test_a_class_that_is_counted_from_0_as_a_number():
    pair = weighted_by_class("r", 1, corrected=True), weighted_by_class("python", 0)
    for found in (compare_programs(*pair), compare_programs(*pair[::-1])):
        assert found.agrees, found.verdict


def test_an_input_that_is_a_number_on_one_side():
    for found in compared(
        lambda z, y, t: (z * t.sum(0)).mean(), lambda z, y, t: (z * t.sum()).mean()
    ):
        assert found.first is not None, found.verdict
        assert found.first.place.startswith("step 1, input")


def beside_a_small_term(cut, twice=False):
    """A function whose result is taken again in a small term."""

    def loss(z, y, _):
        h = z.relu()
        again = z.relu() if twice else h
        again = again.detach() if cut else again
        return F.cross_entropy(h, y) + 1e-5 * (again * 2).square().mean()

    return loss


def test_a_small_term_that_is_cut_is_no_other_way():
    for found in compared(beside_a_small_term(cut=False), beside_a_small_term(cut=True)):
        assert found.first is not None, found.verdict


def test_a_function_that_is_called_twice_beside_a_small_term():
    for found in compared(beside_a_small_term(False), beside_a_small_term(False, twice=True)):
        assert found.agrees, found.verdict
