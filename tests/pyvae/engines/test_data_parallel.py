"""One batch over several processes. What torchrun does is in test_torchrun.py."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pyvae.engines.data_parallel import ALONE, Shares, torchrun_shares
from pyvae.errors import UserError


@given(st.integers(1, 300), st.integers(1, 17))
def test_every_image_is_computed_once(images, number):
    taken = [range(images)[Shares(rank, number).rows(images)] for rank in range(number)]
    assert [row for rows in taken for row in rows] == list(range(images))
    assert max(map(len, taken)) - min(map(len, taken)) <= 1


@given(st.integers(1, 300), st.integers(1, 17))
def test_parts_of_a_mean_are_weighted_by_their_images(images, number):
    losses = torch.arange(images, dtype=torch.float64) ** 2
    parts = [Shares(rank, number) for rank in range(number)]
    means = [
        losses[one.rows(images)].mean() * one.weight(images, mean=True)
        for one in parts
        if len(losses[one.rows(images)])
    ]
    assert float(sum(means)) == pytest.approx(float(losses.mean()), rel=1e-12)
    assert {one.weight(images, mean=False) for one in parts} == {1.0}


def test_draws_are_cut_by_their_own_number_of_rows():
    draws = {"noise": torch.arange(7), "labelled": torch.arange(4)}
    halves = [Shares(rank, 2).of(draws) for rank in range(2)]
    for name, draw in draws.items():
        assert torch.equal(torch.cat([half[name] for half in halves]), draw)
    assert ALONE.of(draws) is draws


def test_alone_everything_stays_as_it_is():
    network, losses = torch.nn.Linear(2, 2), torch.ones(3)
    assert ALONE.parallel(network) is network
    assert ALONE.total(losses) is losses
    assert ALONE.is_first
    assert ALONE.weight(9, mean=True) == 1.0


def test_without_torchrun_there_is_one(monkeypatch):
    for name in ("TORCHELASTIC_RUN_ID", "WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    with torchrun_shares("cpu") as shares:
        assert shares is ALONE
    monkeypatch.setenv("WORLD_SIZE", "1")
    monkeypatch.setenv("RANK", "0")
    with torchrun_shares("cpu") as shares:
        assert shares is ALONE


@pytest.mark.parametrize(("rank", "size"), [(None, "2"), ("x", "2"), ("0", "two")])
def test_an_environment_that_is_not_torchruns_is_told(monkeypatch, rank, size):
    monkeypatch.setenv("WORLD_SIZE", size)
    if rank is None:
        monkeypatch.delenv("RANK", raising=False)
    else:
        monkeypatch.setenv("RANK", rank)
    with pytest.raises(UserError, match="Start pyvae with torchrun"), torchrun_shares("cpu"):
        pass
