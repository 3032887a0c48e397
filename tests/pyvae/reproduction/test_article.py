"""What is to be done again of a write-up: settings, folders, claims."""

from __future__ import annotations

import pytest

from pyvae.errors import UserError
from pyvae.recipes import get_recipe
from pyvae.reproduction.article import Claim
from pyvae.reproduction.articles import ARTICLES, choose_articles
from pyvae.reproduction.planned import Planned


@pytest.mark.parametrize(
    ("values", "verdict"),
    [([1.0, 2.0], "reproduced"), ([-1.0, -2.0], "not reproduced"), ([-1, 1, 2], "in 2 of 3 seeds")],
)
def test_a_verdict_counts_the_seeds(values, verdict):
    assert Claim("it is positive", "yes", values, holds=lambda value: value > 0).verdict == verdict


def test_without_anything_to_hold_it_against_a_value_is_measured():
    assert Claim("its size", "-", [3.0]).verdict == "measured"


def test_a_diverged_seed_does_not_bear_a_claim_out():
    claim = Claim("it is below 1", "yes", [float("nan")], holds=lambda value: value < 1)
    assert claim.verdict == "not reproduced"


def test_a_row_has_median_and_range_never_the_best():
    row = Claim("c", "p", [5.0, 1.0, 2.0], "nats").row("article")
    assert (row["median"], row["least"], row["greatest"], row["seeds"]) == (2.0, 1.0, 5.0, 3)


@pytest.mark.parametrize("article", ARTICLES.values(), ids=lambda article: article.name)
def test_published_settings_are_the_recipes(article):
    for planned in article.planned:
        recipe = get_recipe(planned.recipe)
        settings = planned.settings(1, quick=False, epochs=None)
        assert (settings.epochs, settings.batch_size) == (recipe.epochs, recipe.batch_size)
        assert settings.learning_rate == recipe.learning_rate
        assert settings.steps is None
        for name, value in planned.changes.items():
            assert getattr(settings, name) == value


@pytest.mark.parametrize("article", ARTICLES.values(), ids=lambda article: article.name)
def test_a_quick_look_is_shorter_than_what_was_published(article):
    for planned in article.planned:
        recipe = get_recipe(planned.recipe)
        images = 2400 if recipe.features == 2 else 60_000
        steps = [planned.settings(1, quick, None).total_steps(images) for quick in (True, False)]
        assert steps[0] < steps[1]


def test_folders_of_different_runs_differ():
    names = [
        planned.folder(planned.settings(seed, quick=False, epochs=None))
        for article in ARTICLES.values()
        for planned in article.planned
        for seed in (1, 2)
    ]
    assert len(set(names)) == len(names)


def test_epochs_override_the_published_ones():
    planned = Planned("beta", "beta", quick={"epochs": 8})
    assert planned.settings(1, quick=True, epochs=3).epochs == 3


def test_an_article_has_its_name_and_all_is_all_of_them():
    assert choose_articles("beta") == [ARTICLES["beta"]]
    assert choose_articles("all") == list(ARTICLES.values())
    with pytest.raises(UserError, match=r"^unknown article 'gan': expected one of conv, .*, all"):
        choose_articles("gan")
