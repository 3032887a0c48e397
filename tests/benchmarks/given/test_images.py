"""All sides read the same images."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from benchmarks.given.images import image_folder, write_idx_files
from benchmarks.plain_loops import plain_loop
from pyvae.data.images import load_data
from pyvae.errors import UserError


def test_digits_are_read_back_by_every_side(tmp_path, digits, monkeypatch):
    write_idx_files(digits, tmp_path / "digits")
    monkeypatch.setenv("PYVAE_DATA", str(tmp_path / "digits"))
    assert torch.equal(load_data("mnist").pixels, digits.pixels)
    image, label = plain_loop.load(str(tmp_path / "digits"))[3]
    assert np.array_equal(image.numpy().ravel() * 255, digits.pixels[3].numpy())
    assert label == digits.labels[3]


def test_mnist_is_taken_where_it_lies(tmp_path, digits, monkeypatch):
    write_idx_files(digits, tmp_path / "there")
    monkeypatch.setenv("PYVAE_DATA", str(tmp_path / "there"))
    found = image_folder("auto", tmp_path / "spare")
    assert (found.name, found.folder) == ("mnist", tmp_path / "there")
    assert not (tmp_path / "spare").exists()


def test_digits_can_be_asked_for(tmp_path):
    found = image_folder("digits", tmp_path / "spare")
    assert (found.name, found.size, found.folder) == ("digits", 1797, tmp_path / "spare")


def test_other_images_are_refused(tmp_path):
    with pytest.raises(UserError, match="--data kmnist: expected auto, mnist or digits"):
        image_folder("kmnist", tmp_path)
