"""What R asks without a network."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pyvae.data.images import load_data
from pyvae.recipes import RECIPES
from r_bridge.from_r import describe, pack, save_images, unpack


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_is_described(name):
    recipe = RECIPES[name]
    found = describe(name)["value"]
    assert found["objectives"][: found["published"]] == list(recipe.objectives)
    assert found["hyper"] == [one.name for one in recipe.hyper]
    assert (found["name"], found["shape"]) == (name, list(recipe.shape))


def test_an_unknown_recipe_is_one_line():
    assert describe("convv")["error"]["problem"] == "unknown recipe 'convv'"


def test_images_for_a_comparison_are_what_it_reads(images, tmp_path):
    labels = np.arange(40, dtype=np.int32)
    path = str(tmp_path / "x.npz")
    assert save_images(path, images, pack(labels)) == {"value": path}
    data = load_data(path)
    assert torch.equal(data.pixels, torch.from_numpy(unpack(images).copy()))
    assert data.labels is not None
    assert data.labels.tolist() == labels.tolist()
