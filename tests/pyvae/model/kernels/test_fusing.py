"""Layers are computed as one only where nobody looks between them."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from pyvae.model.kernels.choice import fast_kernels
from pyvae.model.kernels.fusing import may_fuse

X = torch.ones(2, 3)


def test_they_are_where_fast_kernels_are_wanted():
    layers = [nn.Linear(3, 3), nn.ReLU()]
    assert not may_fuse(X, *layers)
    with fast_kernels(True):
        assert may_fuse(X, *layers)


def test_they_are_not_in_other_precisions_or_evaluation_mode(monkeypatch):
    layers = [nn.Linear(3, 3), nn.ReLU()]
    with fast_kernels(True):
        assert not may_fuse(X.double(), *layers)
        assert not may_fuse(X.to("meta"), *layers)
        with torch.autocast("cpu", torch.bfloat16):
            assert not may_fuse(X, *layers)
        layers[1].eval()
        assert not may_fuse(X, *layers)
        layers[1].train()
        assert may_fuse(X, *layers)
        monkeypatch.setattr("pyvae.model.kernels.fusing.is_shared", lambda: True)
        assert not may_fuse(X, *layers)


@pytest.mark.parametrize(
    "watch",
    [
        "register_forward_hook",
        "register_forward_pre_hook",
        "register_full_backward_hook",
        "register_full_backward_pre_hook",
    ],
)
def test_they_are_not_while_one_is_watched(watch):
    layers = [nn.Linear(3, 3), nn.ReLU()]
    hook = getattr(layers[1], watch)(lambda *call: None)
    with fast_kernels(True):
        assert not may_fuse(X, *layers)
        hook.remove()
        assert may_fuse(X, *layers)
