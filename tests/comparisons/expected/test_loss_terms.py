"""Terms of the loss against torch's own functions and distributions."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch.distributions import Categorical, Normal, kl_divergence

from comparisons.expected.layers import Layers
from comparisons.expected.loss_terms import SUMMANDS, Term, reduced
from pyvae.model.stages import Stage
from pyvae.recipes import RECIPES

GENERATOR = torch.Generator().manual_seed(0)


def numbers(*shape):
    return torch.randn(shape, generator=GENERATOR, dtype=torch.float64)


def test_likelihoods_are_torchs():
    q, x = torch.sigmoid(numbers(4, 7)), torch.sigmoid(numbers(4, 7))
    for kind, expected in {
        "bce": F.binary_cross_entropy(q, x, reduction="none"),
        "mse": F.mse_loss(q, x, reduction="none"),
    }.items():
        torch.testing.assert_close(SUMMANDS[kind](q, x), expected, rtol=1e-12, atol=0)
    found = SUMMANDS["gaussian"](q, x, variance=0.05)
    torch.testing.assert_close(found, -Normal(q, 0.05**0.5).log_prob(x))
    pi, labels = torch.softmax(q, 1), F.one_hot(torch.tensor([0, 3, 6, 2]), 7)
    found = SUMMANDS["cross_entropy"](pi, labels.double()).sum(1)
    torch.testing.assert_close(found, F.cross_entropy(pi, labels.argmax(1), reduction="none"))


def test_divergences_are_those_of_torchs_distributions():
    mu1, mu2, l1, l2 = (numbers(5, 3) for _ in range(4))
    one, other = Normal(mu1, (l1 / 2).exp()), Normal(mu2, (l2 / 2).exp())
    standard = Normal(torch.zeros_like(mu1), torch.ones_like(mu1))
    found = SUMMANDS["kl_gaussians"](mu1, l1, mu2, l2)
    torch.testing.assert_close(found, kl_divergence(one, other))
    torch.testing.assert_close(SUMMANDS["kl_normal"](mu1, l1), kl_divergence(one, standard))
    pi = torch.softmax(numbers(5, 4), 1)
    uniform = Categorical(probs=torch.full((5, 4), 0.25, dtype=torch.float64))
    found = SUMMANDS["kl_categorical"](pi).sum(1)
    torch.testing.assert_close(found, kl_divergence(Categorical(probs=pi), uniform))


@pytest.mark.parametrize(
    ("per", "expected"), [("sum", 66.0), ("image", 22.0), ("feature", 16.5), ("element", 5.5)]
)
def test_a_sum_is_divided_by_what_is_said(per, expected):
    assert reduced(torch.arange(12.0).reshape(3, 4), per) == expected


@pytest.mark.parametrize("name", RECIPES)
def test_a_terms_weight_in_the_total_is_the_totals_derivative(name):
    recipe = RECIPES[name]
    layers = Layers(recipe, recipe.settings(), 1)
    terms = [stage for stage in recipe.stages if stage.is_term]
    sums = {stage.name for stage in terms if layers.term(stage).kind == "sum"}
    values = {
        stage.name: torch.tensor(1.5, dtype=torch.float64, requires_grad=True)
        for stage in terms
        if stage.name not in sums
    }
    results = dict(values)
    for stage in terms:
        if stage.name in sums:
            results[stage.name] = layers.term(stage).value([results[n] for n in stage.inputs])
    found = torch.autograd.grad(results["total"], list(values.values()))
    assert [layers.coefficient(one) for one in values] == [float(value) for value in found]


def test_the_articles_regulariser_follows_its_objective():
    recipe = RECIPES["conv"]
    layers = [Layers(recipe, settings, 1) for settings in recipe.runs("all")]
    kinds = [one.term(one.stages["regulariser"]).kind for one in layers]
    assert kinds == ["kl_normal", "half_mu_squared", "expected_prior"]


def test_a_term_has_its_stages_divisor_weights_and_options():
    gaussian = Stage("a", "gaussian", ("x", "y"), None, {"variance": 0.5, "per": "image"})
    assert Term.of_stage(gaussian) == Term("gaussian", "image", (), {"variance": 0.5})
    both = Stage("total", "sum", ("a", "b"), None, {"weights": (1.0, 8.0)})
    assert Term.of_stage(both) == Term("sum", "sum", (1.0, 8.0))
