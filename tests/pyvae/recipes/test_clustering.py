"""The clustering recipes' images with labels."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from pyvae.engines.pytorch import PyTorchEngine
from pyvae.errors import UserError
from pyvae.model.draws import Draws
from pyvae.model.run import Run
from pyvae.recipes.clustering import SEMI_SUPERVISED, labelled_images
from pyvae.training.loop import train


def settings(labels=12, seed=3, **changes):
    hyper = {"labels": labels} | changes.pop("hyper", {})
    return SEMI_SUPERVISED.settings(seed=seed, hyper=hyper, steps=1, **changes)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_as_many_images_as_asked_for_have_their_labels(digits, dtype):
    given = labelled_images(digits, settings(50, dtype=dtype))
    assert given["labelled"].shape == (50, 784)
    assert given["labels"].shape == (50, 10)
    assert {str(value.dtype) for value in given.values()} == {dtype}
    assert np.array_equal(given["labels"].sum(1), np.ones(50))
    assert set(np.unique(given["labels"])) == {0, 1}
    images = (given["labelled"] * 255).round().astype(np.uint8)
    label_of = zip(digits.pixels.numpy(), digits.labels.tolist(), strict=True)
    rows = {row.tobytes(): label for row, label in label_of}
    assert len({row.tobytes() for row in images}) == 50
    found = [rows[row.tobytes()] for row in images]
    assert found == given["labels"].argmax(1).tolist()


def test_they_follow_from_the_seed_and_more_labels_add_to_fewer(digits):
    few, again, many = (labelled_images(digits, settings(n)) for n in (20, 20, 60))
    other = labelled_images(digits, settings(20, seed=4))
    for name, value in few.items():
        assert np.array_equal(value, again[name])
        assert np.array_equal(value, many[name][:20])
    assert not np.array_equal(few["labelled"], other["labelled"])


def test_more_clusters_than_classes_leave_columns_of_zeros(digits):
    labels = labelled_images(digits, settings(hyper={"clusters": 13}))["labels"]
    assert labels.shape == (12, 13)
    assert not labels[:, 10:].any()


def without_labels(digits):
    return dataclasses.replace(digits, labels=None)


@pytest.mark.parametrize(
    ("change", "wanted", "said"),
    [
        (
            lambda d: d,
            {"labels": 9},
            "--set labels=9 with 10 classes: expected 10 or more, one for each class$",
        ),
        (
            lambda d: d,
            {"labels": 1798},
            "--set labels=1798 with 1797 images: expected 1797 or fewer$",
        ),
        (
            lambda d: d,
            {"hyper": {"clusters": 9}},
            r"--set clusters=9 with labels up to 9 \(10 classes\): expected 10 or more",
        ),
        (
            lambda d: dataclasses.replace(d, labels=d.labels + 1),
            {},
            r"labels of digits are 1 to 10: expected 0 to 9\. Subtract 1 from every label\.$",
        ),
        (
            lambda d: dataclasses.replace(d, labels=d.labels * 3),
            {},
            r"labels up to 27 \(10 classes\): expected 28 or more, one for each label from 0$",
        ),
        (without_labels, {}, "digits has no labels. Use data with labels, such as --data mnist.$"),
    ],
)
def test_labels_that_do_not_fit_are_one_line_before_anything_is_computed(
    digits, change, wanted, said
):
    data = change(digits)
    with pytest.raises(UserError, match=said) as error:
        labelled_images(data, settings(**wanted))
    assert "\n" not in str(error.value)
    with pytest.raises(UserError, match=said):
        train(Run(SEMI_SUPERVISED, settings(batch_size=6, **wanted), data), PyTorchEngine("cpu"))


def test_ten_labels_of_ten_classes_are_enough(digits):
    assert len(labelled_images(digits, settings(10))["labels"]) == 10


def test_labels_of_fewer_classes_need_fewer_clusters(digits):
    few = dataclasses.replace(digits, labels=digits.labels % 3)
    given = labelled_images(few, settings(3, hyper={"clusters": 3}))
    assert given["labels"].shape == (3, 3)


@pytest.mark.slow
def test_the_network_looks_at_the_labels_it_is_given(digits, small):
    """Other labels, another loss; the unlabelled terms are those of the network without labels."""
    wanted = small(SEMI_SUPERVISED, steps=1)
    engine = PyTorchEngine("cpu")
    initial = SEMI_SUPERVISED.initial_parameters(1, wanted.latent_dim, **wanted.hyper)
    x = digits.batch(np.arange(6), torch.float64)
    terms = []
    for shift in (0, 1):
        engine.start(SEMI_SUPERVISED, wanted, initial)
        given = labelled_images(digits, wanted)
        given["labels"] = np.roll(given["labels"], shift, axis=1)
        spec = SEMI_SUPERVISED.draws(wanted.latent_dim, **wanted.hyper)
        losses = engine.step(x, Draws(1).step(0, 6, spec) | given)
        terms.append(dict(zip(engine.objective.terms, losses.tolist(), strict=True)))
    same = ("unlabelled_reconstruction", "categorical_kl", "gaussian_kl")
    assert all(terms[0][name] == terms[1][name] for name in same)
    others = ("total", "labelled_reconstruction", "cross_entropy")
    assert not any(terms[0][name] == terms[1][name] for name in others)
