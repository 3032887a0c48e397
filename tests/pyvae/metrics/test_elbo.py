from __future__ import annotations

import math

import hypothesis
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import integrate, special, stats
from torch.distributions import Normal, kl_divergence

from pyvae.errors import UserError
from pyvae.metrics.elbo import elbo_parts, importance_weighted_bound, reconstruction_at
from pyvae.model.objectives import bernoulli_reconstruction

few = hypothesis.settings(max_examples=25)
pytestmark = pytest.mark.filterwarnings("error")
PIXELS, LATENTS = 12, 3


def bound(x, encode, decode, samples=2, **options):
    return importance_weighted_bound(x, encode, decode, samples, **options)


FUNCTIONS = {"elbo": elbo_parts, "reconstruction": reconstruction_at, "bound": bound}
every_function = pytest.mark.parametrize("function", FUNCTIONS.values(), ids=list(FUNCTIONS))


class Model:
    """A VAE of one linear layer each way; it writes down all latents that it decodes."""

    def __init__(self, dtype=torch.float64):
        rng = np.random.default_rng(4)
        self.mean, self.spread, self.back = (
            torch.from_numpy(rng.normal(size=shape)).to(dtype)
            for shape in ((PIXELS, LATENTS), (PIXELS, LATENTS), (LATENTS, PIXELS))
        )
        self.decoded: list[torch.Tensor] = []
        self.sizes: list[int] = []

    def encode(self, x):
        self.sizes.append(len(x))
        return x @ self.mean / 2, x @ self.spread / 2 - 1

    def decode(self, z):
        self.sizes.append(len(z))
        self.decoded.append(z)
        return torch.sigmoid(z @ self.back)


@pytest.fixture
def model():
    return Model()


@pytest.fixture
def x():
    """Seven images, most with grey pixels."""
    images = torch.from_numpy(np.random.default_rng(6).uniform(0, 1, (7, PIXELS)))
    images[:2] = images[:2].round()
    return images


def log_likelihood(x, pixels):
    """log p(x|z) per image by scipy, grey pixels as a cross-entropy."""
    return (special.xlogy(x, pixels) + special.xlog1py(1 - x, -pixels)).sum(-1)


def test_elbo_is_scipys_at_the_latents_that_were_decoded(model, x):
    parts = elbo_parts(x, model.encode, model.decode, seed=3, samples=4, batch_size=100)
    (z,) = model.decoded  # (4 * 7, LATENTS)
    pixels = special.expit(z.numpy() @ model.back.numpy()).reshape(4, 7, PIXELS)
    mu, log_var = model.encode(x)
    divergence = kl_divergence(Normal(mu, (log_var / 2).exp()), Normal(0.0, 1.0)).sum() / len(x)
    assert parts.reconstruction == pytest.approx(-log_likelihood(x.numpy(), pixels).mean())
    assert parts.kl == pytest.approx(divergence.item(), rel=1e-12)
    assert parts.negative_elbo == parts.reconstruction + parts.kl


def test_noise_is_standard_normal_around_the_posterior(model, x):
    elbo_parts(x, model.encode, model.decode, samples=3000, batch_size=10**6)
    mu, log_var = model.encode(x)
    epsilon = (model.decoded[0].reshape(3000, *mu.shape) - mu) / (log_var / 2).exp()
    assert stats.kstest(epsilon.flatten().numpy(), "norm").pvalue > 1e-3
    assert len(epsilon.unique()) == epsilon.numel()


def test_reconstruction_at_mu_is_that_of_the_objective(model, x):
    found = reconstruction_at(x, model.encode, model.decode, seed=2, samples=3)
    pixels = model.decode(model.encode(x)[0])
    assert found.at_mu == pytest.approx(bernoulli_reconstruction(pixels, x).item() / len(x))
    elbo = elbo_parts(x, model.encode, model.decode, seed=2, samples=3)
    assert found.at_samples == elbo.reconstruction


def test_without_variance_samples_are_the_mean(model, x):
    def sure(images):
        mu, _ = model.encode(images)
        return mu, torch.full_like(mu, -200)

    found = reconstruction_at(x, sure, model.decode)
    assert found.at_samples == pytest.approx(found.at_mu, rel=1e-12)


@pytest.mark.parametrize(
    ("image", "pixel", "nats"), [(1, 0, 100), (0, 1, 100), (0.5, 0, 50), (1, 1, 0), (0, 0, 0)]
)
def test_logarithms_are_held_at_minus_100(model, x, image, pixel, nats):
    x = torch.full_like(x, image)
    found = reconstruction_at(x, model.encode, lambda z: z.new_full((len(z), PIXELS), pixel))
    assert found == (nats * PIXELS, nats * PIXELS)


def test_the_bound_of_one_sample_is_the_elbo_by_scipy(model, x):
    found = importance_weighted_bound(x, model.encode, model.decode, k=1, seed=5)
    (z,) = (latents.numpy() for latents in model.decoded)
    mu, log_var = (tensor.numpy() for tensor in model.encode(x))
    likelihood = log_likelihood(x.numpy(), special.expit(z @ model.back.numpy()))
    prior = stats.norm.logpdf(z).sum(1)
    posterior = stats.norm.logpdf(z, mu, np.exp(log_var / 2)).sum(1)
    assert found == pytest.approx((likelihood + prior - posterior).mean(), rel=1e-12)


def test_the_bound_of_k_samples_is_scipys_logsumexp(model, x):
    found = importance_weighted_bound(x, model.encode, model.decode, k=6, batch_size=100)
    z = model.decoded[0].reshape(6, 7, LATENTS).numpy()
    mu, log_var = (tensor.numpy() for tensor in model.encode(x))
    weights = (
        stats.bernoulli.logpmf(1, special.expit(z @ model.back.numpy())) * x.numpy()
        + stats.bernoulli.logpmf(0, special.expit(z @ model.back.numpy())) * (1 - x.numpy())
    ).sum(2)
    weights += (stats.norm.logpdf(z) - stats.norm.logpdf(z, mu, np.exp(log_var / 2))).sum(2)
    expected = special.logsumexp(weights, axis=0) - np.log(6)
    assert found == pytest.approx(expected.mean(), rel=1e-12)


@few
@given(st.integers(1, 40), st.floats(0.01, 0.99))
def test_the_bound_is_exact_where_the_posterior_is_the_prior(k, pixel):
    """A decoder that does not look at z: p(x|z) = p(x), so every weight is p(x)."""
    x = torch.from_numpy(np.random.default_rng(k).integers(0, 2, (5, PIXELS)).astype(np.float64))
    found = importance_weighted_bound(
        x,
        lambda images: (images.new_zeros(len(images), 2), images.new_zeros(len(images), 2)),
        lambda z: z.new_full((len(z), PIXELS), pixel),
        k,
    )
    exact = stats.bernoulli.logpmf(x.numpy(), pixel).sum(1).mean()
    assert found == pytest.approx(exact, rel=1e-12)


def one_latent():
    """A VAE of one latent dimension with a posterior that is off; 3,000 times one image, and
    log p(x) by quadrature."""
    slope, offset = np.linspace(-1.5, 2.0, PIXELS), np.linspace(0.5, -0.5, PIXELS)
    image = (np.arange(PIXELS) % 3 > 0).astype(np.float64)

    def density(z):
        pixels = special.expit(slope * z + offset)
        return stats.bernoulli.pmf(image, pixels).prod() * stats.norm.pdf(z)

    exact = math.log(integrate.quad(density, -12, 12, epsabs=1e-14)[0])

    def encode(x):
        return x.new_full((len(x), 1), 0.9), x.new_full((len(x), 1), math.log(0.8))

    def decode(z):
        return torch.sigmoid(z * torch.from_numpy(slope) + torch.from_numpy(offset))

    return torch.from_numpy(image).repeat(3000, 1), encode, decode, exact


def test_the_bound_rises_with_k_to_the_log_likelihood_by_quadrature():
    x, encode, decode, exact = one_latent()
    bounds = [importance_weighted_bound(x, encode, decode, k) for k in (1, 2, 5, 20, 100)]
    assert bounds == sorted(bounds)
    assert bounds[0] < exact - 0.1
    assert bounds[-1] == pytest.approx(exact, abs=0.01)


def test_the_elbo_is_the_bound_of_one_sample_in_expectation():
    x, encode, decode, _ = one_latent()
    bound = importance_weighted_bound(x, encode, decode, k=1)
    assert -elbo_parts(x, encode, decode).negative_elbo == pytest.approx(bound, abs=0.1)


@every_function
@few
@given(st.integers(1, 60), st.integers(1, 5))
def test_batches_change_nothing_but_memory(function, batch_size, samples):
    images = torch.from_numpy(np.random.default_rng(6).uniform(0, 1, (7, PIXELS)))
    whole, parts = Model(), Model()
    expected = function(images, whole.encode, whole.decode, samples=samples, batch_size=10**6)
    found = function(images, parts.encode, parts.decode, samples=samples, batch_size=batch_size)
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    assert max(parts.sizes) <= batch_size


@every_function
def test_results_follow_from_the_seed_and_leave_torchs_generator(function, model, x):
    state = torch.get_rng_state()
    one, again, other = (function(x, model.encode, model.decode, seed=s) for s in (1, 1, 2))
    assert one == again
    assert one != other
    assert torch.equal(torch.get_rng_state(), state)


def test_more_samples_begin_with_those_of_fewer(model, x):
    elbo_parts(x, model.encode, model.decode, samples=2)
    importance_weighted_bound(x, model.encode, model.decode, k=5)
    fewer, more = model.decoded
    assert torch.equal(more[: len(fewer)], fewer)


@every_function
def test_no_gradient_is_kept(function, model, x):
    model.mean.requires_grad_()
    function(x, model.encode, model.decode)
    assert not any(z.requires_grad for z in model.decoded)


@every_function
def test_float32_gives_float64_up_to_rounding(function, x):
    double, single = Model(), Model(torch.float32)
    expected = function(x, double.encode, double.decode)
    found = function(x.float(), single.encode, single.decode)
    np.testing.assert_allclose(found, expected, rtol=1e-5)


@every_function
def test_a_run_that_diverged_gives_nan(function, model, x):
    found = function(x, model.encode, lambda z: model.decode(z) * math.nan)
    assert np.isnan(found if isinstance(found, float) else found[-1])


@every_function
@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"samples": 0}, r"(samples|k) is 0: expected 1 or more"),
        ({"samples": -3}, r"(samples|k) is -3: expected 1 or more"),
        ({"batch_size": 0}, r"batch_size is 0: expected 1 or more"),
        ({"seed": -1}, r"seed is -1: expected 0 or more"),
        ({"x": torch.zeros(3)}, r"images of shape \(3,\): expected \(N, pixels\)"),
        ({"x": torch.zeros(0, PIXELS)}, r"images of shape \(0, 12\).*at least one"),
        ({"x": torch.full((2, PIXELS), 255)}, r"int64 from 255 to 255.*Divide bytes by 255"),
        ({"x": torch.full((2, PIXELS), 1.5)}, r"from 1.5 to 1.5: expected floats in \[0, 1\]"),
        ({"x": torch.full((2, PIXELS), math.nan)}, r"from nan to nan: expected floats"),
        ({"encode": lambda x: (x, x[:, :2])}, r"encode returned mu and log_var of \(7, 12\) and"),
        ({"encode": lambda x: (x[:3], x[:3])}, r"for 7 images: expected \(7, L\) for both"),
        ({"decode": lambda z: z}, r"decode returned shape \(\d+, 3\): expected \(\d+, 12\)"),
        (
            {"decode": lambda z: z.new_full((len(z), PIXELS), -2.5)},
            r"pixels from -2.5 to -2.5: expected probabilities in \[0, 1\]. End the decoder with",
        ),
    ],
)
def test_bad_input_is_the_users_error_in_one_line(function, model, x, change, words):
    arguments = {"x": x, "encode": model.encode, "decode": model.decode} | change
    with pytest.raises(UserError, match=words) as caught:
        function(**arguments)
    assert "\n" not in str(caught.value)
