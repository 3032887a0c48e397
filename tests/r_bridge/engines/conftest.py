from __future__ import annotations

import pytest
from stand_ins.narrow import NARROW_CONV

from pyvae.recipes.conv import CONV


@pytest.fixture
def conv(request):
    """What is asked here does not depend on widths; but R's torch has the published network."""
    return CONV if request.node.get_closest_marker("r_torch") else NARROW_CONV
