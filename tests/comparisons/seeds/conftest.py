from __future__ import annotations

import pytest

from pyvae.recipes import get_recipe


@pytest.fixture(scope="session")
def conv():
    """Seeds are trained by the recipe's name, in whatever process."""
    return get_recipe("conv")
