"""What `import pyvae` offers, and when it is imported."""

from __future__ import annotations

import sys

import pytest

import pyvae


@pytest.mark.parametrize("name", pyvae.__all__)
def test_what_is_offered_is_that_of_its_module(name):
    offered = getattr(pyvae, name)
    home = sys.modules[pyvae._HOMES[name]]
    assert getattr(home, name) is offered
    assert name in home.__all__


def test_homes_are_those_of_what_is_offered():
    assert set(pyvae._HOMES) == set(pyvae.__all__)


def test_what_is_not_there_is_said_as_python_says_it():
    with pytest.raises(AttributeError, match="module 'pyvae' has no attribute 'trainer'"):
        _ = pyvae.trainer
    assert not hasattr(pyvae, "trainer")
