"""Narrow recipes in place of the published ones, as `any_trained` trains them."""

from __future__ import annotations

import pytest
from stand_ins.narrow import NARROW

from pyvae.recipes import RECIPES


@pytest.fixture
def narrow_recipes(monkeypatch):
    """The recipes of `any_trained` by their names."""
    for name, recipe in NARROW.items():
        monkeypatch.setitem(RECIPES, name, recipe)
