"""R's random numbers in Python: against R itself, to the bit."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from pyvae.errors import UserError
from pyvae.model.draws import Gumbel, Keep, Normal
from pyvae.recipes import get_recipe
from r_bridge import R_FILES
from r_bridge.engines.r_random import RGenerator, RRandom, _qnorm
from r_bridge.engines.stage_network import own_draws
from r_bridge.process.client import RProcess

RANDOM_R = R_FILES / "base_r" / "random.R"
SEEDS = [0, 1, 2, 123456, 2**31 - 1]

r_test = pytest.mark.r
seeds = pytest.mark.parametrize("seed", SEEDS)


@pytest.fixture(scope="module")
def r():
    with RProcess(sources=(RANDOM_R,)) as process:
        yield process


def start(r, seed):
    """R's generator and ours after the same seed."""
    r.evaluate(f"random_start({seed}L); NULL")
    return RRandom(seed)


def assert_same(ours, theirs):
    """The same shape and bits, and so the same sign of zero."""
    assert ours.dtype == theirs.dtype
    assert ours.shape == theirs.shape
    assert ours.tobytes() == theirs.tobytes()


def assert_same_state(r, random):
    assert_same(random.state(), r.evaluate("random_state()[-1L]"))


@r_test
@seeds
def test_uniforms_are_rs(r, seed):
    random = start(r, seed)
    assert_same_state(r, random)
    for n in (1, 623, 624, 625, 100_000):  # around the ends of the twister's words
        assert_same(random.unif_rand(n), r.call("runif", n=n))
        assert_same_state(r, random)


@r_test
@seeds
def test_normals_are_rs(r, seed):
    random = start(r, seed)
    normals = random.norm_rand(100_000)
    assert np.abs(normals).max() > 4  # tails are among them
    assert_same(normals, r.call("rnorm", n=100_000))
    assert_same_state(r, random)


@r_test
@seeds
@pytest.mark.parametrize("n", [1, 2, 7, 250, 32_769, 60_000, 65_537])
def test_permutations_are_rs(r, seed, n):
    random = start(r, seed)
    order = random.sample(n)
    assert order.dtype == np.int64
    assert np.array_equal(order, r.call("random_order", n=n) - 1)
    assert_same_state(r, random)


@r_test
@seeds
def test_interleaved_draws_are_rs(r, seed):
    random = start(r, seed)
    for n in (3, 1, 250, 700, 2):
        assert np.array_equal(random.sample(n), r.call("sample.int", n=n) - 1)
        assert_same(random.norm_rand(n), r.call("rnorm", n=n))
        assert_same(random.unif_rand(n), r.call("runif", n=n))
    assert_same_state(r, random)


@r_test
def test_words_of_zero_are_kept_inside_the_interval_as_in_r(r):
    """A word 0 comes out as 0, which R moves up; two make a normal in the farthest tail."""
    random = start(r, 1)
    words = random.state()
    words[0] = 1  # the place; words counted from 1 there too
    words[[2, 3, 6, 8, 9, 13]] = 0
    for draw, theirs in ((random.unif_rand, "runif"), (random.norm_rand, "rnorm")):
        random.restore(words)
        r.call("random_restore", state=np.concatenate([[10403], words]).astype(np.int32))
        ours = draw(100)
        assert_same(ours, r.call(theirs, n=100))
        assert abs(ours).min() > 0
    assert ours.min() < -8


@r_test
def test_normal_quantiles_are_rs_in_all_branches_and_at_their_ends(r):
    ends = [0.5, 0.075, 0.925, math.exp(-25), 1.0]
    near = [np.nextafter(p, side) for p in ends for side in (0, 1)]
    tails = 2.0 ** -np.arange(1, 60)
    p = np.concatenate([ends, near, tails, 1 - tails[:53], np.linspace(1e-4, 1 - 1e-4, 10_001)])
    assert_same(_qnorm(p), r.call("qnorm", p=p))


@r_test
def test_both_go_on_from_a_state_of_either(r):
    random = start(r, 5)
    random.norm_rand(1000)
    r.call("random_restore", state=np.concatenate([[10403], random.state()]).astype(np.int32))
    expected = random.unif_rand(1000)
    assert_same(expected, r.call("runif", n=1000))

    kept = r.call("random_state")
    expected = r.call("rnorm", n=1000)
    r.call("random_restore", state=kept)
    assert_same(expected, r.call("rnorm", n=1000))
    random = RRandom(0)
    random.restore(kept[1:])
    assert_same(random.norm_rand(1000), expected)


@r_test
@pytest.mark.parametrize("latent_dim", [2, 30])
def test_initial_parameters_are_rs(r, conv, latent_dim):
    r.evaluate("random_start(123L); NULL")
    generator = RGenerator(123)
    ours = generator.initial_parameters(conv, latent_dim)
    own = own_draws(conv, conv.settings(latent_dim=latent_dim))
    theirs = r.call("initial_parameters", layers=own["layers"])
    assert list(ours) == list(theirs) == conv.parameter_names(latent_dim)
    for name, value in ours.items():
        assert_same(value.numpy(), np.ascontiguousarray(theirs[name]))
    assert_same_state(r, generator)


@r_test
@pytest.mark.parametrize("n", [1, 12, 250])
def test_a_runs_draws_are_rs(r, conv, n):
    r.evaluate("random_start(7L); NULL")
    generator = RGenerator(7)
    assert np.array_equal(generator.batch_order(600), r.call("random_order", n=600) - 1)
    for _ in range(2):
        ours = generator.step(n, conv.draws(30), "float64")
        theirs = r.call("random_draws", n=n, draws=own_draws(conv, conv.settings())["draws"])
        assert list(ours) == list(theirs)
        for name, value in ours.items():
            assert value.shape == (n, *conv.draws(30)[name].shape)
            assert_same(value.reshape(n, -1), np.ascontiguousarray(theirs[name]))
    normal = r.call("random_normal", rows=16, columns=30)
    assert_same(generator.normal((16, 30), "float64"), np.ascontiguousarray(normal))
    assert_same_state(r, generator)


@r_test
def test_the_start_in_r_forgets_what_the_session_had_set(r):
    r.evaluate("suppressWarnings(RNGkind('Wichmann-Hill', 'Box-Muller', 'Rounding')); rnorm(1)")
    random = start(r, 3)
    assert_same(random.norm_rand(10), r.call("rnorm", n=10))
    assert np.array_equal(random.sample(10), r.call("sample.int", n=10) - 1)


def test_numbers_that_rs_users_know():
    """The opening of many an R example: set.seed(42) and set.seed(123)."""
    assert RRandom(42).unif_rand(3) == pytest.approx([0.9148060, 0.9370754, 0.2861395], abs=5e-8)
    assert RRandom(123).norm_rand(3) == pytest.approx(
        [-0.56047565, -0.23017749, 1.55870831], abs=5e-9
    )
    assert (RRandom(42).sample(10) + 1).tolist() == [1, 5, 10, 8, 2, 4, 6, 9, 7, 3]


@seeds
def test_a_restored_generator_goes_on_as_if_nothing_had_been(seed):
    random = RRandom(seed)
    random.sample(1000)
    kept = random.state()
    expected = random.norm_rand(1000)
    random.restore(kept)
    assert_same(random.norm_rand(1000), expected)
    other = RGenerator(1)
    other.restore(kept)
    assert_same(other.normal((1000, 1), "float64").ravel(), expected)


def test_nothing_drawn_is_nothing_changed():
    random = RRandom(1)
    kept = random.state()
    assert [random.unif_rand(0).size, random.norm_rand(0).size, random.sample(0).size] == [0] * 3
    assert_same(random.state(), kept)


def test_initial_parameters_have_the_bounds_of_pytorchs(conv):
    ours = RGenerator(4).initial_parameters(conv, 30)
    theirs = conv.initial_parameters(4, 30)
    network = conv.network(30)
    assert list(ours) == list(theirs)
    for name, value in ours.items():
        layer = network.get_submodule(name.rpartition(".")[0])
        fan_in, _ = torch.nn.init._calculate_fan_in_and_fan_out(layer.weight)
        bound = 1 / math.sqrt(fan_in)
        assert value.dtype == torch.float64
        for drawn in (value, theirs[name]):
            assert drawn.shape == value.shape
            # the largest of n is below its bound by the factor 1 - s with probability
            # (1 - s)^n: a false alarm once in e^20 times
            least = max(0.0, 1 - 20 / drawn.numel()) * bound
            assert least < drawn.abs().max().item() <= bound * (1 + 1e-6)
            # five standard errors
            assert abs(drawn.mean().item()) < 5 * bound / math.sqrt(3 * drawn.numel())


def test_draws_have_the_probabilities_and_precision_asked_for():
    spec = {"keep": Keep((4, 3), 0.25), "noise": Normal((6,))}
    drawn = RGenerator(9).step(5000, spec, "float32")
    assert drawn["keep"].dtype == np.bool_
    assert drawn["keep"].mean() == pytest.approx(0.75, abs=5 * math.sqrt(0.1875 / 60_000))
    assert drawn["noise"].dtype == np.float32
    assert drawn["noise"].std() == pytest.approx(1, abs=5 / math.sqrt(2 * 30_000))
    full = RGenerator(9).step(5000, spec, "float64")["noise"]
    assert_same(drawn["noise"], full.astype(np.float32))


def test_other_generators_are_left_alone(conv):
    torch.manual_seed(1)
    before = torch.get_rng_state()
    generator = RGenerator(2, torch.device("cpu"))
    generator.initial_parameters(conv, 3)
    generator.step(2, conv.draws(3), "float64")
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("seed", [-1, 2**31])
def test_a_seed_that_r_does_not_take_is_told(seed):
    with pytest.raises(UserError, match=rf"--seed {seed} .*expected 0 to 2147483647"):
        RGenerator(seed)


@pytest.mark.parametrize("name", ["beta", "strided-conv"])
def test_any_recipe_of_linear_layers_and_convolutions_can_be_drawn(name):
    recipe = get_recipe(name)
    size, hyper = recipe.latent_dim, recipe.settings().hyper
    ours = RGenerator(4).initial_parameters(recipe, size, **hyper)
    theirs = recipe.initial_parameters(4, size, **hyper)
    assert list(ours) == list(theirs)
    for key, value in ours.items():
        assert value.shape == theirs[key].shape
        if value.numel() > 1000:
            assert value.abs().max().item() == pytest.approx(
                theirs[key].abs().max().item(), rel=0.1
            )


def changed(recipe, change):
    """A recipe whose network starts otherwise."""

    def network(*arguments, **hyper):
        made = recipe.network(*arguments, **hyper)
        with torch.no_grad():
            change(made)
        return made

    return replace(recipe, network=network)


@pytest.mark.parametrize(
    ("recipe", "wrong"),
    [
        (get_recipe("mlp"), "encoder.bn1.weight"),
        (changed(get_recipe("beta"), lambda n: n.encoder.fc1.bias.zero_()), "encoder.fc1.bias"),
        (changed(get_recipe("beta"), lambda n: n.decoder.fc2.weight.mul_(1.1)),
         "decoder.fc2.weight"),
    ],
    ids=["batch norm", "zero biases", "larger weights"],
)  # fmt: skip
def test_a_network_that_starts_otherwise_is_told(recipe, wrong):
    words = rf"^R's generator cannot draw the initial values of {wrong} of recipe .*--rng injected"
    with pytest.raises(UserError, match=words):
        RGenerator(4).initial_parameters(recipe, 5, **recipe.settings().hyper)


def test_noise_of_another_kind_is_told():
    with pytest.raises(UserError, match=r"cannot draw Gumbel noise \('class'\)"):
        RGenerator(4).step(3, {"class": Gumbel((10,))}, "float64")


def test_draws_of_some_images_alone_have_as_many_rows():
    drawn = RGenerator(4).step(7, {"a": Normal((2,), rows=3), "b": Keep((2,), 0.5)}, "float64")
    assert [value.shape for value in drawn.values()] == [(3, 2), (7, 2)]
