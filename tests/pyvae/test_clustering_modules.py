"""How q(y|x), q(z|x,y), p(z|y) and p(x|z) are joined, on the smallest of the networks."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch

from pyvae.recipes.clustering_toy import CLUSTERING_TOY

K, L, B = 3, 2, 8


@pytest.fixture
def network():
    network = CLUSTERING_TOY.network(L, clusters=K, temperature=0.5).double()
    network.load_state_dict(CLUSTERING_TOY.initial_parameters(5, L, clusters=K))
    return network


@pytest.fixture
def x():
    return torch.from_numpy(np.random.default_rng(1).normal(size=(B, 2)))


def test_the_encoder_is_made_of_the_networks_own_parts(network, x):
    """Its parameters are there once, and it is in the network's mode."""
    names = [name for name, _ in network.named_parameters()]
    assert len(names) == len(set(names))
    assert not any("encoder" in name for name in network.state_dict())
    assert network.decoder is network.px_z
    other = copy.deepcopy(network).eval()
    with torch.no_grad():
        before = other.posterior(x)[0]
        other.qz_xy.fc4.weight += 1
        assert not torch.equal(other.posterior(x)[0], before)
        assert torch.equal(network.eval().posterior(x)[0], before)  # a copy has parts of its own


def test_in_evaluation_mode_y_is_its_probabilities_and_z_its_mean(network, x):
    network.eval()
    with torch.no_grad():
        output = network(x)
        pi = network.qy_x(x)
        mu, log_var, z = network.qz_xy(x, pi)
        prior_mu, prior_log_var = network.prior(pi)
        assert torch.equal(network.cluster(x), pi)
        assert torch.equal(z, mu)
        expected = (network.px_z(mu), mu, log_var, pi, prior_mu, prior_log_var)
    for one, other in zip(output, (*expected, None), strict=True):
        assert one is other is None or torch.equal(one, other)


def test_noise_that_is_given_is_used_in_evaluation_mode_too(network, x):
    """As a test loss is computed: z sampled, y not."""
    network.eval()
    noise = torch.from_numpy(np.random.default_rng(2).normal(size=(B, L)))
    with torch.no_grad():
        output = network(x, {"noise": noise})
        z = output.mu + torch.sqrt(torch.exp(output.log_var)) * noise
        torch.testing.assert_close(output.pixels, network.px_z(z), rtol=1e-12, atol=1e-14)
        assert torch.equal(output.pi, network.qy_x(x))


def test_every_image_has_a_posterior_of_its_own_that_depends_on_y(network, x):
    network.eval()
    one_hot = torch.eye(K, dtype=torch.float64)
    with torch.no_grad():
        means = [network.qz_xy(x, y.expand(B, K))[0] for y in one_hot]
    assert not torch.equal(means[0], means[1])


@pytest.mark.parametrize("images", [1, 3, 7])
def test_the_prior_is_drawn_from_the_clusters_in_turn(network, images):
    network.eval()
    noise = torch.from_numpy(np.random.default_rng(2).normal(size=(images, L)))
    with torch.no_grad():
        z = network.from_prior(noise)
        mu, log_var = network.prior(torch.eye(K, dtype=torch.float64))
    for row in range(images):
        expected = mu[row % K] + torch.sqrt(torch.exp(log_var[row % K])) * noise[row]
        torch.testing.assert_close(z[row], expected, rtol=1e-12, atol=1e-14)


def test_looking_at_the_posterior_draws_no_z(network, x):
    """In training mode, too, where y is drawn and z is not needed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        network.train().posterior(x)
        after = torch.get_rng_state()
        torch.manual_seed(1)
        torch.rand(B, K, dtype=torch.float64)
        assert torch.equal(torch.get_rng_state(), after)
