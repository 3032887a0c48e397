"""`pyvae figures` and `recipes`."""

from __future__ import annotations

import os
from dataclasses import replace
from importlib import metadata

import pytest

from pyvae import plugins, recipes
from pyvae.recipes import RECIPES

pytestmark = pytest.mark.slow

SMALL = ("--data", "digits", "--batch-size", "8", "--latent-dim", "3", "--steps", "2")
TRACE = {"trace.json", "history.csv", "parameters.safetensors", "latents.safetensors"}
FIGURES = {"loss_history.png", "latent_means.png"}
OF_EACH = ("samples", "reconstructions", "latents")


@pytest.mark.usefixtures("undrawn")
def test_figures_are_drawn_again(run, tmp_path):
    assert run("figures", "run") == (0, "written: run\n", "")
    expected = FIGURES | {f"{figure}_{name}.png" for figure in OF_EACH for name in ("vae", "emae")}
    assert {path.name for path in (tmp_path / "run").glob("*.png")} == expected


@pytest.mark.usefixtures("undrawn")
def test_figures_of_one_trace_go_into_its_folder(run, tmp_path):
    assert run("figures", "run/emae")[0] == 0
    found = {path.name for path in (tmp_path / "run" / "emae").iterdir()}
    assert found == TRACE | FIGURES | {f"{figure}_emae.png" for figure in OF_EACH}


@pytest.mark.usefixtures("undrawn")
def test_without_the_images_the_other_figures_are_drawn(run, trained, tmp_path):
    """And one line says so."""
    trace = replace(trained["vae"], data={"name": "mine.npz", "source": "file /gone/mine.npz"})
    trace.save(tmp_path / "other")
    code, out, err = run("figures", "other")
    assert (code, out) == (0, "written: other\n")
    assert err == (
        "pyvae: latents and reconstructions are not drawn: the run's data, 'mine.npz', is not "
        "there. Name its file with --data.\n"
    )
    found = {path.name for path in (tmp_path / "other").glob("*.png")}
    assert found == FIGURES | {"samples_vae.png"}
    code, _, err = run("figures", "other", "--data", "digits")
    assert (code, err) == (0, "")
    found = {path.name for path in (tmp_path / "other").glob("*.png")}
    assert found == FIGURES | {f"{figure}_vae.png" for figure in OF_EACH}


@pytest.mark.usefixtures("undrawn")
def test_images_that_are_others_today_are_not_taken_for_the_runs(run, trained, tmp_path):
    trace = replace(trained["vae"], data=trained["vae"].data | {"sha256": "0" * 64})
    trace.save(tmp_path / "other")
    code, _, err = run("figures", "other")
    assert (code, err.count("\n")) == (0, 1)
    assert "not drawn: the images are not those of the run (sha256 0000" in err
    assert not (tmp_path / "other" / "latents_vae.png").exists()
    assert run("encode", "other", "--out", "x.csv")[0] == 2
    assert run("encode", "other", "--images", "1", "--data", "digits", "--out", "x.csv")[0] == 0


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
        for name in ("loss_history", "latent_means", *(f"{figure}_vae" for figure in OF_EACH))
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
