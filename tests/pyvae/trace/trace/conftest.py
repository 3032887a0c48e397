"""Fixtures for the tests of traces: a folder with one, and one with probes."""

from __future__ import annotations

import numpy as np
import pytest
from written_files.traces import make_trace, save_probed


@pytest.fixture
def saved(tmp_path):
    make_trace(np.arange(12) / 7).save(tmp_path)
    return tmp_path


@pytest.fixture
def probed(tmp_path):
    """A trace on disk whose steps 2 and 4 were probed."""
    seen = {
        step: {
            f"{kind}/encoder.fc1.bias": np.full(3, step + k / 7)
            for k, kind in enumerate(("start", "gradient", "moment1", "moment2", "parameter"))
        }
        | {"forward/total": np.array(0.1 * step)}
        for step in (2, 4)
    }
    return save_probed(tmp_path, seen), seen
