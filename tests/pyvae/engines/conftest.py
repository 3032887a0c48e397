from __future__ import annotations

import pytest
from stand_ins.narrow import NARROW_CONV


@pytest.fixture(scope="session")
def conv():
    """What is asked here does not depend on widths."""
    return NARROW_CONV
