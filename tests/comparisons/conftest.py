from __future__ import annotations

from contextlib import nullcontext
from types import SimpleNamespace

import pytest

from comparisons.run import run_comparisons
from pyvae.engine import PyTorchEngine
from r_bridge.engines import BaseREngine


def unwatched(engine, settings):
    return nullcontext(SimpleNamespace(observe=lambda progress: None))


@pytest.fixture
def compare(conv, settings, digits, tmp_path):
    """Runs both engines for a few small steps, R with a patch if one is given."""

    def run(objectives=("vae",), patch=None, **changes):
        runs = [settings(objective=objective, **changes) for objective in objectives]
        with BaseREngine(threads=1, patch=patch) as reference:
            return run_comparisons(
                PyTorchEngine("cpu"), reference, conv, runs, digits, tmp_path, unwatched
            )

    return run
