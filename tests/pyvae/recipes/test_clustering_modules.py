"""How q(y|x), q(z|x,y), p(z|y) and p(x|z) are joined, on the smallest of the networks."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch

from pyvae.model.modules import GumbelSoftmax
from pyvae.recipes.clustering_modules import ClusteringVAE
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


def test_samples_of_the_prior_are_made_where_their_noise_is(network):
    on_meta = network.eval().to("meta")
    assert on_meta.from_prior(torch.zeros((5, L), dtype=torch.float64, device="meta")).is_meta


def test_looking_at_the_posterior_draws_no_z(network, x):
    """In training mode, too, where y is drawn and z is not needed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        network.train().posterior(x)
        after = torch.get_rng_state()
        torch.manual_seed(1)
        torch.rand(B, K, dtype=torch.float64)
        assert torch.equal(torch.get_rng_state(), after)


class Told(torch.nn.Module):
    """A part that returns what it is to, and writes down what it was given."""

    def __init__(self, *results):
        super().__init__()
        self.results = list(results)
        self.told = []

    def forward(self, *arguments):
        self.told.append(arguments)
        return self.results[(len(self.told) - 1) % len(self.results)]


def array(*shape, seed):
    return torch.from_numpy(np.random.default_rng(seed).normal(size=shape))


@pytest.fixture
def parts():
    """px_z, pz_y, qy_x, qz_xy; each has a result for the images, and one for those with labels."""
    pi = [torch.softmax(array(rows, K, seed=rows), 1) for rows in (B, 2)]
    qz_xy = [tuple(array(rows, L, seed=seed) for seed in (1, 2, 3)) for rows in (B, 2)]
    return {
        "px_z": Told(*(array(rows, 4, seed=rows) for rows in (B, 2))),
        "pz_y": Told((array(B, L, seed=4), array(B, L, seed=5))),
        "qy_x": Told(*pi),
        "qz_xy": Told(*qz_xy),
    }


DRAWS = {
    "gumbel": array(B, K, seed=11),
    "noise": array(B, L, seed=12),
    "dropout": array(B, 4, seed=13) > 0,
}
LABELLED = {
    "labelled": array(2, 4, seed=14),
    "labels": torch.eye(K, dtype=torch.float64)[:2],
    "labelled_noise": array(2, L, seed=15),
    "labelled_dropout": array(2, 4, seed=16) > 0,
}


def same(found, expected):
    """The same tensors: not only equal ones."""
    assert len(found) == len(expected)
    assert all(one is other for one, other in zip(found, expected, strict=True))


def test_every_part_is_given_its_own_draws(parts):
    x, network = array(B, 4, seed=9), ClusteringVAE(**parts, clusters=K, temperature=0.5)
    output = network(x, DRAWS | LABELLED)  # labels are for who was made for them
    assert output.labelled is None
    ((given, draws),) = parts["qy_x"].told
    assert given is x
    assert draws["dropout"] is DRAWS["dropout"]
    ((given, y, noise),) = parts["qz_xy"].told
    same((given, noise), (x, DRAWS["noise"]))
    pi, (mu, log_var, z) = parts["qy_x"].results[0], parts["qz_xy"].results[0]
    assert torch.equal(y, GumbelSoftmax(0.5)(pi, DRAWS["gumbel"]))
    assert parts["pz_y"].told[0][0] is y
    same(parts["px_z"].told[0], (z,))
    expected = (parts["px_z"].results[0], mu, log_var, pi, *parts["pz_y"].results[0])
    same(output[:6], expected)


@pytest.mark.parametrize("masks", [True, False])
def test_images_with_labels_are_reconstructed_from_their_labels_and_have_draws_of_their_own(
    parts, masks
):
    network = ClusteringVAE(**parts, clusters=K, temperature=0.5, labelled=True)
    labelled = dict(LABELLED) if masks else {k: v for k, v in LABELLED.items() if "drop" not in k}
    output = network(array(B, 4, seed=9), DRAWS | labelled)
    x, labels = LABELLED["labelled"], LABELLED["labels"]
    given, draws = parts["qy_x"].told[1]
    assert given is x
    assert set(draws) == ({"dropout"} if masks else set())
    assert draws.get("dropout") is labelled.get("labelled_dropout")
    same(parts["qz_xy"].told[1], (x, labels, LABELLED["labelled_noise"]))
    same(parts["px_z"].told[1], (parts["qz_xy"].results[1][2],))
    assert output.pi is parts["qy_x"].results[0]  # what is said of the others stays
    same(output.labelled, (x, labels, parts["qy_x"].results[1], parts["px_z"].results[1]))


def test_without_images_with_labels_nothing_is_said_of_them(parts):
    network = ClusteringVAE(**parts, clusters=K, temperature=0.5, labelled=True)
    assert network(array(B, 4, seed=9), DRAWS).labelled is None
    assert network.eval()(array(B, 4, seed=9)).labelled is None
    assert parts["qy_x"].told[1][1] == {}


def test_the_encoder_hands_on_its_draws_and_asks_for_no_z(parts):
    x, network = array(B, 4, seed=9), ClusteringVAE(**parts, clusters=K, temperature=0.5)
    found = network.encoder(x, DRAWS)
    same(found, parts["qz_xy"].results[0][:2])
    same(parts["qy_x"].told[0], (x, DRAWS))
    given, y, noise = parts["qz_xy"].told[0]
    assert given is x
    assert torch.equal(y, GumbelSoftmax(0.5)(parts["qy_x"].results[0], DRAWS["gumbel"]))
    assert noise.item() == 0
    assert noise.dtype == x.dtype
