from __future__ import annotations

import itertools
import math

import hypothesis
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from pyvae.errors import UserError
from pyvae.metrics.clusters import class_shares, clustering_accuracy, clustering_scores

modest = hypothesis.settings(max_examples=60)
pytestmark = pytest.mark.filterwarnings("error")
whole_numbers = st.lists(st.integers(0, 3), min_size=1, max_size=30).map(np.array)
pairs = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=30).map(
    lambda drawn: tuple(np.array(drawn).T)
)


@modest
@given(whole_numbers)
def test_shares_and_entropy_keep_their_bounds(predicted):
    found = class_shares(predicted, classes=4)
    assert found.shares.sum() == pytest.approx(1)
    assert found.shares.shape == (4,)
    assert found.seen == len(set(predicted))
    assert found.largest == found.shares.max()
    assert 0 <= found.entropy <= math.log(found.seen) + 1e-12
    assert found.entropy == pytest.approx(stats.entropy(found.shares), abs=1e-12)


def test_entropy_reaches_its_bounds():
    assert class_shares(torch.arange(10).repeat(3)).entropy == pytest.approx(math.log(10))
    only = class_shares(torch.full((8,), 6))
    assert str(only.entropy) == "0.0"
    assert only.seen == only.largest == only.shares[6] == 1


def brute_force(labels, clusters):
    """The best accuracy of all one-to-one maps from clusters to classes, none left out."""
    classes, groups = sorted(set(labels)), sorted(set(clusters))
    targets = [*classes, *([None] * len(groups))]
    return max(
        np.mean([mapping[c] == label for c, label in zip(clusters, labels, strict=True)])
        for chosen in itertools.permutations(targets, len(groups))
        for mapping in [dict(zip(groups, chosen, strict=True))]
    )


@hypothesis.settings(max_examples=30)
@given(pairs)
def test_the_assignment_is_the_best_of_all(pair):
    labels, clusters = pair
    found = clustering_accuracy(labels, clusters)
    assert found.accuracy == pytest.approx(brute_force(labels, clusters))
    hits = [found.mapping.get(int(c)) == label for c, label in zip(clusters, labels, strict=True)]
    assert found.accuracy == pytest.approx(np.mean(hits))
    assert len(set(found.mapping.values())) == len(found.mapping)


@pytest.mark.slow
@modest
@given(pairs, st.permutations(range(4)), st.integers(-50, 50))
def test_the_names_of_clusters_do_not_matter(pair, order, offset):
    labels, clusters = pair
    renamed = np.array(order)[clusters] * 3 + offset
    np.testing.assert_allclose(
        clustering_scores(labels, renamed), clustering_scores(labels, clusters), atol=1e-12
    )


@pytest.mark.slow
@modest
@given(whole_numbers, st.permutations(range(4)))
def test_classes_under_other_names_are_found_in_full(labels, order):
    clusters = np.array(order)[labels]
    assert clustering_scores(labels, clusters) == pytest.approx((1, 1, 1))
    expected = {int(order[label]): int(label) for label in labels}
    assert clustering_accuracy(labels, clusters).mapping == expected


def test_more_clusters_than_classes_leave_some_without_a_class():
    labels, clusters = torch.tensor([5, 5, 5, 8, 8]), torch.tensor([0, 0, 1, 2, 2])
    found = clustering_accuracy(labels, clusters)
    assert found.accuracy == pytest.approx(4 / 5)
    assert found.mapping == {0: 5, 2: 8}


def test_fewer_clusters_than_classes_leave_classes_unfound():
    labels = torch.tensor([0, 0, 1, 2, 2, 2])
    found = clustering_accuracy(labels, torch.zeros(6, dtype=torch.int64))
    assert found.accuracy == pytest.approx(1 / 2)
    assert found.mapping == {0: 2}


def test_scores_are_those_of_their_formulas():
    rng = np.random.default_rng(3)
    labels = rng.integers(0, 4, 200)
    clusters = np.where(rng.uniform(size=200) < 0.6, labels, rng.integers(0, 5, 200))
    joint = np.zeros((4, 5))
    np.add.at(joint, (labels, clusters), 1)
    rows, columns = joint.sum(1), joint.sum(0)
    mutual = stats.entropy((joint / 200).ravel(), np.outer(rows, columns).ravel() / 200**2)
    nmi = mutual / ((stats.entropy(rows) + stats.entropy(columns)) / 2)
    together = [(pair * (pair - 1) / 2).sum() for pair in (joint, rows, columns)]
    expected = together[1] * together[2] / (200 * 199 / 2)
    ari = (together[0] - expected) / ((together[1] + together[2]) / 2 - expected)
    found = clustering_scores(labels, clusters)
    assert found.nmi == pytest.approx(nmi)
    assert found.ari == pytest.approx(ari)
    assert found.accuracy == clustering_accuracy(labels, clusters).accuracy


def test_random_clusters_score_nothing_beyond_chance():
    rng = np.random.default_rng(1)
    found = clustering_scores(rng.integers(0, 10, 5000), rng.integers(0, 10, 5000))
    assert abs(found.ari) < 0.01
    assert found.nmi < 0.02
    assert found.accuracy < 0.15


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: class_shares(torch.tensor([0, 10])), r"from 0 to 10: expected 0 to 9"),
        (lambda: class_shares(torch.tensor([-1, 2])), r"from -1 to 2: expected 0 to 9"),
        (lambda: class_shares(torch.tensor([])), r"shape \(0,\).*at least one image"),
        (lambda: class_shares(torch.ones(3)), r"predicted classes of float32: expected whole"),
        (lambda: class_shares(torch.ones(3, 10)), r"shape \(3, 10\): expected \(N,\)"),
        (
            lambda: clustering_accuracy(torch.ones(3).long(), torch.ones(2).long()),
            r"3 labels and 2 clusters: expected one label and one cluster",
        ),
        (
            lambda: clustering_scores(torch.ones(3).long(), torch.ones(3)),
            r"clusters of float32: expected whole numbers",
        ),
        (lambda: clustering_scores(np.array([]), np.array([])), r"labels of shape \(0,\)"),
    ],
)
def test_bad_input_is_the_users_error_in_one_line(call, words):
    with pytest.raises(UserError, match=words) as caught:
        call()
    assert "\n" not in str(caught.value)
