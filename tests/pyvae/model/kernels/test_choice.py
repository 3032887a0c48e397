"""Faster kernels are taken where they are wanted, and nowhere else."""

from __future__ import annotations

import pytest

from pyvae.model.kernels.choice import fast_kernels, is_fast


def test_they_are_wanted_within_the_block_alone():
    assert not is_fast()
    with fast_kernels(True):
        assert is_fast()
        with fast_kernels(False):
            assert not is_fast()
        assert is_fast()
    with pytest.raises(KeyError), fast_kernels(True):
        raise KeyError
    assert not is_fast()
