"""`pyvae sample`, `figures` and `recipes`."""

from __future__ import annotations

import os
from dataclasses import replace
from importlib import metadata

import numpy as np
import pytest
from PIL import Image

from pyvae import plugins, recipes
from pyvae.recipes import RECIPES

pytestmark = pytest.mark.slow

SMALL = ("--data", "digits", "--batch-size", "8", "--latent-dim", "3", "--steps", "2")
TRACE = {"trace.json", "history.csv", "parameters.safetensors", "latents.safetensors"}
FIGURES = {"loss_history.png", "latent_means.png"}


def test_samples_go_into_the_file_asked_for(run, tmp_path):
    for name, seed in (("new/a.png", 1), ("b.png", 1), ("c.png", 2)):
        code, out, err = run("sample", "run/vae", "-n", "5", "--seed", seed, "--out", name)
        assert (code, out, err) == (0, f"written: {name}\n", "")
    pictures = [
        np.asarray(Image.open(tmp_path / name)).tobytes()
        for name in ("new/a.png", "b.png", "c.png")
    ]
    assert pictures[0] == pictures[1]
    assert pictures[0] != pictures[2]


def test_figures_are_drawn_again(run, tmp_path):
    assert run("figures", "run") == (0, "written: run\n", "")
    expected = FIGURES | {"samples_vae.png", "samples_emae.png"}
    assert {path.name for path in (tmp_path / "run").glob("*.png")} == expected


def test_figures_of_one_trace_go_into_its_folder(run, tmp_path):
    assert run("figures", "run/emae")[0] == 0
    found = {path.name for path in (tmp_path / "run" / "emae").iterdir()}
    assert found == TRACE | FIGURES | {"samples_emae.png"}


def test_recipes_are_listed_with_their_settings(command, conv):
    code, out, _ = command("recipes")
    assert code == 0
    assert conv.source in out
    assert "50 epochs, batch 250, 30 latent dimensions, Adam 0.001" in out


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=list(RECIPES))
def test_every_recipe_is_listed_with_its_own_settings(command, recipe):
    code, out, _ = command("recipes")
    assert code == 0
    assert f"{recipe.name}: {recipe.title}" in out
    assert recipe.source in out
    for one in recipe.hyper:
        assert f"--set {one.name}={one.value:g}: {one.what}" in out


def test_a_picture_that_cannot_be_drawn_is_a_line_beside_a_run(
    run, monkeypatch, tmp_path, assert_refused
):
    def broken(figure, path):
        raise RuntimeError("no\nfont")

    monkeypatch.setattr("pyvae.figures.style.save_figure", broken)
    code, out, err = run("train", "conv", *SMALL, "--out", "out")
    assert code == 0
    assert out.endswith("written: out\n")
    assert err.splitlines() == [
        f"pyvae: figure 'out/{name}.png' cannot be drawn (RuntimeError: no font)"
        for name in ("loss_history", "latent_means", "samples_vae")
    ]
    # where it is what was asked for, it is an error
    line = "figure '{}' cannot be drawn (RuntimeError: no font)"
    assert_refused(run("figures", "run"), line.format("run/loss_history.png"))
    assert_refused(run("sample", "run/vae", "--out", "x.png"), line.format("x.png"))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_figures_of_a_folder_that_one_may_not_write(run, tmp_path, assert_refused):
    (tmp_path / "run").chmod(0o555)
    assert_refused(run("figures", "run"), "loss_history.png' cannot be written (Permission denied)")


def test_recipes_of_other_packages_are_listed_and_broken_ones_told(command, conv, monkeypatch):
    mine = replace(conv, name="mine", title="a recipe of another package")
    monkeypatch.setattr(recipes, "open_plugins", lambda group, use: map(use, [mine]))
    code, out, _ = command("recipes")
    assert code == 0
    assert out.count("mine: a recipe of another package") == 1
    entry = metadata.EntryPoint("broken", "json:loads", recipes.GROUP)
    monkeypatch.setattr(plugins.metadata, "entry_points", lambda group: [entry])
    monkeypatch.setattr(recipes, "open_plugins", plugins.open_plugins)
    code, out, err = command("recipes")
    assert code == 0
    assert conv.source in out
    assert "plug-in 'broken' of an unknown package" in err
    assert "it is a function, and no Recipe" in err
