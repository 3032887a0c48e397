from __future__ import annotations

import math
from types import SimpleNamespace

import hypothesis
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from comparisons.seeds.measures import RunOutcome, measures
from pyvae.errors import UserError
from pyvae.metrics.latents import (
    active_units,
    kl_by_dimension,
    knn_accuracy,
    marked_gap,
    posterior_spread,
)
from pyvae.model.loss_terms import kl_gaussians

modest = hypothesis.settings(max_examples=60)
pytestmark = pytest.mark.filterwarnings("error")


def with_spreads(*spreads):
    """Latent means (4, L) whose standard deviations over images are exactly these."""
    return torch.tensor([[1.0], [-1.0], [1.0], [-1.0]], dtype=torch.float64) * torch.tensor(spreads)


@pytest.mark.parametrize(
    ("spreads", "active"),
    [((1.0, 0.2, 0.0), 2), ((0.11, 0.09), 1), ((0.0, 0.0), 0), ((3.0, 2.0, 1.0), 3)],
)
def test_active_units_are_those_of_variance_above_a_hundredth(spreads, active):
    assert active_units(with_spreads(*spreads)) == active
    assert active_units(with_spreads(*spreads) + 7) == active  # where the mean lies is no matter


def test_the_threshold_is_of_the_variance_and_exclusive():
    assert active_units(with_spreads(0.5), threshold=0.25) == 0
    assert active_units(with_spreads(0.5), threshold=0.2499) == 1


@modest
@given(arrays(np.float64, (9, 4), elements=st.floats(-1, 1)))
def test_active_units_are_those_of_the_comparison(mu):
    outcome = RunOutcome("pytorch", "vae", 1, np.ones((1, 3)), np.zeros(1), 9, mu)
    assert active_units(torch.from_numpy(mu)) == measures(outcome)["active_units"]


def test_latents_that_diverged_have_no_number():
    mu = with_spreads(1.0, 0.5)
    mu[2, 1] = math.nan
    assert math.isnan(active_units(mu))
    gap = marked_gap(mu)
    assert math.isnan(gap.ratio)
    assert gap.above == 0


def test_posterior_spread_is_that_of_constructed_latents():
    log_var = with_spreads(0.0, 2.0) - 1
    spread = posterior_spread(with_spreads(0.0, 1.5) + 3, log_var)
    np.testing.assert_allclose(spread.mu_sd, [0, 1.5], atol=1e-15)
    np.testing.assert_allclose(spread.log_var_sd, [0, 2], atol=1e-15)
    expected = [math.exp(-0.5), (math.exp(0.5) + math.exp(-1.5)) / 2]
    np.testing.assert_allclose(spread.mean_sigma, expected, rtol=1e-14)


def test_the_kl_of_each_dimension_is_that_of_torch_distributions():
    rng = np.random.default_rng(3)
    mu, log_var, prior_mu, prior_log_var = (
        torch.from_numpy(rng.normal(size=(30, 4))) for _ in "four"
    )
    posterior = torch.distributions.Normal(mu, (0.5 * log_var).exp())
    for priors, prior in (
        ((), torch.distributions.Normal(torch.zeros(4, dtype=torch.float64), 1.0)),
        (
            (prior_mu, prior_log_var),
            torch.distributions.Normal(prior_mu, (0.5 * prior_log_var).exp()),
        ),
    ):
        expected = torch.distributions.kl_divergence(posterior, prior).mean(dim=0)
        np.testing.assert_allclose(kl_by_dimension(mu, log_var, *priors), expected, rtol=1e-12)
    whole = kl_gaussians(mu, log_var, prior_mu, prior_log_var) / 30
    each = kl_by_dimension(mu, log_var, prior_mu, prior_log_var)
    assert each.sum() == pytest.approx(whole.item(), rel=1e-12)


def test_a_posterior_that_is_nearly_the_prior_has_a_kl_above_0():
    """exp(v) - 1 - v has no correct digit left at v = 1e-9, and could be negative."""
    log_var = np.full((2, 1), 1e-9)
    assert kl_by_dimension(np.zeros((2, 1)), log_var)[0] >= 0


def test_spread_and_sigma_make_up_the_aggregated_posterior():
    """The law of total variance, by drawing from the mixture."""
    rng = np.random.default_rng(8)
    mu, log_var = rng.normal(size=(50, 2)), np.full((50, 2), math.log(0.25))
    drawn = mu + 0.5 * rng.normal(size=(20_000, 50, 2))
    spread = posterior_spread(torch.from_numpy(mu), torch.from_numpy(log_var))
    total = spread.mu_sd**2 + spread.mean_sigma**2  # sigma is the same for all images
    np.testing.assert_allclose(drawn.reshape(-1, 2).var(axis=0), total, rtol=0.01)


@pytest.mark.parametrize(
    ("spreads", "ratio", "above"),
    [
        ((0.01, 1.0, 0.02, 0.8), 40, 2),
        ((1.0, 0.5, 0.25, 0.01), 25, 3),
        ((6.0, 0.5, 0.5, 0.5), 12, 1),
        ((1.0, 1.0, 1.0), 1, 1),
        ((1.0, 0.0, 0.5), math.inf, 2),
        ((0.0, 0.0), 1, 1),
    ],
)
def test_the_gap_is_the_widest_ratio_of_sorted_spreads(spreads, ratio, above):
    gap = marked_gap(with_spreads(*spreads))
    assert gap.ratio == pytest.approx(ratio, rel=1e-6)
    assert gap.above == above
    ordered = sorted(spreads, reverse=True)
    assert gap.smallest_above == pytest.approx(ordered[above - 1], rel=1e-6)
    assert gap.largest_below == pytest.approx(ordered[above], rel=1e-6)


def test_gaps_between_silent_dimensions_count_only_above_the_floor():
    mu = with_spreads(1.0, 0.9, 0.02, 1e-5)
    assert marked_gap(mu).above == 3
    gap = marked_gap(mu, floor=0.1)
    assert gap.above == 2
    assert gap.ratio == pytest.approx(9, rel=1e-6)


@modest
@given(arrays(np.float64, (8, 5), elements=st.integers(-3, 3)), st.permutations(range(5)))
def test_the_gap_follows_neither_order_nor_unit(mu, order):
    # whole numbers, eight images: the variances are exact
    gap = marked_gap(mu, floor=0.01)
    assert gap.ratio >= 1
    assert 1 <= gap.above <= 4
    assert marked_gap(mu[:, order], floor=0.01) == gap
    doubled = marked_gap(2 * mu, floor=0.02)
    assert (doubled.ratio, doubled.above) == (gap.ratio, gap.above)


@pytest.fixture
def blobs():
    """Three blobs far from each other, 40 points each."""
    rng = np.random.default_rng(2)
    labels = np.repeat([4, 7, 9], 40)
    centres = {4: (0, 0), 7: (30, 0), 9: (0, 30)}
    latents = np.array([centres[label] for label in labels]) + rng.normal(size=(120, 2))
    order = rng.permutation(120)
    latents, labels = torch.from_numpy(latents[order]), torch.from_numpy(labels[order])
    return SimpleNamespace(
        train=(latents[:90], labels[:90]), test=(latents[90:], labels[90:]), labels=labels
    )


def test_neighbours_know_the_classes_of_separate_blobs(blobs):
    assert knn_accuracy(*blobs.train, *blobs.test) == 1
    wrong = torch.where(blobs.test[1] == 4, 7, 4)
    assert knn_accuracy(*blobs.train, blobs.test[0], wrong) == 0


def test_the_nearest_neighbour_is_the_one_of_brute_force(blobs):
    rng = np.random.default_rng(1)
    train, test = rng.normal(size=(60, 3)), rng.normal(size=(25, 3))
    known, asked = rng.integers(0, 3, 60), rng.integers(0, 3, 25)
    nearest = ((test[:, None] - train[None]) ** 2).sum(2).argmin(1)
    expected = (known[nearest] == asked).mean()
    assert knn_accuracy(train, known, test, asked, k=1) == expected


def test_all_training_images_as_neighbours_vote_for_the_commonest_class(blobs):
    latents, _ = blobs.train
    labels = torch.tensor([1] * 50 + [0] * 40)
    assert knn_accuracy(latents, labels, blobs.test[0], torch.ones(30).long(), k=90) == 1


def test_neighbours_of_latents_that_diverged_have_no_accuracy(blobs):
    latents, labels = blobs.test
    assert math.isnan(knn_accuracy(*blobs.train, latents * math.nan, labels))


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda z, y: active_units(z[0]), r"mu of shape \(2,\): expected \(N, L\)"),
        (lambda z, y: active_units(z[:0]), r"mu of shape \(0, 2\).*at least one image"),
        (lambda z, y: posterior_spread(z, z[:, :1]), r"log_var of shape \(120, 1\): expected that"),
        (lambda z, y: kl_by_dimension(z, z[:, :1]), r"log_var of shape \(120, 1\): expected that"),
        (lambda z, y: marked_gap(z[:, :1]), "a gap needs 2 latent dimensions or more, not 1"),
        (lambda z, y: marked_gap(z, floor=-1), r"floor is -1: expected 0 or more"),
        (lambda z, y: knn_accuracy(z, y, z, y, k=0), r"k is 0: expected 1 to 120"),
        (lambda z, y: knn_accuracy(z, y, z, y, k=121), r"k is 121: expected 1 to 120"),
        (lambda z, y: knn_accuracy(z, y[:3], z, y), r"train_labels of shape \(3,\): expected"),
        (lambda z, y: knn_accuracy(z, y, z, y[:3]), r"test_labels of shape \(3,\): expected"),
        (lambda z, y: knn_accuracy(z, y, z[:, :1], y), r"latents of 1 dimensions: expected 2"),
        (lambda z, y: knn_accuracy(z, y, z[0], y), r"test_latents of shape \(2,\)"),
    ],
)
def test_bad_input_is_the_users_error_in_one_line(blobs, call, words):
    latents = torch.cat([blobs.train[0], blobs.test[0]])
    with pytest.raises(UserError, match=words) as caught:
        call(latents, blobs.labels)
    assert "\n" not in str(caught.value)
