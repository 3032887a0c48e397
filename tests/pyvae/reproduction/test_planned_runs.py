"""Which runs a write-up has."""

from __future__ import annotations

from pathlib import Path

import pytest
from pyvae.reproduction.planned_runs import runs_of, sets_of

from pyvae.recipes import get_recipe
from pyvae.reproduction.planned import Planned
from pyvae.reproduction.reproduce import ARTICLES

MLP = Planned("mlp", "mlp", seeds=5, quick={"epochs": 4})


def test_each_seed_has_a_folder_and_a_title_of_its_own():
    runs = runs_of(MLP, Path("out"))
    assert [run.settings.seed for run in runs] == [1, 2, 3, 4, 5]
    assert len({run.folder for run in runs}) == len({run.title for run in runs}) == 5
    assert {run.folder.parent for run in runs} == {Path("out")}


@pytest.mark.parametrize(
    ("options", "seeds", "epochs"),
    [
        ({}, 5, get_recipe("mlp").epochs), ({"quick": True}, 1, 4),
        ({"quick": True, "seeds": 2}, 2, 4),
        ({"seeds": 3, "epochs": 7}, 3, 7), ({"quick": True, "epochs": 7}, 1, 7),
    ],
)  # fmt: skip
def test_what_is_asked_for_takes_the_place_of_what_is_planned(options, seeds, epochs):
    runs = runs_of(MLP, Path("out"), **options)
    assert len(runs) == seeds
    assert {run.settings.epochs for run in runs} == {epochs}


def test_points_are_trained_in_full():
    toy = Planned("toy", "clustering-toy")
    (run,) = runs_of(toy, Path("out"), epochs=3)
    assert run.settings.epochs == 100
    assert sets_of(toy, ("train", "test"))[0].name == "toy"
    assert sets_of(MLP, ("train", "test")) == ("train", "test")


@pytest.mark.parametrize("latent_dim", [None, 3])
def test_runs_in_one_folder_are_the_same(latent_dim):
    """So that one of them is enough: with --latent-dim two of an article may coincide."""
    found = {}
    for article in ARTICLES.values():
        for planned in article.planned:
            for run in runs_of(planned, Path("out"), latent_dim=latent_dim):
                what = (
                    planned.recipe, run.settings, planned.test, planned.checkpoint_every
                )  # fmt: skip
                assert found.setdefault(run.folder, what) == what
    total = sum(planned.seeds for article in ARTICLES.values() for planned in article.planned)
    assert (len(found) < total) is (latent_dim is not None)
