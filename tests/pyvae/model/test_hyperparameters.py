from __future__ import annotations

import math
import re

import pytest

from pyvae.errors import UserError
from pyvae.model.hyperparameters import Hyper, parse_hyper, settle_hyper
from pyvae.recipes import RECIPES

with_hyper = [recipe for recipe in RECIPES.values() if recipe.hyper]
CLUSTERS = Hyper("clusters", 10, "number of clusters", whole=True, least=2)
TEMPERATURE = Hyper("temperature", 0.5, "temperature", above=True)
BETA = Hyper("beta", 8, "weight")


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=list(RECIPES))
def test_published_values_are_the_defaults(recipe):
    assert recipe.settings().hyper == {one.name: one.value for one in recipe.hyper}


@pytest.mark.parametrize("recipe", with_hyper, ids=lambda recipe: recipe.name)
def test_a_given_value_replaces_that_one_alone(recipe):
    for one in recipe.hyper:
        hyper = settle_hyper(recipe.name, recipe.hyper, {one.name: one.value + 1})
        expected = {other.name: other.value + (other is one) for other in recipe.hyper}
        assert hyper == expected
        assert isinstance(hyper[one.name], int) == one.whole


@pytest.mark.parametrize(
    ("one", "value", "said"),
    [
        (CLUSTERS, 1, "clusters=1: expected a whole number of 2 or more (number of clusters)"),
        (CLUSTERS, 0, "--set clusters=0"),
        (CLUSTERS, -3, "--set clusters=-3"),
        (CLUSTERS, 2.5, "--set clusters=2.5: expected a whole number"),
        (CLUSTERS, math.nan, "--set clusters=nan"),
        (CLUSTERS, math.inf, "--set clusters=inf"),
        (TEMPERATURE, 0, "--set temperature=0: expected a number above 0"),
        (TEMPERATURE, -0.5, "--set temperature=-0.5"),
        (TEMPERATURE, math.nan, "--set temperature=nan"),
        (TEMPERATURE, math.inf, "--set temperature=inf"),
        (BETA, -1, "--set beta=-1: expected a number of 0 or more"),
        (BETA, math.nan, "--set beta=nan"),
        (BETA, 1e308, "--set beta=1e+308: expected a number of 0 or more, at most 1e+300"),
    ],
)
def test_a_value_out_of_its_range_is_one_line_with_the_published_value(one, value, said):
    with pytest.raises(UserError, match=re.escape(said)) as error:
        one.check(value)
    assert f"The published value is {one.value:g}" in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("one", "value"),
    [(CLUSTERS, 2), (CLUSTERS, 7.0), (TEMPERATURE, 1e-300), (BETA, 0), (BETA, 1e300)],
)
def test_the_end_of_a_range_is_in_it(one, value):
    checked = one.check(value)
    assert checked == value
    assert isinstance(checked, int if one.whole else float)


@pytest.mark.parametrize("recipe", with_hyper, ids=lambda recipe: recipe.name)
def test_published_values_are_in_their_range(recipe):
    assert all(one.check(one.value) == one.value for one in recipe.hyper)


@pytest.mark.parametrize(
    ("recipe", "name", "said"),
    [
        (
            "clustering",
            "temperatur",
            r"unknown hyperparameter of recipe clustering.*'temperature'",
        ),
        ("clustering", "labels", "unknown hyperparameter of recipe clustering 'labels'"),
        (
            "beta",
            "variance",
            "unknown hyperparameter of recipe beta 'variance'",
        ),
        ("conv", "beta", r"recipe conv has no hyperparameters\. Leave out --set beta=1\.$"),
        ("mlp-wide", "beta", "recipe mlp-wide has no hyperparameters"),
    ],
)
def test_an_unknown_name_is_one_line(recipe, name, said):
    with pytest.raises(UserError, match=said):
        RECIPES[recipe].settings(hyper={name: 1.0})


@pytest.mark.parametrize(
    ("texts", "values"),
    [
        ([], {}),
        (["temperature=0.5"], {"temperature": 0.5}),
        (["clusters=12", "beta=1e-3"], {"clusters": 12, "beta": 1e-3}),
        ([" labelled-weight = 2 "], {"labelled_weight": 2}),
        (["beta=1", "beta=2"], {"beta": 2}),
    ],
)
def test_name_equals_number_is_read(texts, values):
    assert parse_hyper(texts) == values


@pytest.mark.parametrize("text", ["beta", "beta=", "beta=much", "", "=", "beta:3", "beta 3"])
def test_other_forms_are_refused_in_one_line(text):
    with pytest.raises(UserError, match=re.escape(f"--set '{text}': expected NAME=NUMBER")):
        parse_hyper([text])


@pytest.mark.parametrize("text", ["=3", " =3"])
def test_a_number_without_a_name_is_refused(text):
    with pytest.raises(UserError):
        RECIPES["beta"].settings(hyper=parse_hyper([text]))
