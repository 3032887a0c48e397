"""What is written down of the other recipes."""

from __future__ import annotations

import pytest

from benchmarks.given.case import Case
from benchmarks.limits.flops import step_flop
from benchmarks.limits.limits import PRODUCT_FLOP
from benchmarks.measured.recipes import OTHERS, summary
from pyvae.recipes import get_recipe


@pytest.fixture
def found(series):
    """Two rounds, in the second of which the machine took twice as long for everything; pyvae's
    steps and the plain loop's of each recipe."""
    made = {("limits", "product"): series([100.0], [200.0])}
    for name in OTHERS:
        made["pyvae", name] = series([15.0], [30.0])
        made["plain", name] = series([30.0], [60.0])
    return summary(made, {name: Case(name) for name in OTHERS})


def test_ratios_are_pyvaes_time_to_the_plain_loops(found):
    assert list(found) == list(OTHERS)
    for one in found.values():
        assert one["ratio_plain"] == pytest.approx(0.5)
        assert one["images_per_second"] == pytest.approx(one["batch_size"] / 0.0225, rel=1e-3)


@pytest.mark.parametrize("name", OTHERS)
def test_the_floor_is_the_work_at_the_products_speed(found, name):
    recipe = get_recipe(name)
    flop = step_flop(recipe, recipe.batch_size, recipe.latent_dim)
    share = flop / PRODUCT_FLOP
    assert found[name]["gflop_per_step"] == pytest.approx(flop / 1e9, rel=1e-3)
    assert found[name]["floor_ms"] == pytest.approx(share * 150, rel=1e-3)
    assert found[name]["ratio_floor"] == pytest.approx(15 / (share * 100), rel=1e-3)
