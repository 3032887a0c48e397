"""Which runs a plan has."""

from __future__ import annotations

from pathlib import Path

import pytest

from pyvae.data.images import load_split
from pyvae.errors import UserError
from pyvae.recipes import get_recipe
from pyvae.reproduction.articles import ARTICLES
from pyvae.reproduction.plan import Plan, datasets
from pyvae.reproduction.planned import Planned

MLP = Planned("mlp", "mlp", seeds=5, quick={"epochs": 4})


@pytest.fixture(scope="module")
def split():
    return load_split("digits")


def test_each_seed_has_its_own_folder_and_title(split):
    runs = Plan().runs(MLP, split, Path("out"))
    assert [run.run.settings.seed for run in runs] == [1, 2, 3, 4, 5]
    assert len({run.folder for run in runs}) == len({run.title for run in runs}) == 5
    assert {run.folder.parent for run in runs} == {Path("out")}


@pytest.mark.parametrize(
    ("plan", "seeds", "epochs"),
    [
        (Plan(), 5, get_recipe("mlp").epochs),
        (Plan(quick=True), 1, 4),
        (Plan(quick=True, seeds=2), 2, 4),
        (Plan(seeds=3, epochs=7), 3, 7),
        (Plan(quick=True, epochs=7), 1, 7),
    ],
)
def test_a_plan_replaces_what_the_article_plans(plan, seeds, epochs, split):
    runs = plan.runs(MLP, split, Path("out"))
    assert len(runs) == seeds
    assert {run.run.settings.epochs for run in runs} == {epochs}


@pytest.mark.parametrize("option", ["seeds", "epochs", "latent_dim"])
def test_numbers_below_1_are_one_line(option):
    with pytest.raises(UserError, match=rf"^--{option.replace('_', '-')} 0: expected 1 or more$"):
        Plan(**{option: 0})


def test_points_are_trained_in_full_and_on_points(split):
    toy = Planned("toy", "clustering-toy")
    (run,) = Plan(epochs=3).runs(toy, split, Path("out"))
    assert run.run.settings.epochs == 100
    assert run.run.data.name == "toy"
    assert [data.name for data in datasets(toy, split)] == ["toy", "toy"]
    assert datasets(MLP, split) is split


@pytest.mark.parametrize("test", [True, False])
def test_only_a_run_that_plans_it_has_test_images(test, split):
    (run,) = Plan(seeds=1).runs(Planned("mlp", "mlp", test=test), split, Path("out"))
    assert run.run.data is split[0]
    assert run.test is (split[1] if test else None)


@pytest.mark.parametrize("latent_dim", [None, 3])
def test_runs_in_one_folder_are_the_same(latent_dim, split):
    """One of them is enough: with --latent-dim two of an article may coincide."""
    found = {}
    plan = Plan(latent_dim=latent_dim)
    for runs in plan.article_runs(ARTICLES.values(), split, Path("out")).values():
        for run in (run for several in runs.values() for run in several):
            what = (run.run.recipe.name, run.run.settings, run.test is None, run.checkpoint_every)
            assert found.setdefault(run.folder, what) == what
    total = sum(planned.seeds for article in ARTICLES.values() for planned in article.planned)
    assert (len(found) < total) is (latent_dim is not None)
