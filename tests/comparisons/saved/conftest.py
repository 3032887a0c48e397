from __future__ import annotations

import pytest
from stand_ins.narrow import NARROW_CONV

from pyvae.recipes import RECIPES


@pytest.fixture(scope="module")
def narrow_conv():
    """The recipe `conv` has few channels here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(RECIPES, "conv", NARROW_CONV)
        yield
