"""The engine's own generator: against what PyTorch's global one draws, to the bit."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace

import hypothesis
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from pyvae.engines.generators import TorchGenerator, generator_names, make_generator
from pyvae.errors import UserError
from pyvae.model.draws import Gumbel, Keep, Normal, gumbel_of_uniform
from pyvae.recipes import get_recipe

modest = hypothesis.settings(max_examples=25)
seeds = st.integers(0, 2**63 - 1)
every_dtype = pytest.mark.parametrize("dtype", ["float32", "float64"])
every_seed = pytest.mark.parametrize("seed", [0, 2, 2**63 - 1])
L = 5
SPEC = {
    "mask": Keep((3, 2), 0.25),
    "other": Keep((5,), 0.3),
    "gumbel": Gumbel((3,)),
    "noise": Normal((4,)),
}


@pytest.fixture(autouse=True)
def _global_generator():
    """Tests may seed PyTorch's global generator."""
    with torch.random.fork_rng(devices=[]):
        yield


def same(one, two):
    """Whether two dicts of arrays are the same to the bit."""
    return one.keys() == two.keys() and all(equal(one[key], two[key]) for key in one)


def equal(one, two):
    one, two = np.asarray(one), np.asarray(two)
    return one.dtype == two.dtype and one.shape == two.shape and one.tobytes() == two.tobytes()


def tensors(draws):
    return {name: torch.as_tensor(draw) for name, draw in draws.items()}


@every_seed
def test_initial_parameters_are_those_after_a_manual_seed(conv, seed):
    found = TorchGenerator(seed).initial_parameters(conv, L)
    assert same(found, conv.initial_parameters(seed, L))
    torch.manual_seed(seed)
    assert same(found, conv.network(L).state_dict())


@modest
@given(seeds, st.integers(0, 400))
def test_an_order_is_the_global_generators_permutation(seed, images):
    generator = TorchGenerator(seed)
    torch.manual_seed(seed)
    for _ in range(2):
        order = generator.batch_order(images)
        assert equal(order, torch.randperm(images))
        assert sorted(order) == list(range(images))


@modest
@given(seeds, st.sampled_from(["float32", "float64"]), st.integers(1, 40))
def test_noise_is_the_global_generators(seed, dtype, images):
    generator = TorchGenerator(seed)
    torch.manual_seed(seed)
    for _ in range(2):  # fewer than 16 numbers and more are drawn in different ways
        assert equal(
            generator.normal((images, 3), dtype),
            torch.randn(images, 3, dtype=getattr(torch, dtype)),
        )


@every_dtype
@pytest.mark.parametrize("images", [1, 7, 30])
def test_a_run_draws_what_the_network_itself_would(conv, digits, dtype, images):
    """Everything in the order of a run, interleaved, with the generator's draws on one side and
    the network's own on the other."""
    seed, kind = 11, getattr(torch, dtype)
    generator = TorchGenerator(seed)
    torch.manual_seed(seed)

    native = conv.network(L)
    initial = generator.initial_parameters(conv, L)
    assert same(initial, native.state_dict())
    told = conv.network(L)  # moves the global generator: put back
    position = torch.get_rng_state
    torch.set_rng_state(torch.from_numpy(generator.state()))
    told.load_state_dict(initial)
    for network in (native, told):
        network.to(kind).train()

    for _ in range(2):  # epochs
        order = generator.batch_order(len(digits))
        assert equal(order, torch.randperm(len(digits)))
        for step in range(2):
            x = digits.batch(order[step * images : (step + 1) * images], kind)
            draws = generator.step(images, conv.draws(L), dtype)
            before = position()
            mine = told(x, tensors(draws))
            assert torch.equal(position(), before)  # nothing was drawn besides
            for one, other in zip(mine, native(x), strict=True):
                assert one.dtype == kind
                assert equal(one.detach(), other.detach())
    assert equal(generator.normal((16, L), dtype), torch.randn(16, L, dtype=kind))
    assert equal(generator.state(), position())


@every_dtype
def test_masks_alone_are_those_of_the_encoder_in_training_mode(conv, digits, dtype):
    """As latent means in training mode are drawn: without noise."""
    kind = getattr(torch, dtype)
    network = conv.network(L).to(kind).train()
    x = digits.batch(np.arange(9), kind)
    masks = {name: draw for name, draw in conv.draws(L).items() if isinstance(draw, Keep)}
    draws = TorchGenerator(3).step(9, masks, dtype)
    torch.manual_seed(3)
    for one, other in zip(network.encoder(x), network.encoder(x, tensors(draws)), strict=True):
        assert equal(one.detach(), other.detach())


@pytest.mark.parametrize("name", ["mlp", "clustering-toy", "clustering"])
def test_a_step_of_any_recipe_draws_what_the_network_itself_would(name, small, data_of):
    recipe = get_recipe(name)
    settings = small(recipe)
    torch.manual_seed(4)
    native = recipe.network(settings.latent_dim, **settings.hyper)
    generator = TorchGenerator(4)
    initial = generator.initial_parameters(recipe, settings.latent_dim, **settings.hyper)
    assert same(initial, native.state_dict())
    position = torch.from_numpy(generator.state())
    told = recipe.network(settings.latent_dim, **settings.hyper)
    told.load_state_dict(initial)
    torch.set_rng_state(position)
    x = data_of(recipe).batch(np.arange(7), torch.float32)
    for _ in range(2):
        draws = generator.step(7, recipe.draws(settings.latent_dim, **settings.hyper), "float32")
        mine = told(x, tensors(draws))
        for one, other in zip(mine, native(x), strict=True):
            assert one is other is None or equal(one.detach(), other.detach())
        assert equal(generator.state(), torch.get_rng_state())


@every_dtype
def test_gumbel_noise_is_of_the_global_generators_uniform_numbers(dtype):
    drawn = TorchGenerator(9).step(50, {"gumbel": Gumbel((4,))}, dtype)["gumbel"]
    torch.manual_seed(9)
    uniform = torch.rand(50, 4, dtype=getattr(torch, dtype))
    assert equal(drawn, gumbel_of_uniform(uniform, torch.log))
    many = TorchGenerator(9).step(20_000, {"gumbel": Gumbel(())}, dtype)["gumbel"]
    assert stats.kstest(many, stats.gumbel_r.cdf).pvalue > 1e-4


def test_draws_with_rows_of_their_own_have_these():
    spec = {"a": Keep((3,), 0.5, 7), "b": Normal((3,), 7), "c": Gumbel((3,), 7), "d": Normal((3,))}
    drawn = TorchGenerator(1).step(5, spec, "float32")
    assert {name: len(value) for name, value in drawn.items()} == {"a": 7, "b": 7, "c": 7, "d": 5}


def test_draws_have_the_shapes_types_and_probabilities_asked_for():
    drawn = {k: v.numpy() for k, v in TorchGenerator(1).step(5000, SPEC, "float32").items()}
    assert list(drawn) == list(SPEC)
    for name, kind in SPEC.items():
        assert drawn[name].shape == (5000, *kind.shape)
        if isinstance(kind, Keep):
            assert drawn[name].dtype == np.bool_
            error = np.sqrt(kind.p * (1 - kind.p) / drawn[name].size)
            assert drawn[name].mean() == pytest.approx(1 - kind.p, abs=5 * error)
    assert drawn["noise"].dtype == np.float32
    assert drawn["noise"].std() == pytest.approx(1, abs=5 / np.sqrt(2 * 20_000))


def use(generator, conv):
    """One of each draw."""
    return [
        *generator.initial_parameters(conv, L).values(),
        generator.batch_order(50),
        *generator.step(6, SPEC, "float64").values(),
        generator.normal((2, 3), "float32"),
    ]


def test_the_global_generator_is_left_as_it_was(conv):
    torch.manual_seed(1)
    before = torch.get_rng_state()
    generator = TorchGenerator(2)
    use(generator, conv)
    generator.restore(generator.state())
    assert torch.equal(torch.get_rng_state(), before)

    def fails(latent_dim):
        torch.rand(1)
        raise RuntimeError("no network")

    with pytest.raises(RuntimeError):
        generator.initial_parameters(dataclasses.replace(conv, network=fails), L)
    assert torch.equal(torch.get_rng_state(), before)


def test_the_global_generator_has_no_say(conv):
    torch.manual_seed(1)
    once = use(TorchGenerator(2), conv)
    torch.manual_seed(99)
    assert all(map(equal, once, use(TorchGenerator(2), conv)))


def test_two_side_by_side_do_not_disturb_each_other(conv):
    alone = [use(TorchGenerator(seed), conv) for seed in (1, 2)]
    pair = [TorchGenerator(seed) for seed in (1, 2)]
    together = [[], []]
    for draw in (
        lambda generator: list(generator.initial_parameters(conv, L).values()),
        lambda generator: [generator.batch_order(50)],
        lambda generator: list(generator.step(6, SPEC, "float64").values()),
        lambda generator: [generator.normal((2, 3), "float32")],
    ):
        for drawn, generator in zip(together, pair, strict=True):
            drawn += draw(generator)
    for one, other in zip(alone, together, strict=True):
        assert all(map(equal, one, other))


@modest
@given(seeds, seeds, st.integers(0, 700))
def test_a_restored_generator_goes_on_as_if_nothing_had_been(seed, other, before):
    generator = TorchGenerator(seed)
    generator.normal((before, 1), "float64")
    generator.normal((1, 3), "float32")  # an odd number: normals come in pairs
    state = generator.state()
    kept = state.copy()
    expected = [generator.batch_order(9), *generator.step(3, SPEC, "float64").values()]
    assert equal(state, kept)  # a copy

    state.flags.writeable = False  # as files are read
    for restored in (generator, TorchGenerator(other)):
        restored.restore(state)
        found = [restored.batch_order(9), *restored.step(3, SPEC, "float64").values()]
        assert all(map(equal, found, expected))


def test_other_seeds_draw_otherwise(conv):
    for one, other in zip(use(TorchGenerator(1), conv), use(TorchGenerator(2), conv), strict=True):
        assert not equal(one, other)


@pytest.fixture
def entries(monkeypatch):
    """Replaces the generators that packages add; each is a class."""

    def add(**classes):
        def entry_points(group, name=None):
            assert group == "pyvae.generators"
            return [
                SimpleNamespace(name=key, load=lambda kind=kind: kind)
                for key, kind in classes.items()
                if name in (None, key)
            ]

        monkeypatch.setattr("pyvae.plugins.metadata", SimpleNamespace(entry_points=entry_points))

    return add


def test_the_installed_generators_are_torchs_and_rs():
    assert generator_names() == ["torch", "r"]
    assert [make_generator(name, 1).name for name in generator_names()] == ["torch", "r"]


def test_generators_of_other_packages_are_seeded_and_told_the_device(entries):
    entries(zeta=lambda *given: ("zeta", *given), alpha=object)
    assert generator_names() == ["torch", "alpha", "zeta"]
    device = torch.device("cpu")
    assert make_generator("zeta", 5, device) == ("zeta", 5, device)
    assert equal(make_generator("torch", 5, device).state(), TorchGenerator(5).state())


@pytest.mark.parametrize(("name", "said"), [("trch", "Did you mean 'torch'"), ("injected", "")])
def test_an_unknown_generator_is_the_users_error(name, said):
    with pytest.raises(UserError, match=f"unknown rng '{name}': expected one of torch, r.*{said}"):
        make_generator(name, 1)
