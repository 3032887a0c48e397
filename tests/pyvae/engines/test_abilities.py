"""What engines declare, and what follows for two of them."""

from __future__ import annotations

import pytest

from pyvae.engines.abilities import Abilities
from pyvae.engines.registry import get_abilities
from pyvae.errors import UserError

NOTHING = Abilities()
PYTORCH, BASE_R, R_TORCH = map(get_abilities, ("pytorch", "base-r", "r-torch"))


def computing(*adams):
    """With kernels of its own, and Adam in these orders of operations."""
    return Abilities(arithmetic="x", adams=adams)


@pytest.mark.parametrize(
    ("a", "b", "rng", "adam"),
    [
        (PYTORCH, BASE_R, "r", ""),
        (PYTORCH, R_TORCH, "torch", "r-torch"),
        (PYTORCH, PYTORCH, "torch", "torch"),
        (BASE_R, R_TORCH, "", ""),
        (BASE_R, BASE_R, "r", ""),
        (R_TORCH, R_TORCH, "torch", "r-torch"),
        (NOTHING, NOTHING, "", ""),
        (NOTHING, PYTORCH, "", ""),
        (NOTHING, BASE_R, "", ""),
        # the same kernels, and no common order of operations
        (computing("a", "b"), computing("c"), "", ""),
        # the default of the second is taken before others
        (computing("a", "b"), computing("b", "a"), "", "b"),
    ],
)  # fmt: skip
def test_what_two_engines_have_in_common(a, b, rng, adam):
    assert a.common_rng(b) == b.common_rng(a) == rng
    assert a.common_adam(b) == adam
    assert (b.common_adam(a) == "") == (adam == "")


def test_an_engine_that_names_no_recipes_runs_all():
    assert NOTHING.runs("anything")
    NOTHING.check_recipe("e", "anything")
    some = Abilities(recipes=("conv", "mlp"))
    assert some.runs("mlp")
    some.check_recipe("e", "mlp")
    assert not some.runs("beta")


@pytest.mark.parametrize(
    ("others", "remedy"),
    [((), ""), (("x",), ". Use --engine x."), (("x", "y"), ". Use --engine x or y.")],
)
def test_a_recipe_that_an_engine_does_not_run_is_one_line(others, remedy):
    with pytest.raises(UserError) as caught:
        Abilities(recipes=("conv", "mlp")).check_recipe("e", "beta", others)
    assert str(caught.value) == (f"engine e cannot run recipe 'beta': expected conv or mlp{remedy}")
