"""Objectives: each against its published formula by NumPy and scipy."""

from __future__ import annotations

from dataclasses import FrozenInstanceError

import numpy as np
import pytest
import torch
from scipy import special, stats
from torch.distributions import Normal

from pyvae.model.objectives import LOSSES, OBJECTIVES
from pyvae.recipes import RECIPES
from pyvae.recipes.clustering_modules import ClusteringOutput, Labelled

every_objective = pytest.mark.parametrize("objective", OBJECTIVES.values(), ids=list(OBJECTIVES))
pytestmark = pytest.mark.filterwarnings("error")
HYPER = {"beta": 0.7, "variance": 0.3, "alpha": 2.5, "labelled_weight": 0.4}
B, N, K, L, F = 5, 3, 4, 2, 6


def made(rng, images, labelled=None):
    """x and what a network returned for them; every recipe's network returns some of it."""

    def array(*shape):
        return torch.from_numpy(rng.normal(size=(images, *shape)))

    x, pixels = (torch.from_numpy(rng.uniform(0.02, 0.98, (images, F))) for _ in range(2))
    pi = torch.from_numpy(rng.dirichlet(np.ones(K), images))
    return x, ClusteringOutput(pixels, array(L), array(L), pi, array(L), array(L), labelled)


@pytest.fixture
def batch():
    """Five images, and three with labels."""
    rng = np.random.default_rng(5)
    x, output = made(rng, N)
    labels = torch.eye(K, dtype=torch.float64)[rng.integers(0, K, N)]
    return made(rng, B, Labelled(x, labels, output.pi, output.pixels))


def by_hand(name, x, output):
    """Total and reconstruction, by the formulas of the write-ups."""
    o = {k: v.numpy() for k, v in output._asdict().items() if k != "labelled"}
    x, labelled = x.numpy(), output.labelled

    def bce(x, p):
        return -(special.xlogy(x, p) + special.xlog1py(1 - x, -p)).sum()

    mu, variance = o["mu"], np.exp(o["log_var"])
    normal = 0.5 * (mu**2 + variance - np.log(variance) - 1).sum()
    if name in ("vae", "emae", "em"):
        regulariser = {
            "vae": normal,
            "emae": 0.5 * (mu**2).sum(),
            "em": 0.5 * (mu**2 + variance).sum(),
        }[name]
        return bce(x, o["pixels"]) + regulariser, bce(x, o["pixels"])
    if name == "elbo":
        return (bce(x, o["pixels"]) + normal) / B, bce(x, o["pixels"]) / B
    if name == "beta":
        error = ((x - o["pixels"]) ** 2).mean()
        return error + HYPER["beta"] * normal / B, error
    classes = (o["pi"] * np.log(o["pi"] * K)).sum()
    prior = np.exp(o["prior_log_var"])
    gaussians = (
        0.5 * (np.log(prior / variance) + (variance + (mu - o["prior_mu"]) ** 2) / prior - 1).sum()
    )
    if name == "clustering-points":
        error = -stats.norm.logpdf(x, o["pixels"], np.sqrt(HYPER["variance"])).sum()
        return error + classes + HYPER["beta"] * gaussians, error
    divergences = classes + HYPER["beta"] * gaussians
    if name == "clustering":
        return bce(x, o["pixels"]) + divergences, bce(x, o["pixels"])
    assert name == "semi-supervised"
    error = bce(x, o["pixels"]) + HYPER["labelled_weight"] * bce(
        labelled.x.numpy(), labelled.pixels.numpy()
    )
    picked = (labelled.pi * labelled.labels).sum(1).numpy()
    entropy = (special.logsumexp(labelled.pi.numpy(), axis=1) - picked).sum()
    return error + divergences + HYPER["alpha"] * entropy, error


@every_objective
def test_it_is_the_published_formula(objective, batch):
    losses = objective(*batch, HYPER)
    total, reconstruction = by_hand(objective.name, *batch)
    assert losses["total"].item() == pytest.approx(total, rel=1e-12)
    assert losses["reconstruction"].item() == pytest.approx(reconstruction, rel=1e-12)


@every_objective
def test_the_total_is_the_weighted_sum_of_its_parts(objective, batch):
    losses = objective(*batch, HYPER)
    weight = HYPER["beta"] if objective.weight else 1.0
    expected = losses["reconstruction"] + weight * losses["regulariser"]
    torch.testing.assert_close(losses["total"], expected, rtol=1e-15, atol=0)
    assert all(loss.shape == () for loss in losses.values())


@pytest.mark.parametrize("name", ["clustering", "clustering-points", "semi-supervised"])
def test_the_parts_are_weighted_sums_of_the_further_terms(name, batch):
    losses = OBJECTIVES[name](*batch, HYPER)
    regulariser = losses["categorical_kl"] + HYPER["beta"] * losses["gaussian_kl"]
    if name == "semi-supervised":
        regulariser = regulariser + HYPER["alpha"] * losses["cross_entropy"]
        reconstruction = (
            losses["unlabelled_reconstruction"]
            + HYPER["labelled_weight"] * losses["labelled_reconstruction"]
        )
        torch.testing.assert_close(losses["reconstruction"], reconstruction)
    torch.testing.assert_close(losses["regulariser"], regulariser, rtol=1e-14, atol=0)


def test_a_weight_that_is_not_given_is_one(batch):
    losses = OBJECTIVES["beta"](*batch)
    assert torch.equal(losses["total"], losses["reconstruction"] + losses["regulariser"])


@every_objective
def test_its_terms_are_those_that_it_names(objective, batch):
    assert set(objective(*batch, HYPER)) == set(objective.terms)
    assert objective.terms[:3] == LOSSES
    assert len(set(objective.terms)) == len(objective.terms)


@pytest.mark.parametrize("name", [name for name in OBJECTIVES if name != "semi-supervised"])
def test_losses_are_sums_or_means_over_images_as_it_says(name, batch):
    objective = OBJECTIVES[name]
    x, output = batch

    def losses(rows):
        part = output._replace(
            **{k: v[rows] for k, v in output._asdict().items() if k != "labelled"}
        )
        found = objective(x[rows], part, HYPER)
        return torch.stack([found[name] for name in objective.terms])

    chosen = (slice(0, 1), slice(1, 3), slice(3, 5))
    shares = [1 / 5, 2 / 5, 2 / 5] if objective.mean else [1, 1, 1]
    parts = sum(share * losses(rows) for share, rows in zip(shares, chosen, strict=True))
    torch.testing.assert_close(parts, losses(slice(None)), rtol=1e-13, atol=0)


@every_objective
@pytest.mark.parametrize("images", [1, 7])
def test_the_loss_of_one_image_is_that_of_the_mean_image(objective, images):
    expected = 21.0 if objective.mean else 21.0 / images
    assert objective.per_image(21.0, images) == expected


@every_objective
def test_what_is_not_in_nats_per_image_is_not_called_so(objective):
    assert (objective.column == "nats_per_image") == (objective.unit == "nats per image")
    assert objective.column in ("nats_per_image", "loss")
    assert objective.formula


@every_objective
def test_a_loss_in_words_has_its_unit(objective):
    if objective.unit:
        assert objective.words(183.31749) == f"183.317 {objective.unit}"
        assert objective.words(183.31749, 1) == f"183.3 {objective.unit}"
    else:
        assert objective.words(0.0123456) == "loss 0.012346"


@every_objective
def test_gradients_are_those_of_finite_differences(objective, batch):
    x, output = batch
    tensors = [*output[:6], output.labelled.pi, output.labelled.pixels]
    tensors = [tensor.clone().requires_grad_() for tensor in tensors]

    def total(*tensors):
        labelled = output.labelled._replace(pi=tensors[6], pixels=tensors[7])
        return objective(x, ClusteringOutput(*tensors[:6], labelled), HYPER)["total"]

    assert torch.autograd.gradcheck(total, tensors)


def test_emae_does_not_look_at_the_variance(batch):
    x, output = batch
    wider = output._replace(log_var=output.log_var + 3)
    for name, same in (("emae", True), ("vae", False), ("em", False)):
        objective = OBJECTIVES[name]
        totals = objective(x, wider)["total"], objective(x, output)["total"]
        assert torch.equal(*totals) is same


def test_em_is_the_vae_without_exactly_the_entropy_of_the_posterior(batch):
    """Up to log(2 pi)/2 for each dimension, which both leave out."""
    x, output = batch
    entropy = Normal(output.mu, (output.log_var / 2).exp()).entropy().sum()
    left_out = output.mu.numel() * np.log(2 * np.pi) / 2
    expected = OBJECTIVES["vae"](x, output)["total"] + entropy - left_out
    torch.testing.assert_close(OBJECTIVES["em"](x, output)["total"], expected, rtol=1e-14, atol=0)


def test_the_elbo_is_the_vaes_loss_of_one_image(batch):
    for name in LOSSES:
        expected = OBJECTIVES["vae"](*batch)[name] / B
        torch.testing.assert_close(OBJECTIVES["elbo"](*batch)[name], expected)


def test_the_registry_knows_objectives_by_their_names():
    assert [objective.name for objective in OBJECTIVES.values()] == list(OBJECTIVES)
    known = {name for recipe in RECIPES.values() for name in (*recipe.objectives, *recipe.further)}
    assert known == set(OBJECTIVES)


def test_objectives_are_immutable():
    with pytest.raises(FrozenInstanceError):
        OBJECTIVES["vae"].mean = True


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=list(RECIPES))
def test_a_recipe_has_the_hyperparameters_that_its_objectives_weigh_with(recipe):
    hyper = recipe.settings().hyper
    for name in recipe.objectives:
        weight = OBJECTIVES[name].weight
        assert not weight or weight in hyper
