from __future__ import annotations

import doctest
import os
import subprocess
import sys
import zlib
from dataclasses import FrozenInstanceError

import hypothesis
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from pyvae.model import draws as draws_module
from pyvae.model.draws import Draws, Gumbel, Keep, Normal, gumbel_of_uniform

modest = hypothesis.settings(max_examples=25)
seeds = st.integers(0, 2**63 - 1)
SPEC = {
    "mask": Keep((3, 2), 0.25),
    "other": Keep((5,), 0.3),
    "noise": Normal((4,)),
    "gumbel": Gumbel((3,)),
}
MANY = (500, 400)


def same(one, two):
    return one.keys() == two.keys() and all(np.array_equal(one[k], two[k]) for k in one)


@modest
@given(seeds, st.permutations(range(5)))
def test_a_step_gives_the_same_bits_in_any_order_and_from_any_object(seed, order):
    once = Draws(seed)
    forward = {step: once.step(step, 6, SPEC) for step in range(5)}
    again = Draws(seed)
    for step in order:
        again.batch_order(step, 9)
        assert same(again.step(step, 6, SPEC), forward[step])


@modest
@given(seeds, st.integers(0, 10**6), st.integers(0, 10**6))
def test_each_step_seed_and_name_has_draws_of_its_own(seed, step, other):
    hypothesis.assume(step != other)
    shape = (4, 8)
    draws = Draws(seed)
    here = draws.normal("noise", step, shape)
    for elsewhere in (
        draws.normal("noise", other, shape),
        draws.normal("noise2", step, shape),
        Draws((seed + 1) % 2**63).normal("noise", step, shape),
    ):
        assert not np.any(here == elsewhere)


def test_two_names_in_one_step_are_not_correlated():
    drawn = Draws(5).step(3, 20_000, {"a": Normal(()), "b": Normal(())})
    assert stats.pearsonr(drawn["a"], drawn["b"]).pvalue > 1e-4


def test_another_process_draws_the_same_bits():
    code = (
        "import zlib; from pyvae.model.draws import *; "
        "d = Draws(11).step(2, 7, {'m': Keep((9,), .25), 'n': Normal((3,))}); "
        "print(*(zlib.crc32(d[k].tobytes()) for k in 'mn'))"
    )
    said = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"PYTHONHASHSEED": "77"},
        capture_output=True,
        text=True,
        check=True,
    )
    here = Draws(11).step(2, 7, {"m": Keep((9,), 0.25), "n": Normal((3,))})
    assert said.stdout.split() == [str(zlib.crc32(here[name].tobytes())) for name in "mn"]


@modest
@given(st.integers(1, 20), st.lists(st.integers(1, 6), max_size=3).map(tuple))
def test_a_draw_has_the_shape_of_a_batch(batch_size, shape):
    drawn = Draws(1).step(0, batch_size, {"keep": Keep(shape, 0.5), "noise": Normal(shape)})
    assert {name: value.shape for name, value in drawn.items()} == {
        "keep": (batch_size, *shape),
        "noise": (batch_size, *shape),
    }
    assert drawn["keep"].dtype == bool


@pytest.mark.parametrize("p", [0.25, 0.5, 0.2, 1 / 3, 0.999])
def test_dropout_keeps_with_probability_one_minus_p(p):
    kept = np.stack([Draws(1).keep("mask", step, MANY, p) for step in range(3)])
    assert stats.binomtest(int(kept.sum()), kept.size, 1 - p).pvalue > 1e-4


@pytest.mark.parametrize("p", [0.25, 0.2])
def test_neighbours_in_a_mask_are_independent(p):
    kept = Draws(2).keep("mask", 0, MANY, p).ravel()
    both = int((kept[::2] & kept[1::2]).sum())
    assert stats.binomtest(both, kept.size // 2, (1 - p) ** 2).pvalue > 1e-4


@pytest.mark.parametrize(("p", "kept"), [(0.0, True), (1.0, False)])
def test_certain_dropout_is_certain(p, kept):
    assert np.all(Draws(1).keep("mask", 0, MANY, p) == kept)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_noise_is_standard_normal(dtype):
    noise = Draws(3, dtype).normal("noise", 0, MANY)
    assert stats.kstest(noise.ravel(), stats.norm.cdf).pvalue > 1e-4


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_gumbel_noise_is_standard_gumbel(dtype):
    drawn = Draws(3, dtype).step(4, 50_000, {"gumbel": Gumbel((3,))})["gumbel"]
    assert drawn.dtype == dtype
    assert stats.kstest(drawn.ravel(), stats.gumbel_r.cdf).pvalue > 1e-4


@modest
@given(st.floats(0, 1, exclude_max=True))
def test_gumbel_noise_of_a_uniform_number_is_its_quantile_and_always_a_number(u):
    found = gumbel_of_uniform(np.float64(u))
    assert np.isfinite(found)
    if u > 1e-4:
        assert found == pytest.approx(stats.gumbel_r.ppf(u), rel=1e-9, abs=1e-12)


def test_the_largest_of_gumbel_noise_picks_every_class_equally_often():
    drawn = Draws(8).step(0, 20_000, {"gumbel": Gumbel((5,))})["gumbel"]
    assert stats.chisquare(np.bincount(drawn.argmax(1), minlength=5)).pvalue > 1e-4


@pytest.mark.parametrize("kind", [Keep((2, 3), 0.4, 7), Normal((2, 3), 7), Gumbel((2, 3), 7)])
@pytest.mark.parametrize("batch_size", [1, 7, 12])
def test_a_draw_with_rows_of_its_own_does_not_depend_on_the_batch(kind, batch_size):
    drawn = Draws(1).step(5, batch_size, {"a": kind})["a"]
    assert drawn.shape == (7, 2, 3)
    assert np.array_equal(drawn, Draws(1).step(5, 99, {"a": kind})["a"])


@modest
@given(seeds, st.integers(1, 200))
def test_a_permutation_is_drawn_once(seed, number):
    found = Draws(seed).permutation("labelled", number)
    assert np.array_equal(np.sort(found), np.arange(number))
    assert np.array_equal(found, Draws(seed, "float32").permutation("labelled", number))


def test_permutations_of_names_and_seeds_differ():
    found = [Draws(seed).permutation(name, 99) for seed in (1, 2) for name in ("a", "b")]
    found.append(Draws(1).batch_order(0, 99))
    assert len({order.tobytes() for order in found}) == 5


@modest
@given(seeds, st.integers(0, 2**31))
def test_float32_noise_is_the_rounded_float64_noise(seed, step):
    coarse, fine = (Draws(seed, dtype).step(step, 9, SPEC) for dtype in ("float32", "float64"))
    assert coarse["noise"].dtype == np.float32
    assert fine["noise"].dtype == np.float64
    for name in ("noise", "gumbel"):
        assert np.array_equal(coarse[name], fine[name].astype(np.float32))
    assert np.array_equal(coarse["mask"], fine["mask"])


@modest
@given(seeds, st.integers(0, 2**31))
def test_every_draw_is_what_numpy_makes_of_its_seed_name_and_step(seed, step):
    """Written down here once more: runs of other versions are to be the same."""

    def numpys(name, index):
        words = (zlib.crc32(name.encode()), index)
        return np.random.Generator(np.random.Philox(np.random.SeedSequence(seed, spawn_key=words)))

    draws = Draws(seed)
    assert np.array_equal(draws.normal("a", step, (3, 2)), numpys("a", step).normal(size=(3, 2)))
    assert np.array_equal(draws.batch_order(step, 9), numpys("batch order", step).permutation(9))
    assert np.array_equal(draws.permutation("b", 9), numpys("b", 0).permutation(9))
    gumbel = draws.step(step, 5, {"c": Gumbel((2,))})["c"]
    assert np.array_equal(gumbel, gumbel_of_uniform(numpys("c", step).random((5, 2))))


@modest
@given(seeds, st.integers(0, 100), st.integers(0, 300))
def test_a_batch_order_visits_every_image_once(seed, epoch, images):
    order = Draws(seed).batch_order(epoch, images)
    assert np.array_equal(np.sort(order), np.arange(images))
    assert np.array_equal(order, Draws(seed).batch_order(epoch, images))


def test_batch_orders_of_epochs_and_seeds_differ():
    orders = [Draws(seed).batch_order(epoch, 500) for seed in (1, 2) for epoch in (0, 1, 2)]
    assert len({order.tobytes() for order in orders}) == len(orders)


def test_every_place_in_the_order_is_equally_likely():
    first = [int(Draws(1).batch_order(epoch, 5)[0]) for epoch in range(2000)]
    assert stats.chisquare(np.bincount(first, minlength=5)).pvalue > 1e-4


@pytest.mark.parametrize("kind", [Keep((2,), 0.5), Normal((2,)), Gumbel((2,))])
def test_declared_draws_are_immutable(kind):
    with pytest.raises(FrozenInstanceError):
        kind.rows = 3


def test_examples_run():
    result = doctest.testmod(draws_module)
    assert result.attempted > 0
    assert result.failed == 0


@modest
@given(st.integers(0, 2**32), st.integers(1, 300), st.sampled_from([0.25, 0.3]))
def test_a_mask_is_made_of_the_bytes_that_numpy_gives(seed, count, p):
    generator = Draws(seed)._generator("mask", 3)
    size, kind = (1, np.uint8) if p == 0.25 else (4, "<u4")
    bits = np.frombuffer(generator.bytes(size * count), kind)
    expected = bits >= round(p * 256**size)
    np.testing.assert_array_equal(Draws(seed).keep("mask", 3, (count,), p), expected)
